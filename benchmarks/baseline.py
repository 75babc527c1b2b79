"""The regression guard: what a run cost by plain C's unit, against a kept run.

Machines differ, and one machine differs from hour to hour. So a cost is compared as its ratio to what
the C program of the reference model needs per executed event on the same machine in the same run. What
changed by more than a margin is named; nothing is asserted.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.timing import Result

BASELINE = Path(__file__).with_name("baseline.json")
#: Smallest change that is named; with fewer than three repetitions the spread is not known.
LEAST, LEAST_UNREPEATED = 0.15, 0.30
#: Standard deviations of a repetition, of both runs together, that a change must exceed.
SPREADS = 3.0


@dataclass(frozen=True)
class Cost:
    """A result in the guard's terms: its ratio to the C unit, and how repetitions spread."""

    ratio: float
    spread: float  # relative standard deviation of one repetition, from the median deviation
    repetitions: int


@dataclass(frozen=True)
class Change:
    """A result that moved by more than its margin; ``factor``: now by then."""

    what: str
    factor: float
    margin: float

    def sentence(self) -> str:
        word = "slower" if self.factor > 1 else "faster"
        by = self.factor if self.factor > 1 else 1 / self.factor
        return f"{word} by {by:.2f} x (margin {1 + self.margin:.2f} x): {self.what}"


def spread_of(values: Sequence[float]) -> float:
    """Relative standard deviation that the median deviation of normal values would stand for."""
    middle = statistics.median(values)
    return 1.4826 * statistics.median(abs(v - middle) for v in values) / middle


def cost_of(result: Result, c_unit: float | None) -> Cost | None:
    """A timed result by the C unit of its run; None for what is no time or has no unit.

    Parameters
    ----------
    c_unit : float, ns per executed event
        Not needed by results that were divided by C round by round.
    """
    if not result.cost or (c_unit is None and not result.is_by_c):
        return None
    scale = 1.0 if result.is_by_c or c_unit is None else 1 / c_unit
    return Cost(statistics.median(result.cost) * scale, spread_of(result.cost), len(result.cost))


def margin(then: Cost, now: Cost) -> float:
    """Relative change that both runs' spreads allow for."""
    repeated = min(then.repetitions, now.repetitions) >= 3
    spread = SPREADS * (then.spread**2 + now.spread**2) ** 0.5
    return max(LEAST if repeated else LEAST_UNREPEATED, spread)


def compare(then: dict[str, Cost], now: dict[str, Cost]) -> list[Change]:
    """What became slower or faster by more than its margin, the largest change first."""
    changes = []
    for what in then.keys() & now.keys():
        factor, allowed = now[what].ratio / then[what].ratio, margin(then[what], now[what])
        if max(factor, 1 / factor) > 1 + allowed:
            changes.append(Change(what, factor, allowed))
    return sorted(changes, key=lambda c: (-max(c.factor, 1 / c.factor), c.what))


def report(size: str, now: dict[str, Cost], path: Path = BASELINE) -> Iterable[str]:
    """Lines for people; ``size`` is "quick" or "full"."""
    kept = read(path).get(size)
    if not now:
        yield "baseline: nothing to compare (no timed result, or no C compiler)"
        return
    if kept is None:
        yield f"baseline: none for the {size} size (--write-baseline makes one)"
        return
    then = {what: Cost(**cost) for what, cost in kept["results"].items()}
    changes = compare(then, now)
    yield (
        f"baseline of {kept['machine']['at'][:10]}: {len(then.keys() & now.keys())} results compared, "
        f"{len(changes)} changed by more than their margin (at least {LEAST:.0%})"
    )
    yield from (f"  {change.sentence()}" for change in changes)
    new = sorted(now.keys() - then.keys())
    if new:
        yield f"  not in the baseline: {'; '.join(new)}"


def read(path: Path = BASELINE) -> dict[str, Any]:
    """The kept runs by size; empty when there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(
    size: str, now: dict[str, Cost], machine: dict[str, object], path: Path = BASELINE
) -> None:
    """Keep this run's costs; results that were not measured now stay as they were."""
    kept = read(path)
    results = kept.get(size, {}).get("results", {})
    results |= {
        what: {
            "ratio": float(f"{cost.ratio:.5g}"),
            "spread": round(cost.spread, 4),
            "repetitions": cost.repetitions,
        }
        for what, cost in now.items()
    }
    kept[size] = {"machine": machine, "results": dict(sorted(results.items()))}
    path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
