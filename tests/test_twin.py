"""The compiled engine and its plain twin give the same bits, verb by verb."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import proof
import pytest
from busy_body import busy_body
from twin import Twin
from worlds import box, lattice, mixed, placed, plain, rule, started, world

import mst_abm
from mst_abm import load_scenario
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario

pytestmark = pytest.mark.proof

HERE = Path(__file__).parent
UNTIL = 4.0


def follow(sim: Simulation, r: int, windows: int) -> Twin:
    """The twin of replicate r from time zero; the simulation has run ``windows`` intervals since."""
    fresh = Simulation(
        sim.scenario, seed=sim.seed, replicates=1, first_replicate=int(sim.numbers[r])
    )
    twin = Twin(fresh)
    for w in range(windows):
        given = sim.courses.levels()[w].tolist()
        before = list(twin.tally)
        twin.interval(float(sim._edges[w]), float(sim._edges[w + 1]), given)
        for channel, signal, amount in sim._yields:  # what events feed
            twin.levels[signal] += amount * (twin.tally[channel] - before[channel])
    return twin


def compare(sim: Simulation, r: int, twin: Twin) -> None:
    """Every bit of the state but spare room."""
    state, tab, geo = sim.state, sim.tables, sim.geometry
    progress = state.body.progress[r]
    assert state.body.tally[r].tolist() == twin.tally
    assert (progress["attempts"], progress["executed"]) == (twin.attempts, twin.executed)
    assert progress["time"] == twin.time
    assert state.body.signals[r].tolist() == twin.levels
    assert np.array_equal(state.body.received[r], twin.received)
    for k, patch in enumerate(twin.patches):
        first, last = int(geo.patches[k]["first"]), int(geo.patches[k]["last"])
        for tile in patch.tiles:
            compare_list(state.lattice, r, first, tile)
        species = np.zeros(last - first, int)
        for site, cell in patch.cells.items():
            species[site] = cell.species
        assert np.array_equal(state.lattice.species[r, first:last], species)
        for site, cell in patch.cells.items():
            check_cell(tab, state.lattice, r, first + site, cell)
        waiting = [(cell.species, cell.counters) for cell in patch.pool]
        assert state.pool.cells[r, k, : state.pool.n[r, k]].tolist() == waiting
        depth = state.pool.cells.shape[2]
        for i, cell in enumerate(patch.pool):
            if tab.has_identity:
                assert state.pool.identity[r, k * depth + i].tolist() == tuple(cell.identity)
    for q, mixture in enumerate(twin.mixed):
        first = int(state.mixed.first[q])
        sizes = [len(segment) for segment in mixture.segments]
        assert np.diff(state.mixed.bounds[r, q]).tolist() == sizes
        for i, cell in enumerate(mixture.flat()):
            assert state.mixed.species[r, first + i] == cell.species
            check_cell(tab, state.mixed, r, first + i, cell)


def compare_list(lattice, r: int, first: int, tile) -> None:
    """A tile's acting cells, in order; none waits between intervals."""
    sites = [site - tile.box.first for site in tile.listed.flat()]
    at = first + tile.box.first
    assert lattice.order[r, at : at + len(sites)].tolist() == sites
    bounds = lattice.bounds[r, tile.number].tolist()
    assert np.diff(bounds[:-1]).tolist() == [len(segment) for segment in tile.listed.segments]
    assert bounds[-1] == len(tile.waiting) == 0


def check_cell(tab, store, r: int, place: int, cell) -> None:
    if tab.has_counters:
        assert store.counters[r, place] == cell.counters
    if tab.has_identity:
        assert store.identity[r, place].tolist() == tuple(cell.identity)


def agree(scenario: Scenario, *, replicates: int = 2, events: int = 50) -> Simulation:
    sim = started(scenario, replicates)
    sim.advance(scenario.run.until_h)
    for r in range(replicates):
        compare(sim, r, follow(sim, r, sim._interval))
    assert sim.statistics["executed"] >= events, "too little happened to compare"
    proof.note_same_bits("engine and twin", sim.statistics["executed"])
    return sim


def named(scenario: Scenario, **run) -> Scenario:
    return replace(scenario, run=replace(scenario.run, records_identity=True, **run))


PAIR = {
    "outcomes": [
        {"probability": 0.4, "actor": "same", "partner": "empty"},
        {"probability": 0.3, "actor": "b", "partner": "a"},
        {"probability": 0.2, "actor": "empty", "partner": "b"},
    ]
}
HOPS = rule("move", "*", 2.0)
LIFE = [
    rule("divide", "a -> a + a", 0.8),
    rule("die", "a", 0.3),
    rule("become", "a -> b", 0.2),
    rule("die", "b", 0.3),
]
HILL_NEAR = {
    "near": "b",
    "within": 2,
    "shape": {"inverse_hill": {"half": 2.0, "power": 1.7, "bottom": 0.1}},
}
ROOM = {"near": "empty", "within": 1, "shape": {"table": {"x": [0, 2, 8], "y": [0.1, 0.8, 1.0]}}}


