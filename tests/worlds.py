"""Small models for proofs, written as dictionaries and read through the package's own front door.

Every proof runs what a person would write in a file: no table is built by hand here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mst_abm.model.definition import InitialCells, Product
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

#: Variable of the environment with the seed of a session (``pytest --seed``).
SEED_VARIABLE = "MST_ABM_TEST_SEED"


def seed_of(fixed: int) -> int:
    """The seed of one proof: the fixed one, moved along when the session has a seed of its own."""
    return int(os.environ.get(SEED_VARIABLE, 1)) + fixed - 1


Options = Mapping[str, Any]
#: Ways to run a lattice, as entries of the section ``run``; proofs that hold in each go through all.
MODES: dict[str, Options] = {"exact": {}, "tiled": {"mode": "tiled", "tile": 16}}
#: Side of the tiles by which sites are sorted when a mode names none.
TILE = 16
NO_OPTIONS: Options = MappingProxyType({})


def per_hour(rate: float) -> str:
    """A rate as a file states it; every digit is kept."""
    return f"{float(rate)!r} /h"


def rule(verb: str, what: str, rate: float, **more: Any) -> dict[str, Any]:
    """One entry of ``rules``; ``on`` stands for the key ``in``, which Python keeps for itself."""
    written: dict[str, Any] = {verb: what, "rate": per_hour(rate), "source": "test", **more}
    if "on" in written:
        written["in"] = written.pop("on")
    return written


def lattice(*shape: int, neighbours: int = 0, boundary: Any = "periodic", **more: Any) -> dict:
    """A lattice of 8 um sites; von Neumann unless told otherwise."""
    space = {
        "shape": list(shape),
        "spacing": "8 um",
        "neighbours": neighbours or 2 * len(shape),
        "boundary": boundary,
    }
    return {"lattice": space, **more}


def mixed(capacity: int = 0, neighbours: int = 6, room: float = 0.0, **more: Any) -> dict:
    """A mixed compartment; ``room``: volume in sites of 8 um, for mass action."""
    inside = {"neighbours": neighbours}
    if capacity:
        inside["capacity"] = capacity
    if room:
        more["stands_for"] = f"{room * 512.0!r} um^3"
    return {"mixed": inside, **more}


def world(
    rules: list[dict[str, Any]],
    compartments: dict[str, Any],
    initial: dict[str, Any],
    *,
    types: dict[str, Any] | None = None,
    until: float,
    exchange: float = 1.0,
    record: float | None = None,
    seed: int = 1,
    run_options: Options = NO_OPTIONS,
    **sections: Any,
) -> Scenario:
    """A scenario; types without axes need no mention, rules get names by their place.

    ``run_options``: more entries of the section ``run``, as in `MODES`.
    """
    if types is None:
        types = {}
    names = {f"rule {i}": r for i, r in enumerate(rules)}
    document = {
        "types": types,
        "rules": [{"name": name, **r} for name, r in names.items()],
        "compartments": compartments,
        "initial": initial,
        "run": {
            "until": f"{until!r} h",
            "seed": seed_of(seed),
            "exchange": f"{exchange!r} h",
            "record": {"counts": f"{record or until!r} h"},
            **run_options,
        },
        **sections,
    }
    if document.pop("identity", False):
        document["run"]["identity"] = True
    return load_scenario_text(json.dumps(document))


def placed(scenario: Scenario, *cells: tuple[str, int], where: str = "centre") -> Scenario:
    """The scenario with these cells at the centre, nearest sites first, in this order."""
    compartment = scenario.model.compartments[0].name
    initial = tuple(
        InitialCells(
            compartment, ((Product("species", name), 1.0),), "number", float(n), placement=where
        )
        for name, n in cells
    )
    return replace(scenario, model=replace(scenario.model, initial=initial))


def stepped(scenario: Scenario, *cells: tuple[str, int]) -> Scenario:
    """The scenario with these cells on the first sites in storage order: a step along the last axis."""
    (compartment, *_) = scenario.model.compartments
    everywhere = 2.0 * max(compartment.shape) * compartment.spacing
    filled = placed(scenario, *cells, where="tubes").model.initial
    initial = tuple(replace(i, spacing=everywhere, radius=everywhere) for i in filled)
    return replace(scenario, model=replace(scenario.model, initial=initial))


def box(rules: list, space: dict, types: dict, *, until: float, **more: Any) -> Scenario:
    """One lattice without cells yet; a shape of one side is a line or a ring."""
    side = space["lattice"]["shape"][0] if len(space["lattice"]["shape"]) == 1 else 0
    scenario = world(
        rules,
        {"box": lattice(3, 3) if side else space},
        {"box": {}},
        types=types,
        until=until,
        **more,
    )
    if not side:
        return scenario
    # a line: files state two or three dimensions, the engine also knows one
    (before,) = scenario.model.compartments
    is_ring = space["lattice"]["boundary"] == "periodic"
    line = replace(before, shape=(side,), neighbours=2, is_periodic=(is_ring,))
    return replace(scenario, model=replace(scenario.model, compartments=(line,)))


def plain(*names: str) -> dict[str, dict]:
    """Types without axes or counters."""
    return {name: {} for name in names}


def started(scenario: Scenario, n: int = 1, **options: Any) -> Simulation:
    """A simulation of ``n`` replicates at time zero."""
    return Simulation(scenario, replicates=n, **options)


def column(simulation: Simulation, compartment: str, species: str) -> np.ndarray:
    """Cells of one species in one compartment, one number per replicate."""
    number = simulation.compiled.species_names.index(species)
    return simulation.counts[compartment][:, number].astype(float)


def booked(simulation: Simulation, place: int) -> np.ndarray:
    """Events of the rule at a place of the list, one number per replicate."""
    lines = [i for i, t in enumerate(simulation.compiled.tallies) if t.rule == f"rule {place}"]
    return simulation.tally[:, lines].sum(axis=1).astype(float)


def pictures(simulation: Simulation) -> np.ndarray:
    """Species at every site of the first compartment, (replicate, z, y, x) without axes of one site.

    Read from the list of agents, so that it holds however the engine stores its sites.
    """
    shape = (*simulation.scenario.model.compartments[0].shape, 1, 1)[:3]
    found = np.zeros((simulation.replicates, *shape[::-1]), np.uint16)
    for r in range(simulation.replicates):
        agents = simulation.agents(r)
        here = agents["compartment"] == 0
        z, y, x = (agents[axis][here] for axis in "zyx")
        found[r, z, y, x] = agents["species"][here]
    return found.reshape(simulation.replicates, *(n for n in shape[::-1] if n > 1))


def positions(simulation: Simulation, species: str) -> np.ndarray:
    """Places of all cells of a species in order of their identities, (replicate, cell, x y z).

    For cells that are neither born nor die; identities must be recorded.
    """
    number = simulation.compiled.species_names.index(species)
    found = []
    for r in range(simulation.replicates):
        agents = simulation.agents(r)
        mine = agents["species"] == number
        places = np.stack([agents[axis][mine] for axis in "xyz"], axis=1).astype(int)
        found.append(places[np.argsort(agents["id"][mine])])
    return np.array(found)


def shortest(steps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Displacements on a torus by the shorter way round, (..., axes of the lattice)."""
    sides = np.array(shape)
    return (steps[..., : len(shape)] + sides // 2) % sides - sides // 2
