"""A day of marrow with a few cells that walk: sites cost nothing, events do.

Time-stepped programs pay for every cell at every step. For such a patch (1e6 sites, 3 % of cells moving at 0.5
hops a minute, steps of one minute) an earlier comparison, not repeated here, saw HAL take 47 s a
day in list order and 246 s shuffled, and Mesa 2,400 s.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.timing import Result, cpu_seconds

SIDE, GOAL = 100, 1.5
WALKERS = 0.03


def document(side: int, hours: float, mode: str, walkers: float = WALKERS) -> str:
    """Bone, stroma, cells that turn over in days, and T cells that walk; JSON is YAML."""
    rate = {"source": "benchmark"}
    content: dict[str, Any] = {
        "types": {
            "bone": {"static": True},
            "stroma": {"static": True},
            "resident": {},
            "t_cell": {},
        },
        "rules": [
            {"name": "residents divide", "divide": "resident -> resident + resident",
             "place": "vacant", "rate": "0.02 /h", **rate},
            {"name": "residents die", "die": "resident", "rate": "0.01 /h", **rate},
            {"name": "T cells walk", "move": "t_cell", "rate": "0.5 /min", **rate},
        ],
        "compartments": {
            "marrow": {
                "lattice": {
                    "shape": [side] * 3, "spacing": "8 um", "neighbours": 6,
                    "boundary": "no-flux",
                }
            }
        },
        "initial": {
            "marrow": [
                {"cells": "bone", "place": {"tubes": {"spacing": "400 um", "radius": "80 um"}}},
                {"cells": "stroma", "density": "15000 /mm^3"},
                {"cells": "t_cell", "fraction": walkers},
                {"cells": "resident", "fraction": 0.5},
            ]
        },
        "run": {
            "until": f"{hours} h", "seed": 1, "exchange": "1 h", "record": {"counts": "1 h"},
            "mode": mode,
        },
    }  # fmt: skip
    return json.dumps(content)


def scenario_of(side: int, hours: float, mode: str, walkers: float = WALKERS) -> Any:
    from mst_abm.scenario import load_scenario_text

    return load_scenario_text(document(side, hours, mode, walkers))


def days(mode: str, repetitions: int) -> Iterator[Result]:
    """CPU seconds for a day of 1e6 sites, one thread."""
    from mst_abm import Simulation

    Simulation(scenario_of(SIDE, 1.0, mode)).advance(1.0)  # compiles
    scenario = scenario_of(SIDE, 24.0, mode)
    done: dict[str, int] = {}

    def day(i: int) -> float:
        simulation = Simulation(scenario, seed=i + 1)
        seconds = cpu_seconds(lambda: simulation.advance(24.0))
        done.update(simulation.statistics)
        return seconds

    seconds = [day(i) for i in range(repetitions)]
    yield Result(
        f"a day of marrow, {SIDE}^3, 3 % walk, {mode}",
        statistics.median(seconds),
        "s",
        GOAL,
        f"{done['attempts']:.3g} attempts, {done['executed']:.3g} events",
        {"s": seconds, **{name: float(n) for name, n in done.items()}},
        tuple(seconds),
    )
