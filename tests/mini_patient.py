"""A millionth of a patient after chemotherapy, small enough for tests: one simulated cell stands for 1e6 everywhere.

The shipped model with its own rules and numbers; only spaces and first cells are smaller. Bystanders and blood formation
are left out, and what is rare in a body comes in numbers that can be counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from worlds import seed_of

from mst_abm.model.species import matches
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.loading import load_scenario_text
from mst_abm.scenario.patterns import Vocabulary, parse_pattern

SITES = 24
#: Volume of the lattice in mm^3; it stands for a million times as much.
VOLUME = SITES**3 * 512e-9
#: Lymphocytes settle beside vessels; where there are none they wait, and each of their tries looks at every site.
VESSELS = {"cells": "sinusoid", "place": {"tubes": {"spacing": "64 um", "radius": "8 um"}}}
#: Mechanisms that the model has on and a test asks for by name: it sees one, without what the others would add.
ON_REQUEST = ("rvt", "ifng", "treg", "recovery_help", "gvhd", "crs", "donor_haematopoiesis")
OFF = dict.fromkeys(ON_REQUEST, "off")
#: The same as overrides; one that follows them switches on again.
ALL_OFF = tuple(f"switches.{name}=off" for name in ON_REQUEST)


def cells(what: str, number: int, **more: Any) -> dict[str, Any]:
    """One entry of ``initial``."""
    return {"cells": what, "number": number, **more}


def mini_patient(
    initial: Mapping[str, list[dict[str, Any]]],
    *,
    switches: Mapping[str, str],
    rates: Mapping[str, str] | None = None,
    chances: Mapping[str, float] | None = None,
    more: Mapping[str, Any] | None = None,
    seed: int = 1,
    **sections: Any,
) -> Simulation:
    """The shipped model in miniature, without the mechanisms of ``ON_REQUEST`` that ``switches`` does not name; ``rates`` and ``chances``: rules by name with another rate, or
    with another probability of the first of their two outcomes; ``more``: other addresses.
    """
    override: dict[str, Any] = {
        "compartments.marrow.lattice.shape": [SITES] * 3,
        "compartments.marrow.patches": 1,
        "compartments.marrow.stands_for": f"{VOLUME * 1e6!r} mm^3",
    }
    override |= dict(more or {})
    override |= {f"rules.{rule}.rate": rate for rule, rate in (rates or {}).items()}
    for rule, p in (chances or {}).items():
        override[f"rules.{rule}.outcomes.0.probability"] = p
        override[f"rules.{rule}.outcomes.1.probability"] = 1.0 - p
    document = {
        "model": "marrow",
        "override": override,
        "switches": OFF | dict(switches),
        "initial": {"marrow": [VESSELS, *initial.get("marrow", [])]}
        | {place: initial.get(place, []) for place in ("blood", "lymphoid", "tissue")},
        "run": {"until": "60 d", "exchange": "1 h"},
        **sections,
    }
    return Simulation(load_scenario_text(json.dumps(document)), seed=seed_of(seed))


def number(simulation: Simulation, what: str, *places: str) -> int:
    """Simulated cells of a pattern, in some compartments or in all."""
    vocabulary = Vocabulary({t.name: t for t in simulation.scenario.model.types})
    pattern = parse_pattern(what, vocabulary)
    mine = [matches(pattern, species) for species in simulation.compiled.species]
    counts = simulation.counts
    return sum(int(counts[place][0, mine].sum()) for place in places or counts)


def events(simulation: Simulation, rule: str) -> int:
    """Events of one rule so far."""
    tallies = zip(simulation.compiled.tallies, simulation.tally[0], strict=True)
    return sum(int(n) for tally, n in tallies if tally.rule == rule)
