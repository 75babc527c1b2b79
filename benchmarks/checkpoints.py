"""Checkpoints and memory of large states: what they cost, and whether the prediction of memory holds.

A run is sent a signal, as a batch system does before its time limit, in a process of its own; another
process goes on with it up to the first advance. ``python -m benchmarks.checkpoints ...`` is one of these
processes and prints one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.plain_c import FILLED, shape_overrides
from benchmarks.scale import peak_bytes
from benchmarks.timing import Result
from benchmarks.whole import CONFIGS

#: How far peak memory may be off what is predicted, per cent.
GOAL_MEMORY = 20.0
#: Side of a patch that is cut into tiles, so that all kernels are compiled.
WARM = 48
PLAIN = "run.record={counts: 2 h}"


@dataclass(frozen=True)
class Case:
    """What is stopped, and after how many hours; ``side``: of the lattice."""

    model: str
    side: int
    mode: str
    hours: float

    @property
    def name(self) -> str:
        return f"{Path(self.model).stem} {self.side}^3, {self.mode}"

    def overrides(self) -> tuple[str, ...]:
        if self.model == "reference":
            return (*shape_overrides(self.side, FILLED, 10 * self.hours, self.mode), PLAIN)
        # one patch of the marrow; blood and tissue follow by themselves
        share = 1e-6 * self.side**3 / 4 / 64**3
        return (
            f"override.compartments.marrow.lattice.shape=[{self.side}, {self.side}, {self.side}]",
            "override.compartments.marrow.patches=1",
            f"override.compartments.lymphoid.share={share:.3g}",
            f"run.mode={self.mode}",
            PLAIN,
        )

    @property
    def source(self) -> str:
        return self.model if self.model == "reference" else str(CONFIGS / self.model)


PATIENT = "mst_elderly_aml.yaml"
QUICK = (Case(PATIENT, 24, "exact", 4.0),)
CASES = (Case(PATIENT, 100, "exact", 48.0), Case("reference", 215, "tiled", 4.0))
#: A patient of 1e8 marrow sites, and as much of everything else.
NODE, QUICK_NODE = Case(PATIENT, 464, "tiled", 4.0), Case(PATIENT, 48, "tiled", 2.0)


def stopped(case: Case, path: Path) -> dict[str, Any]:
    """Run up to the case's hour; then a signal, a checkpoint, and the end."""
    from mst_abm import load_scenario, run_to_file
    from mst_abm.records.checkpoint import checkpoint_paths
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.simulation import Simulation

    scenario = load_scenario(case.source, overrides=case.overrides())
    begin = time.process_time()
    simulation = Simulation(scenario)
    row: dict[str, Any] = {"made": time.process_time() - begin}
    signals, clocks = Signals(), []

    def look(progress: Any) -> None:
        clocks.append((progress.time_h, time.process_time(), time.perf_counter()))
        signals.stops = signals.keeps = progress.time_h >= case.hours

    try:
        run_to_file(scenario, path, simulation=simulation, progress=look, signals=signals)
    except KeyboardInterrupt:
        now = time.process_time(), time.perf_counter()
    needs = simulation.needs()
    (first_h, first, _), (last_h, last, wall) = clocks[0], clocks[-1]
    (kept,) = checkpoint_paths(path)
    return row | {
        "cells": sum(int(counts[:, 1:].sum()) for counts in simulation.counts.values()),
        "hour": (last - first) / (last_h - first_h),
        "checkpoint": now[0] - last,
        "checkpoint wall": now[1] - wall,
        "checkpoint bytes": kept.stat().st_size,
        "state bytes": needs.state,
        "predicted": needs.memory,
        "peak": peak_bytes(),
    }


def resumed(path: Path) -> dict[str, Any]:
    """Go on with it up to where it would run again."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.resuming import resume

    signals = Signals()
    signals.stops = True
    begin = time.process_time()
    try:
        resume(path, signals=signals)
    except KeyboardInterrupt:
        row = {"resume": time.process_time() - begin, "resume peak": peak_bytes()}
    return row


def measure(case: Case) -> dict[str, Any]:
    """Both processes, one after the other, kernels compiled before."""
    words = [case.model, str(case.side), case.mode, str(case.hours)]
    small = [case.model, str(min(case.side, WARM)), case.mode, "2"]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "run.h5")
        _process("stop", str(Path(folder) / "warm.h5"), *small)
        return _process("stop", path, *words) | _process("go on", path, *words)


def _process(*words: str) -> dict[str, Any]:
    command = (sys.executable, "-m", "benchmarks.checkpoints", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def checkpoints(cases: tuple[Case, ...]) -> Iterator[Result]:
    """What a checkpoint costs, what it would be of a run's time, and how long going on takes."""
    from mst_abm.runs.keeping import COST

    for case in cases:
        row = measure(case)
        sites, size = case.side**3, row["checkpoint bytes"]
        kept, day = row["checkpoint"], 24 * row["hour"]
        yield Result(
            f"checkpoint, {case.name}",
            kept,
            "s",
            note=f"{row['checkpoint wall']:.2g} s wall from signal to end; {size / 1e6:.3g} MB, "
            f"{size / sites:.2g} B a site of the lattice",
            raw=row,
            cost=(kept,),
        )
        yield Result(
            f"one for every day, {case.name}",
            100 * kept / day,
            "%",
            note=f"of the run's time ({day:.3g} s a day); held to {COST:.0%}: one in {kept / COST:.2g} s",
        )
        yield Result(f"going on, {case.name}", row["resume"], "s", cost=(row["resume"],))
        yield memory_of(case, row)


def memory_of(case: Case, row: dict[str, Any]) -> Result:
    """Peak of both processes against what was predicted."""
    peak = max(row["peak"], row["resume peak"])
    return Result(
        f"peak memory off the prediction, {case.name}",
        100 * abs(peak / row["predicted"] - 1),
        "%",
        GOAL_MEMORY,
        f"predicted {row['predicted'] / 1e6:.0f} MB, seen {row['peak'] / 1e6:.0f} MB, going on "
        f"{row['resume peak'] / 1e6:.0f} MB",
    )


def node(case: Case) -> Iterator[Result]:
    """The largest state that is looked at: memory, and time for a simulated day."""
    row = measure(case)
    yield Result(
        f"a day of {case.name}",
        24 * row["hour"],
        "s",
        note=f"{row['cells']:.3g} cells, made in {row['made']:.3g} s; checkpoint {row['checkpoint']:.2g} s, "
        f"{row['checkpoint bytes'] / 1e6:.3g} MB; going on {row['resume']:.3g} s",
        raw=row,
        cost=(row["hour"],),
    )
    yield memory_of(case, row)


if __name__ == "__main__":
    what, path, model, side, mode, hours = sys.argv[1:]
    if what == "stop":
        print(json.dumps(stopped(Case(model, int(side), mode, float(hours)), Path(path))))
    else:
        print(json.dumps(resumed(Path(path))))
