"""The reference model against plain C: cost per candidate event and per executed event."""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns

SOURCE = Path(__file__).with_name("reference.c")
FLAGS = ("-O3", "-march=native")
FILLED = 0.5  # as in the model file
#: Goals by mode and side; what is not listed has none.
GOALS = {("exact", 64): 1.25, ("exact", 100): 1.25, ("tiled", 100): 1.0, ("tiled", 200): 0.5}
#: What the guard divides by: side and hours of its C runs.
UNIT_SIDE, UNIT_HOURS = 64, 2.0


class Seen(NamedTuple):
    """One run of the C program."""

    executed: int
    attempts: int
    cells: int
    seconds: float  # CPU time of the event loop


class Program:
    """The C program compiled for one side length and one set of rates."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, seed: int, filled: float, hours: float) -> Seen:
        words = subprocess.run(
            [self.path, str(seed), str(filled), str(hours)],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        return Seen(int(words[0]), int(words[1]), int(words[2]), float(words[3]))


def compiler() -> str | None:
    """The C compiler: ``CC``, or ``cc`` if there is one."""
    return os.environ.get("CC") or shutil.which("cc")


@contextlib.contextmanager
def compiled(side: int, *, flags: Sequence[str] = FLAGS, **rates: float) -> Iterator[Program]:
    """The program for a cube of ``side`` sites; ``birth``, ``death``, ``hop`` in 1/h."""
    found = compiler()
    if found is None:
        raise RuntimeError("no C compiler (set CC)")
    defined = [f"-D{name.upper()}={float(rate)!r}" for name, rate in rates.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "reference")
        subprocess.run(
            [found, *flags, f"-DSIDE={side}", *defined, str(SOURCE), "-o", path, "-lm"], check=True
        )
        yield Program(path)


def unit(program: Program, repetitions: int) -> list[float]:
    """The guard's unit: ns per executed event of the C program, one number a repetition."""
    runs = [program.run(i + 1, FILLED, UNIT_HOURS) for i in range(repetitions)]
    return [1e9 * run.seconds / run.executed for run in runs]


def shape_overrides(side: int, filled: float, hours: float, mode: str = "exact") -> tuple[str, ...]:
    """Overrides that make the shipped reference model a cube of ``side`` sites run for ``hours`` h."""
    words = (
        f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]",
        f"override.initial.cube=[{{cells: cell, fraction: {filled}}}]",
        f"run.until={hours} h",
    )
    return words if mode == "exact" else (*words, f"run.mode={mode}")


def compare(side: int, hours: float, repetitions: int, mode: str = "exact") -> Iterator[Result]:
    """Lines for a cube of ``side`` sites, from half full for ``hours`` h."""
    from mst_abm import Simulation, load_scenario

    goal = GOALS.get((mode, side))
    named = f"{side}^3" + ("" if mode == "exact" else f", {mode}")
    if compiler() is None:
        yield Result(f"reference {named} v C", float("nan"), "x", goal, "no C compiler (set CC)")
        return
    scenario = load_scenario("reference", overrides=shape_overrides(side, FILLED, hours, mode))
    Simulation(scenario).advance(hours)  # compiles
    events: dict[str, list[tuple[int, int]]] = {"c": [], "mst_abm": []}

    def ours(i: int) -> float:
        simulation = Simulation(scenario, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(hours))
        seen = simulation.statistics
        events["mst_abm"].append((seen["executed"], seen["attempts"]))
        return seconds

    with compiled(side) as program:

        def c(i: int) -> float:
            seen = program.run(i + 1, FILLED, hours)
            events["c"].append((seen.executed, seen.attempts))
            return seen.seconds

        seconds = taking_turns({"c": c, "mst_abm": ours}, repetitions)
    for k, kind in enumerate(("executed event", "attempt")):
        cost = {
            name: [1e9 * s / n[k] for s, n in zip(seconds[name], events[name], strict=True)]
            for name in seconds
        }
        middle = {name: statistics.median(values) for name, values in cost.items()}
        yield Result(
            f"cost per {kind}, {named}, v plain C",
            median_ratio(cost["mst_abm"], cost["c"]),
            "x",
            goal if k == 0 else None,
            f"{middle['mst_abm']:.1f} ns v {middle['c']:.1f} ns",
            {"ns": cost, "hours": hours, "compiler": [compiler(), *FLAGS]},
            cost=tuple(a / b for a, b in zip(cost["mst_abm"], cost["c"], strict=True)),
            is_by_c=True,
        )
