"""Tiles that take turns: the same bits as the twin, for any number of threads, and the same process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from busy_body import busy_body
from test_twin import LATTICES, agree, counted, named, on_lattice
from worlds import lattice

from mst_abm.scenario.definition import Scenario


def tiled(scenario: Scenario, tile: int, window_h: float = 0.0) -> Scenario:
    """The scenario run by tiles."""
    run = replace(scenario.run, mode="tiled", tile=tile, window_h=window_h)
    return replace(scenario, run=run)


def grown(name: str) -> Scenario:
    """A lattice of the twin's tests, large enough for several tiles, as densely filled."""
    scenario = on_lattice(name)
    (space,) = scenario.model.compartments
    factor = {1: 2, 2: 2, 3: 2}[len(space.shape)]
    shape = tuple(n * factor + i for i, n in enumerate(space.shape))
    if name == "large":
        shape = space.shape
    grows = np.prod(shape) / np.prod(space.shape)
    cells = tuple(replace(i, amount=round(i.amount * grows)) for i in scenario.model.initial)
    model = replace(scenario.model, compartments=(replace(space, shape=shape),), initial=cells)
    return replace(scenario, model=model)


@pytest.mark.parametrize("name", LATTICES)
def test_twin(name: str) -> None:
    sim = agree(tiled(grown(name), tile=5), replicates=1)
    assert sim.geometry.n_units > 1, "one tile proves nothing"


@pytest.mark.parametrize("name", ["swap", "push", "contact"])
def test_twin_with_identity_and_other_windows(name: str) -> None:
    agree(named(tiled(grown(name), tile=6, window_h=0.07)), replicates=1)
    agree(tiled(grown(name), tile=5, window_h=4.0), replicates=1)


@pytest.mark.parametrize("on_division", ["halve", "resample"])
def test_twin_with_counters(on_division: str) -> None:
    agree(tiled(counted(on_division, lattice(17, 16)), tile=4), events=30, replicates=1)


def test_twin_with_pools_and_outboxes() -> None:
    """Leave, emit, arrive between two patches and blood."""
    agree(tiled(busy_body(until=5.0, identity=True), tile=3), events=500, replicates=1)