def on_lattice(name: str) -> Scenario:
    """Small lattices, one for each verb, placement and modifier."""
    two = plain("a", "b")
    cube, square = lattice(5, 6, 7), lattice(9, 8, neighbours=8, boundary="no-flux")
    mixed_walls = lattice(6, 5, 5, neighbours=26, boundary=["no-flux", "periodic", "no-flux"])
    static = two | {"wall": {"static": True}}
    n = {"a": 12, "b": 8}
    fields = [
        rule(
            "divide",
            "a -> a + b",
            1.0,
            modifiers=[{"distance": "wall", "shape": {"exponential": {"scale": 2.0}}}],
        ),
        rule(
            "die",
            "a",
            0.6,
            modifiers=[{"site": "wall", "shape": {"linear": {"intercept": 0.1, "slope": 0.3}}}],
        ),
        rule(
            "die",
            "b",
            0.4,
            modifiers=[{"site": "wall", "shape": {"step": {"at": 1, "below": 1, "above": 0}}}],
        ),
        HOPS,
    ]
    cases = {
        "attempt": (cube, two, n, [*LIFE, HOPS]),
        "vacant": (
            square,
            two,
            n,
            [rule("divide", "a -> a + b", 1.0, place="vacant"), *LIFE[1:], HOPS],
        ),
        "push": (
            cube,
            two,
            n,
            [
                rule("divide", "a -> a + a", 1.0, place={"push": 2}),
                *LIFE[2:],
                rule("move", "b", 0.3),
            ],
        ),
        "push among walls": (
            lattice(9, 9, boundary="no-flux"),
            static,
            {"wall": 12, "a": 10},
            [rule("divide", "a -> a + b", 0.9, place={"push": 4}), rule("die", "b", 0.1)],
        ),
        "near": (
            mixed_walls,
            two,
            n,
            [
                rule("divide", "a -> a + a", 1.5, modifiers=[ROOM]),
                rule("die", "a", 1.0, modifiers=[HILL_NEAR]),
                rule("become", "a -> b", 0.3, modifiers=[ROOM, HILL_NEAR]),
                rule("move", "b", 1.0, modifiers=[ROOM]),
            ],
        ),
        "fields": (square, static, {"wall": 6, **n}, fields),
        "swap": (
            cube,
            two,
            {"a": 60, "b": 60},
            [rule("move", "a", 2.0, swap_with=["b"]), rule("become", "a -> b", 0.05)],
        ),
        "contact": (
            square,
            two,
            {"a": 20, "b": 20},
            [
                rule("contact", "a + b", 0.5, **PAIR),
                rule("contact", "a + a", 0.2, **PAIR),
                HOPS,
                LIFE[0],
            ],
        ),
        "paracrine": (
            cube,
            two,
            {"a": 30, "b": 30},
            [
                rule("paracrine", "a + b", 0.1, within=2, modifiers=[ROOM], **PAIR),
                rule("contact", "b + b -> a + empty", 0.2),
                HOPS,
                LIFE[0],
            ],
        ),
        "fast and slow": (
            cube,
            two,
            n,
            [
                rule("move", "a", 300.0),
                rule("divide", "b -> b + b", 0.3),
                rule("become", "b -> a", 0.01),
                rule("become", "a -> b", 0.1),
            ],
        ),
        "large": (
            lattice(21, 20, 20),
            two,
            {"a": 120, "b": 60},
            [*LIFE, HOPS, rule("contact", "a + b", 0.5, **PAIR)],
        ),
        "line": (lattice(40), two, n, [*LIFE, rule("contact", "a + b -> b + a", 0.6)]),
    }
    space, types, cells, rules = cases[name]
    scenario = box(rules, space, types, until=UNTIL, record=1.0)
    return placed(scenario, *cells.items(), where="random")


LATTICES = (
    "attempt", "vacant", "push", "push among walls", "near", "fields", "swap", "contact", "paracrine",
    "fast and slow", "large", "line",
)  # fmt: skip


@pytest.mark.parametrize("name", LATTICES)
def test_lattice(name: str) -> None:
    agree(on_lattice(name))


def test_lattice_with_identity() -> None:
    for name in ("push", "swap", "contact"):
        agree(named(on_lattice(name)), replicates=1)


