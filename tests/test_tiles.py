"""Tiles that take turns: the same bits as the twin, for any number of threads, and the same process."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from busy_body import busy_body
from hypothesis import given
from hypothesis import strategies as st
from test_twin import LATTICES, agree, counted, named, on_lattice
from worlds import lattice, mixed, plain, rule, world

from mst_abm import load_scenario
from mst_abm.engine.border import POSTS_PER_EVENT
from mst_abm.engine.state import make_border, tiles_of
from mst_abm.model.geometry import coordinates, sites_at, tile_edges
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario

pytestmark = pytest.mark.proof

CONFIGS = Path(__file__).parents[1] / "configs"
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
#: Of different kinds, the patients' marrow cut to fewer, smaller patches: run in seconds.
CUT_SMALL = (
    "override.compartments.marrow.patches=2",
    "override.compartments.marrow.lattice.shape=[32, 32, 32]",
)
QUICK = {
    "chemo_elderly_aml": CUT_SMALL,
    "quickstart": CUT_SMALL,
    "chemotaxis_dish": (),
    "killer_dish": (),
}


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


def test_cells_land_on_every_site() -> None:
    """More cells come than there are sites, at their own times, where an allowed one is left."""
    room = {"near": "a", "within": 1, "shape": {"linear": {"intercept": 1.0, "slope": -0.1}}}
    rules = [
        rule("leave", "a -> box", 3.0, on="blood"),
        rule("arrive", "a", 20.0, on="box", modifiers=[room]),
        rule("become", "a -> b", 0.5, on="box"),
    ]
    scenario = world(
        rules,
        {"box": lattice(9, 8), "blood": mixed(room=100.0)},
        {"box": {}, "blood": {"a": 100}},
        types=plain("a", "b"),
        until=4.0,
        exchange=0.5,
    )
    sim = agree(named(tiled(scenario, tile=4, window_h=0.2)), replicates=1)
    assert sim.counts["box"][0, 0] == 0 and sim.geometry.n_units == 4


@pytest.mark.parametrize(("name", "tile"), [("push", 5), ("near", 4), ("paracrine", 5)])
def test_twin_through_walls_and_rings(name: str, tile: int) -> None:
    """Odd numbers of tiles between walls, two tiles on a ring, sides that are no multiple."""
    scenario = grown(name)
    (space,) = scenario.model.compartments
    walls = replace(space, is_periodic=(False, True, False)[: len(space.shape)])
    model = replace(scenario.model, compartments=(walls,))
    sim = agree(tiled(replace(scenario, model=model), tile=tile), replicates=1)
    counts = [int(sim.geometry.spaces[0][f"tiles_{axis}"]) for axis in "xyz"]
    assert any(n == 3 for n in counts) and any(n == 2 for n in counts)


def run_with(
    scenario: Scenario, threads: int, replicates: int = 1, until: float = 0.0
) -> Simulation:
    sim = Simulation(scenario, threads=threads, replicates=replicates)
    sim.advance(until or scenario.run.until_h)
    return sim


@pytest.fixture(scope="module")
def usual() -> Simulation:
    """Two bodies of two patches of many tiles, in one thread."""
    return run_with(tiled(busy_body(until=12.0), tile=3), 1, replicates=2)


@pytest.mark.parametrize("threads", [2, 4, 8])
def test_number_of_threads(usual: Simulation, threads: int) -> None:
    assert usual.geometry.n_units >= 16
    assert run_with(usual.scenario, threads, replicates=2).digest() == usual.digest()


def test_alone_and_stopped_on_edges(usual: Simulation) -> None:
    alone = Simulation(usual.scenario, first_replicate=1)
    for stop in (0.5, 4.0, 11.5, 12.0):
        alone.advance(stop)
    assert alone.digest(0) == usual.digest(1)


@pytest.mark.parametrize("threads", [1, 3])
def test_room_at_the_start_does_not_matter(usual: Simulation, threads: int) -> None:
    """Outboxes of tiles and cells sent are enlarged in the middle of turns."""
    sim = Simulation(usual.scenario, threads=threads, replicates=2)
    sim.state.border = make_border(sim.geometry, POSTS_PER_EVENT + 2)
    for worker in sim.workers:
        worker.scratch = worker.scratch._replace(
            sent=worker.scratch.sent[:1].copy(),
            sent_identity=worker.scratch.sent_identity[:1].copy(),
        )
    sim.advance(12.0)
    assert sim.state.border.posts.shape[1] > POSTS_PER_EVENT + 2
    assert any(len(worker.scratch.sent) > 1 for worker in sim.workers)
    assert sim.digest() == usual.digest()


def test_nothing_is_left_between_intervals(usual: Simulation) -> None:
    """No cell waits, none has a clock of its own, and the lists hold every acting cell once."""
    geo, lattice = usual.geometry, usual.state.lattice
    assert not lattice.stamp.any() and not usual.state.border.n.any()
    assert not lattice.bounds[:, :, -1].any()
    for r in range(2):
        for k, patch in enumerate(geo.patches):
            m = int(patch["compartment"])
            for i, tile in enumerate(tiles_of(geo, k)):
                first = int(patch["first"] + tile["first"])
                species = lattice.species[r, first : first + int(tile["last"] - tile["first"])]
                rows = usual.tables.rows["class_of"][m * usual.tables.n_species + species]
                bounds = lattice.bounds[r, patch["unit"] + i]
                for c in range(usual.tables.n_classes):
                    sites = lattice.order[r, first + bounds[c] : first + bounds[c + 1]]
                    assert sorted(sites) == np.nonzero(rows == c)[0].tolist()


def check_threads(name: str, *overrides: str) -> None:
    """The same digest on 1, 2, 4 and 8 threads; what is infused comes early."""
    scenario = load_scenario(CONFIGS / f"{name}.yaml", overrides=["run.mode=tiled", *overrides])
    early = tuple(replace(infusion, at_h=0.5) for infusion in scenario.infusions)
    scenario = replace(scenario, infusions=early)
    # a transfusion is followed in mixed compartments alone
    is_cut = Simulation(scenario).tiled is not None
    assert is_cut == (name != "lymphocyte_transfusion")
    digests = {run_with(scenario, threads, until=2.0).digest() for threads in (1, 2, 4, 8)}
    assert len(digests) == 1


@pytest.mark.parametrize("name", QUICK)
def test_some_shipped_scenarios_on_any_number_of_threads(name: str) -> None:
    check_threads(name, *QUICK[name])


@pytest.mark.verify
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scenarios_on_any_number_of_threads(name: str) -> None:
    check_threads(name)


@given(
    n=st.integers(1, 300),
    side=st.integers(2, 64),
    is_ring=st.booleans(),
    least=st.integers(2, 10),
)
def test_edges_of_tiles(n: int, side: int, is_ring: bool, least: int) -> None:
    edges = tile_edges(n, (side, side), is_ring, least)
    sides = np.diff(edges)
    assert edges[0] == 0 and edges[-1] == n and sides.max() - sides.min() <= 1
    assert len(sides) == 1 or (sides.min() >= least and not (is_ring and len(sides) % 2))


def test_threads_that_would_only_wait_are_not_started(monkeypatch) -> None:
    """At most as many as tiles of a colour, and four for a processor."""
    scenario = tiled(on_lattice("large"), tile=5)
    colours = np.bincount(Simulation(scenario).geometry.tiles["colour"])
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    assert Simulation(scenario, threads=1000).threads == colours.max() > 1
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert Simulation(scenario, threads=1000).threads == min(4, colours.max())


def test_every_place_has_a_site() -> None:
    sim = Simulation(tiled(on_lattice("large"), tile=5))
    nx, ny, nz = (int(sim.geometry.spaces[0][f"n{a}"]) for a in "xyz")
    z, y, x = (a.ravel() for a in np.indices((nz, ny, nx)))
    sites = sites_at(sim.geometry, 0, x, y, z)
    assert sorted(sites) == list(range(nx * ny * nz))
    found = coordinates(sim.geometry, 0, np.sort(sites))
    order = np.argsort(sites)
    assert all(np.array_equal(a, b[order]) for a, b in zip(found, (x, y, z), strict=True))
