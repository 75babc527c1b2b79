"""Niches at bone (`niches`): stem-like cells rest and stay there, blasts find shelter."""

from __future__ import annotations

from typing import Any

from mini_patient import SITES, cells, events, mini_patient, number
from test_ifng import AT_REST

from mst_abm.runs.simulation import Simulation

BONE = {
    "cells": "endosteum",
    "place": {"slabs": {"spacing": f"{8 * SITES} um", "thickness": "8 um"}},
    "switch": "niches",
}
#: Sites within three of the bone: seven layers of 24 less the bone itself.
BESIDE = {"slabs": {"spacing": f"{8 * SITES} um", "thickness": "56 um"}}


def marrow(niches: str, *entries: dict[str, Any], rates: dict[str, str]) -> Simulation:
    return mini_patient({"marrow": [BONE, *entries]}, switches={"niches": niches}, rates=rates)


def entries_into_s(niches: str, place: Any) -> int:
    """Of 1,000 stem-like cells that stay where they are, in two days."""
    stem = cells("stem[phase=g1]", 1000, place=place)
    simulation = marrow(niches, stem, rates={"stem-like cells wander": "0 /day"})
    simulation.advance(48.0)
    return events(simulation, "stem-like cells enter S")


def test_stem_like_cells_are_quieter_at_bone():
    # of 10,000 sites three in ten lie beside the bone: 0.5 there against 0.3 x 0.5 + 0.7 x 1.21
    beside, anywhere = (entries_into_s("on", place) for place in (BESIDE, "random"))
    assert 0.4 < beside / anywhere < 0.7
    # the control: without the mechanism it is the same everywhere
    beside, anywhere = (entries_into_s("off", place) for place in (BESIDE, "random"))
    assert 0.85 < beside / anywhere < 1.18


def share_at_bone(niches: str) -> float:
    """Stem-like cells, placed at random, that are within three sites of the bone after 20 d."""
    stem = cells("stem[phase=g1]", 1500)
    still = {"stem-like cells enter S": "0 /day", "stem-like cells wander": "20 /h"}
    simulation = marrow(niches, stem, rates=still)
    simulation.advance(24.0 * 20)
    agents = simulation.agents(0)
    mine = [i for i, name in enumerate(simulation.compiled.species_names) if "stem" in name]
    x = agents["x"][[s in mine for s in agents["species"]]].astype(int)
    return float(((x <= 3) | (x >= SITES - 3)).mean())


def test_stem_like_cells_are_kept_at_bone():
    # six layers of 23, in which they move at a quarter of the pace, hold 24 / (24 + 17) of them
    assert 0.5 < share_at_bone("on") < 0.66
    assert 0.22 < share_at_bone("off") < 0.36


def sheltered(niches: str) -> int:
    simulation = marrow(
        niches,
        cells("blast[phase=g0]", 3000, place=BESIDE),
        rates={**AT_REST, "blasts leave quiescence": "0 /day"},
    )
    simulation.advance(24.0 * 20)
    return number(simulation, "blast[phase=protected]")


def test_blasts_find_shelter_at_bone():
    # a third of 3,000 touch it; 0.004 per day for 20 d
    assert 40 < sheltered("on") < 120
    assert sheltered("off") == 0