def counted(on_division: str, space: dict) -> Scenario:
    """Two counters, drawn, changed by events, and read by a modifier."""
    types = {
        "a": {
            "counters": {
                "n": {"max": 5, "initial": [0, 1, 2, 1, 1, 1], "on_division": on_division},
                "hits": {"max": 2, "initial": 0, "on_division": "zero"},
            }
        },
        "b": {"counters": {"n": {"max": 7, "initial": "uniform"}}},
    }
    worn = {"counter": "n", "shape": {"linear": {"intercept": 0.3, "slope": 0.2}}}
    hit = {"counter": "hits", "shape": {"step": {"at": 1, "below": 0.1, "above": 1.0}}}
    rules = [
        rule("divide", "a -> a + a", 0.7, modifiers=[worn], place="vacant"),
        rule(
            "become",
            "a",
            0.2,
            outcomes=[
                {"probability": 0.5, "to": "b"},
                {"probability": 0.5, "to": "a", "counters": {"hits": "+1"}},
            ],
        ),
        rule(
            "become",
            "b",
            0.5,
            outcomes=[
                {"probability": 0.8, "to": "b", "counters": {"n": "-1"}},
                {"probability": 0.2, "to": "a", "counters": {"n": "=3"}},
            ],
        ),
        rule(
            "contact",
            "a + b",
            0.3,
            outcomes=[
                {"probability": 0.6, "actor": {"hits": "+1"}, "partner": {"n": "+1"}},
                {"probability": 0.3, "actor": "b", "partner": "empty"},
            ],
        ),
        rule("die", "b", 0.2),
        rule("die", "a", 0.3, modifiers=[hit]),
    ]
    if "lattice" in space:
        rules.append(HOPS)
    return named(
        world(
            rules,
            {"space": space},
            {"space": [{"cells": "a", "number": 15}, {"cells": "b", "number": 10}]},
            types=types,
            until=UNTIL,
            record=1.0,
        )
    )


@pytest.mark.parametrize(
    "on_division", ["inherit", "halve", "zero", "resample", "minus_one", "plus_one"]
)
def test_counters(on_division: str) -> None:
    agree(counted(on_division, lattice(7, 7)), events=30)
    agree(counted(on_division, mixed(capacity=60)), events=30)


