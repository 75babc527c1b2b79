"""One small body in which every kind of event happens: for digests, enlargement and conservation."""

from __future__ import annotations

from worlds import lattice, mixed, rule, world

from mst_abm.scenario.definition import Scenario


def busy_body(*, until: float = 12.0, identity: bool = True, seed: int = 5) -> Scenario:
    """Two patches of marrow and blood; cells divide, hop, swap, kill, signal, leave, come back."""
    types = {
        "stem": {
            "counters": {"left": {"max": 6, "initial": "uniform", "on_division": "minus_one"}}
        },
        "blood_cell": {"axes": {"age": ["young", "old"]}},
        "killer": {"counters": {"hits": {"max": 3, "initial": 0, "on_division": "zero"}}},
        "wall": {"static": True},
    }
    near = {"near": "empty", "within": 2, "shape": {"hill": {"half": 4.0, "bottom": 0.2}}}
    tired = {"counter": "hits", "shape": {"linear": {"intercept": 1.0, "slope": -0.25}}}
    feedback = {"signal": "growth factor", "shape": {"inverse_hill": {"half": 5.0, "bottom": 0.1}}}
    rules = [
        rule(
            "divide",
            "stem -> stem + stem",
            0.3,
            place={"push": 2},
            modifiers=[near, feedback],
            on="marrow",
        ),
        rule("become", "stem -> blood_cell[age=young]", 0.1, on="marrow"),
        rule("become", "blood_cell[age=young] -> blood_cell[age=old]", 0.2),
        rule("die", "blood_cell[age=old]", 0.15),
        rule("move", "killer", 2.0, swap_with=["stem", "blood_cell"], on="marrow"),
        rule("move", "blood_cell", 1.0, on="marrow"),
        rule(
            "contact",
            "killer + stem",
            0.6,
            modifiers=[tired],
            outcomes=[
                {"probability": 0.7, "actor": {"hits": "+1"}, "partner": "empty"},
                {"probability": 0.2, "actor": {"hits": "+1"}, "partner": "same"},
            ],
        ),
        rule("paracrine", "killer + blood_cell[age=old] -> killer + empty", 0.01, within=2),
        rule("leave", "blood_cell -> blood", 0.5, at={"next_to": "wall"}, on="marrow"),
        rule("leave", "killer -> blood", 0.05, on="marrow"),
        rule(
            "leave",
            "wall",
            0.02,
            emit={"to": "blood.blood_cell[age=young]", "yield": 5.5},
            on="marrow",
        ),
        rule("leave", "killer -> marrow", 0.2, on="blood"),
        rule("divide", "killer -> killer + killer", 0.15, on="blood"),
        rule("arrive", "killer", 0.5, at={"distance": "wall", "at_most": 2}, on="marrow"),
        rule("arrive", "killer", 0.5, batch=2, on="blood", **{"from": "outside"}),
        rule("contact", "killer + killer -> killer + empty", 0.02, on="blood"),
    ]
    signals = {
        "growth factor": {
            "unit": "dimensionless",
            "initial": 1.0,
            "production": "2 /h",
            "clearance": "0.1 /h",
            "cleared_by": [{"of": "blood.blood_cell", "rate": "1 /h", "relative_to": "100 cells"}],
            "source": "test",
        }
    }
    initial = {
        "marrow": [
            {
                "cells": "wall",
                "fraction": 0.03,
                "place": {"tubes": {"spacing": "64 um", "radius": "8 um"}},
            },
            {"cells": "stem", "number": 120, "place": {"clusters": {"radius": "24 um"}}},
            {"cells": "killer", "number": 30},
        ],
        "blood": [
            {"cells": "blood_cell[age=old]", "number": 40},
            {"cells": "killer", "number": 10},
        ],
    }
    return world(
        rules,
        {
            "marrow": lattice(10, 11, 12, boundary=["periodic", "no-flux", "periodic"], patches=2),
            "blood": mixed(room=2000.0, share=1.0),
        },
        initial,
        types=types,
        until=until,
        exchange=0.5,
        record=2.0,
        seed=seed,
        identity=identity,
        signals=signals,
    )
