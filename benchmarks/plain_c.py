"""The reference model against plain C: cost per candidate event and per executed event."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns

SOURCE = Path(__file__).with_name("reference.c")
FLAGS = ("-O3", "-march=native")
FILLED = 0.5  # as in the model file
GOAL = 1.25


def compare(side: int, hours: float, repetitions: int) -> Iterator[Result]:
    """Lines for a cube of ``side`` sites, from half full for ``hours`` h."""
    from mst_abm import Simulation, load_scenario

    compiler = os.environ.get("CC") or shutil.which("cc")
    if compiler is None:
        yield Result(f"reference {side}^3 v C", float("nan"), "x", GOAL, "no C compiler (set CC)")
        return
    scenario = load_scenario(
        "reference",
        overrides=(
            f"override.compartments.cube.lattice.shape=[{side}, {side}, {side}]",
            f"override.initial.cube=[{{cells: cell, fraction: {FILLED}}}]",
            f"run.until={hours} h",
        ),
    )
    Simulation(scenario).advance(hours)  # compiles
    events: dict[str, list[tuple[int, int]]] = {"c": [], "mst_abm": []}

    def ours(i: int) -> float:
        simulation = Simulation(scenario, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(hours))
        seen = simulation.statistics
        events["mst_abm"].append((seen["executed"], seen["attempts"]))
        return seconds

    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "reference")
        subprocess.run(
            [compiler, *FLAGS, f"-DSIDE={side}", str(SOURCE), "-o", program, "-lm"], check=True
        )

        def c(i: int) -> float:
            words = subprocess.run(
                [program, str(i + 1), str(FILLED), str(hours)],
                check=True, capture_output=True, text=True,
            ).stdout.split()  # fmt: skip
            events["c"].append((int(words[0]), int(words[1])))
            return float(words[3])

        seconds = taking_turns({"c": c, "mst_abm": ours}, repetitions)
    for k, kind in enumerate(("executed event", "attempt")):
        cost = {
            name: [1e9 * s / n[k] for s, n in zip(seconds[name], events[name], strict=True)]
            for name in seconds
        }
        middle = {name: statistics.median(values) for name, values in cost.items()}
        yield Result(
            f"cost per {kind}, {side}^3, v plain C",
            median_ratio(cost["mst_abm"], cost["c"]),
            "x",
            GOAL if k == 0 else None,
            f"{middle['mst_abm']:.1f} ns v {middle['c']:.1f} ns",
            {"ns": cost, "hours": hours, "compiler": [compiler, *FLAGS]},
        )
