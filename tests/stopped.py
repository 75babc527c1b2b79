"""Runs that are stopped on the way and go on, and files compared dataset by dataset."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mst_abm.records.reader import open_run
from mst_abm.runs.keeping import Signals
from mst_abm.runs.resuming import resume
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario.definition import Scenario

#: What is of the wall clock, not of the run.
OF_THE_CLOCK = ("wall_seconds",)


def contents(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of a record."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and name not in OF_THE_CLOCK:
            found[name] = thing[()]

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return found


def differences(one: Path, other: Path) -> list[str]:
    """Names of the datasets in which two records differ."""
    a, b = contents(one), contents(other)
    odd = sorted(set(a) ^ set(b))
    for name in sorted(set(a) & set(b)):
        x, y = np.asarray(a[name]), np.asarray(b[name])
        is_number = x.dtype.kind == "f"
        if (
            x.shape != y.shape
            or x.dtype != y.dtype
            or not np.array_equal(x, y, equal_nan=is_number)
        ):
            odd.append(name)
    return odd


class StoppedAt(Signals):
    """A signal that comes on the first edge at or after a time, heard without a process being sent one."""

    def __init__(self, hour: float) -> None:
        super().__init__()
        self.hour = hour

    def __enter__(self) -> StoppedAt:
        return self

    def now(self, time_h: float) -> None:
        self.stops = self.keeps = time_h >= self.hour


def stopped_run(
    scenario: Scenario, path: Path, hours: list[float], *, threads: list[int], **options: Any
) -> None:
    """Run a scenario into a file, stopped at each of the hours and gone on with other threads."""
    start: Callable[..., None] | None = None
    for i, hour in enumerate([*hours, math.inf]):
        signals = StoppedAt(hour)

        def listening(advance: Callable, signals: StoppedAt = signals) -> Callable:
            """`Simulation.advance` after every chunk of which the signal may come."""

            def advanced(sim: Simulation, to: float, *, halts: Callable[[], bool]) -> None:
                def heard() -> bool:
                    signals.now(sim.time_h)
                    return halts()

                advance(sim, to, halts=heard)
                signals.now(sim.time_h)

            return advanced

        n = threads[i % len(threads)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Simulation, "advance", listening(Simulation.advance))
            try:
                if start is None:
                    run_to_file(scenario, path, threads=n, signals=signals, **options)
                else:
                    start(path, threads=n, signals=signals)
                return
            except KeyboardInterrupt:
                with open_run(path) as run:
                    assert run.status == "interrupted"
        start = resume


def random_hours(scenario: Scenario, n: int, seed: int) -> list[float]:
    """Times at which a run is stopped, anywhere in it, in order."""
    draw = random.Random(seed)
    return sorted(draw.uniform(0.0, scenario.run.until_h) for _ in range(n))
