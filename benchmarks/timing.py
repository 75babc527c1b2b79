"""Fair clocks: CPU time, repeated, the things compared taking turns."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """One line of the table. ``seen`` and ``goal`` in ``unit``; no goal, no verdict.

    ``cost``: a time per piece of work, one number a repetition, for the guard (`benchmarks.baseline`);
    empty for what is no time. ``is_by_c``: already divided by plain C's, round by round. ``table``:
    lines printed below.
    """

    what: str
    seen: float
    unit: str
    goal: float | None = None
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    cost: tuple[float, ...] = ()
    is_by_c: bool = False
    table: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """Seen by goal: at most 1 where the goal is reached."""
        return self.seen / self.goal if self.goal else None


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process during a call, the collector of garbage kept out."""
    gc.collect()
    gc.disable()
    try:
        started = time.process_time()
        work()
        return time.process_time() - started
    finally:
        gc.enable()


def taking_turns(
    measures: dict[str, Callable[[int], float]], repetitions: int
) -> dict[str, list[float]]:
    """A B A B ...: each measure gets the number of the round, so that both use the same seed."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for i in range(repetitions):
        for name, measure in measures.items():
            values[name].append(measure(i))
    return values


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Median over rounds of a / b: what disturbs one round disturbs both of its measures."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def command_seconds(command: Sequence[str], **environment: str) -> tuple[float, float]:
    """Wall and CPU time of a command that must succeed, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall, cpu
