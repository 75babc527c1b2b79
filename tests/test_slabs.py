"""Slabs: plates across the first axis of a lattice, filled or with an amount spread evenly."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import lattice, pictures, rule, world

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario

SIDE = 12


def slabs(*, boundary: str = "periodic", number: int | None = None, **lengths: str) -> Scenario:
    entry = {"cells": "bone", "place": {"slabs": {"spacing": "96 um", **lengths}}}
    if number is not None:
        entry["number"] = number
    space = lattice(SIDE, SIDE, SIDE, boundary=boundary)
    types = {"bone": {"static": True}}
    rules = [rule("die", "bone", 1.0)]
    return world(rules, {"box": space}, {"box": [entry]}, types=types, until=1.0)


def layers(scenario: Scenario) -> np.ndarray:
    """Cells in each layer across the first axis."""
    return (pictures(Simulation(scenario))[0] > 0).sum(axis=(0, 1))


@pytest.mark.parametrize(
    ("boundary", "lengths", "filled"),
    [
        ("periodic", {"thickness": "8 um"}, [0]),
        ("periodic", {"thickness": "24 um"}, [11, 0, 1]),
        ("no-flux", {"thickness": "24 um"}, [0, 1]),
        ("periodic", {"thickness": "16 um", "spacing": "48 um"}, [0, 1, 6, 7]),
        ("no-flux", {"thickness": "72 um"}, [0, 1, 2, 3, 4]),
    ],
)
def test_slabs_fill_their_layers(boundary: str, lengths: dict[str, str], filled: list[int]):
    expected = np.zeros(SIDE, int)
    expected[filled] = SIDE * SIDE
    assert np.array_equal(layers(slabs(boundary=boundary, **lengths)), expected)


@pytest.mark.parametrize("number", [12, 100, 288])
def test_an_amount_is_spread_evenly_over_slabs(number: int):
    scenario = slabs(number=number, thickness="24 um")
    assert layers(scenario).sum() == number
    picture = pictures(Simulation(scenario))[0] > 0
    # quarters of the plates hold alike numbers
    quarters = picture.reshape(2, SIDE // 2, 2, SIDE // 2, SIDE).sum(axis=(1, 3, 4))
    assert abs(quarters - number / 4).max() <= max(2.0, 0.05 * number)
    assert (picture.sum(axis=(0, 1))[[11, 0, 1]] > 0).all()
    assert not picture[:, :, 2:11].any()