MIXTURES = {
    "mass action": mixed(room=30.0),
    "sites": mixed(capacity=40, neighbours=4),
    "many neighbours": mixed(capacity=30, neighbours=26),
    "nearly full": mixed(capacity=20, neighbours=6),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_mixed(name: str) -> None:
    rules = [
        rule("divide", "a -> a + b", 0.5, place="vacant", modifiers=[ROOM]),
        rule("divide", "b -> b + b", 0.3, place={"push": 2}),
        rule("die", "a", 0.3, modifiers=[HILL_NEAR]),
        rule("die", "b", 0.4),
        rule("die", "b", 0.2, modifiers=[HILL_NEAR]),  # not near itself
        rule("contact", "a + b", 0.2, **PAIR),
        rule("contact", "b + b -> a + empty", 0.1, modifiers=[ROOM]),
        rule("paracrine", "a + a -> c + empty", 0.02, within=2),
        rule("arrive", "a", 1.5, batch=3, on="dish", **{"from": "outside"}),
        rule("arrive", "b", 0.5, on="dish", **{"from": "outside"}),
    ]
    scenario = world(
        rules,
        {"dish": MIXTURES[name]},
        {"dish": {"a": 9, "b": 8}},
        types=plain("a", "b", "c"),
        until=UNTIL,
        record=1.0,
    )
    agree(named(scenario), replicates=3)


def test_two_kinds_wait_for_a_place() -> None:
    """Which waiting cell lands depends on its own rate, and the others go on waiting."""
    rules = [
        rule("leave", "* -> box", 1.0, on="blood"),
        rule("arrive", "a", 2.0, on="box"),
        rule("arrive", "b", 0.3, on="box"),
        rule("leave", "* -> blood", 0.4, on="box"),
    ]
    scenario = world(
        rules,
        {"box": lattice(4, 4, 4), "blood": mixed(room=100.0)},
        {"box": {"a": 10, "b": 10}, "blood": {"a": 20, "b": 20}},
        types=plain("a", "b"),
        until=UNTIL,
        exchange=0.5,
    )
    agree(named(scenario))


SHAPES = {
    "hill": {"hill": {"half": 2.0, "power": 1.3, "offset": 0.5, "bottom": 0.2}},
    "geometric": {
        "hill": {"half": 1.0, "power": 2.0, "bottom": 0.1, "top": 2.0, "geometric": True}
    },
    "inverse": {"inverse_hill": {"half": 3.0, "power": 2.0}},
    "linear": {"linear": {"intercept": 0.2, "slope": 0.1, "high": 0.6}},
    "step": {"step": {"at": 1.5, "below": 0.3, "above": 1.0}},
    "exponential": {"exponential": {"top": 1.2, "scale": 2.0}},
    "table": {"table": {"x": [0, 1, 4], "y": [0.1, 1.0, 0.5]}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_signals(shape: str) -> None:
    """Laws of signals, yields and clearance by cells, saturable clearance."""
    rules = [
        rule("divide", "a -> a + a", 0.6, modifiers=[{"signal": "s", "shape": SHAPES[shape]}]),
        rule(
            "die",
            "a",
            0.3,
            modifiers=[
                {"signal": "s", "shape": {"hill": {"half": 1.0}}},
                {"signal": "q", "shape": {"hill": {"half": 1.0, "bottom": 0.5}}},
            ],
        ),
        rule(
            "arrive",
            "a",
            2.0,
            on="dish",
            modifiers=[{"signal": "q", "shape": SHAPES[shape]}],
            **{"from": "outside"},
        ),
    ]
    signals = {
        "s": {
            "unit": "dimensionless", "initial": 0.5, "production": "0.5 /h", "clearance": "0.2 /h", "source": "test",
            "yields": [{"of": "dish.a", "rate": "1 /h", "relative_to": "20 cells"}],
            "cleared_by": [{"of": "dish.a", "rate": "0.3 /h", "relative_to": "30 cells"}],
        },
        "q": {
            "unit": "dimensionless", "initial": 2.0, "production": "0.3 /h", "source": "test",
            "saturable_clearance": {"max": "1 /h", "half": 0.7},
        },
    }  # fmt: skip
    scenario = world(
        rules,
        {"dish": mixed()},
        {"dish": {"a": 20}},
        types=plain("a"),
        until=UNTIL,
        exchange=0.5,
        signals=signals,
    )
    agree(scenario, events=30)


@pytest.mark.parametrize("identity", [True, False])
def test_everything_at_once(identity: bool) -> None:
    """Leave, emit, arrive between two patches and blood, with everything else at once."""
    agree(busy_body(until=5.0, identity=identity), events=500)


def test_twin_would_notice() -> None:
    """Negative control: one local acceptance read a little differently is another history."""
    sim = started(on_lattice("near"), 1)
    sim.advance(UNTIL)
    fresh = started(on_lattice("near"), 1)
    twin = Twin(fresh)
    twin.modifier_values = [v * 0.98 for v in twin.modifier_values]
    for w in range(sim._interval):
        twin.interval(float(sim._edges[w]), float(sim._edges[w + 1]), [])
    with pytest.raises(AssertionError):
        compare(sim, 0, twin)


def tiny(case: str) -> Scenario:
    """A run short enough for the interpreter."""
    if case == "lattice":
        return replace(on_lattice("contact"), run=replace(on_lattice("contact").run, until_h=1.0))
    if case == "tiles":
        scenario = on_lattice("large")
        return replace(scenario, run=replace(scenario.run, until_h=0.2, mode="tiled", tile=5))
    scenario = counted("halve", mixed(capacity=60))
    return replace(scenario, run=replace(scenario.run, until_h=1.0, records_identity=False))


@pytest.mark.parametrize("case", ["lattice", "mixed", "tiles"])
def test_interpreter_and_compiler_agree(case: str) -> None:
    """The kernels' own source, run without the compiler, gives the same bits."""
    sim = started(tiny(case), 1)
    sim.advance(sim.scenario.run.until_h)
    assert sim.statistics["executed"] >= 15
    path = [str(HERE), str(Path(mst_abm.__file__).parents[1])]
    told = subprocess.run(
        [sys.executable, str(HERE / "interpreted.py"), case],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(path)},
    )
    assert told.stdout.split() == [sim.digest(), str(sim.statistics["executed"])]
    proof.note_same_bits("compiler and interpreter", sim.statistics["executed"])


@pytest.mark.verify
def test_patient_for_half_an_hour() -> None:
    """The marrow model with its drugs, signals and lymphocytes; six thousand candidates."""
    scenario = load_scenario(
        HERE.parent / "configs" / "quickstart.yaml",
        overrides=("override.compartments.marrow.lattice.shape=[12, 12, 12]",),
    )
    sim = started(scenario)
    sim.advance(0.5)
    compare(sim, 0, follow(sim, 0, sim._interval))
    assert sim.statistics["executed"] > 300
    proof.note_same_bits("engine and twin", sim.statistics["executed"])
