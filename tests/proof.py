"""What statistical proofs find: the running test writes it down, `proof_report` gathers it.

Rows travel as pytest's own ``user_properties`` of the test, so they survive a failed assertion and
worker processes. Outside of a test nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest

PROPERTY = "proof"
_running: ContextVar[pytest.Item | None] = ContextVar("running proof", default=None)


@contextmanager
def recording(item: pytest.Item) -> Iterator[None]:
    """Rows noted inside belong to this test."""
    token = _running.set(item)
    try:
        yield
    finally:
        _running.reset(token)


def note(kind: str, case: str, **values: Any) -> None:
    """Write a row down; the family is the test's module without ``test_``."""
    item = _running.get()
    if item is not None:
        family = item.path.stem.removeprefix("test_")
        row = {"kind": kind, "family": family, "case": case, "test": item.name, **values}
        item.user_properties.append((PROPERTY, row))


def note_values(
    case: str, values: Sequence[float], limit: float, n: int, names: Sequence[str] = ()
) -> None:
    """One row a statistic; ``names`` say what each is of."""
    named = [*names, *(f"statistic {i + 1}" for i in range(len(names), len(values)))]
    for name, z in zip(named, values, strict=False):
        note("statistic", case, statistic=name, z=float(z), threshold=limit, n=n)


def holds(
    case: str, values: Sequence[float], limit: float, n: int, names: Sequence[str] = ()
) -> None:
    """Note the Z values of a right simulation and demand that all stay below the threshold."""
    note_values(case, values, limit, n, names)
    assert len(values) and all(abs(z) < limit for z in values), (
        f"{case}: Z = {list(values)}, allowed {limit}, n = {n}"
    )


def is_caught(case: str, wrong: str, values: Sequence[float], limit: float, n: int) -> None:
    """Note a negative control and demand that at least one Z value exceeds the threshold."""
    worst = max(map(abs, values))
    note(
        "control", case, wrong=wrong, z=float(worst), threshold=limit, n=n, seen=bool(worst > limit)
    )
    assert worst > limit, f"{case}: {wrong} not seen, Z = {list(values)}, allowed {limit}"


def note_same_bits(case: str, events: int) -> None:
    """Two programs gave the same bits over so many events."""
    note("agreement", case, n=int(events))


def note_curve(
    case: str,
    x: Sequence[float],
    found: Sequence[float],
    exact: Sequence[float],
    *,
    of: str,
    exact_x: Sequence[float] | None = None,
) -> None:
    """A course to be drawn against the exact one; ``of`` labels the axis, x is in hours.

    ``exact_x``: hours of the exact course where they are others than those of the simulated one.
    """
    columns = {"x": x, "found": found, "exact": exact, "exact_x": x if exact_x is None else exact_x}
    note("curve", case, of=of, **{k: np.asarray(v, float).tolist() for k, v in columns.items()})
