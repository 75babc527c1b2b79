"""Reservoirs: classes too rare for a sample go on in the body, by hazards that probes measure, and come back.

The law of a reservoir against the closed form of linear birth and death; a small sample with a reservoir against
a lattice large enough to need none; what probes see against every site counted; nothing lost or counted twice
when cells are handed over; and controls that fail.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import proof
import pytest
from mini_patient import cells, mini_patient
from thresholds import RESERVOIRS, Size
from worlds import column, lattice, mixed, pictures, rule, started, world

import mst_abm
from mst_abm.report.check import check_text
from mst_abm.report.figure import draw
from mst_abm.report.summary import summary
from mst_abm.runs.reservoirs import Reservoirs
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

BIRTH, DEATH = 0.10, 0.12


def reserve(what: str = "x", place: str = "box", **more) -> dict:
    """A section ``reservoirs`` of one class."""
    held = {"cells": what, "in": place, "below": 20, "above": 100, "probes": 8, "source": "test"}
    return {"rare": held | more}


def body_of(side: int, share: float) -> dict:
    """A cubic lattice that holds a share of what it stands for."""
    return lattice(side, side, side, stands_for=f"{side**3 * 512.0 / share!r} um^3")


def held(simulation: Simulation, species: str = "x", place: str = "box") -> np.ndarray:
    """Cells of the body in reservoirs, one number per replicate."""
    number = simulation.compiled.species_names.index(species)
    return simulation.reservoirs.numbers[place][:, number].astype(float)


def everywhere(simulation: Simulation, share: float, species: str = "x") -> np.ndarray:
    """Cells of the body, in the sample and in reservoirs."""
    return column(simulation, "box", species) / share + held(simulation, species)


def z(x: np.ndarray, mean: float, variance: float) -> float:
    return float((np.mean(x) - mean) / math.sqrt(variance / len(x)))


def z_two(x: np.ndarray, y: np.ndarray) -> float:
    return float((x.mean() - y.mean()) / math.sqrt(x.var() / len(x) + y.var() / len(y)))


# ------------------------------------------------------------------ the law of a reservoir


def alone(space: dict, wrong: float, *, start: int = 5, seed: int = 1) -> Scenario:
    """Birth and death at the scale of a body of which a tenth is simulated."""
    rules = [
        rule("divide", "x -> x + x", BIRTH, place={"push": 2}),
        rule("die", "x", DEATH * wrong),
    ]
    return world(
        rules, {"box": space}, {"box": [{"cells": "x", "number": start / 10}]}, types={"x": {}},
        until=20.0, exchange=4.0, seed=seed, reservoirs=reserve(),
    )  # fmt: skip


def law(space: dict, size: Size, wrong: float = 1.0) -> list[float]:
    """Mean, variance and extinction after 20 h."""
    start, t = 5, 20.0
    simulation = started(alone(space, wrong, start=start), size.n)
    simulation.advance(t)
    x = held(simulation)
    growth = math.exp((BIRTH - DEATH) * t)
    mean = start * growth
    variance = start * (BIRTH + DEATH) / (BIRTH - DEATH) * growth * (growth - 1.0)
    gone = (DEATH * (growth - 1.0) / (BIRTH * growth - DEATH)) ** start
    spread = (x - mean) ** 2
    return [
        z(x, mean, variance),
        float((spread.mean() - variance) / (spread.std() / math.sqrt(len(x)))),
        z((x == 0).astype(float), gone, gone * (1.0 - gone)),
    ]


SPACES = {"lattice": body_of(6, 0.1), "mixed": {**mixed(room=2160.0), "share": 0.1}}


@pytest.mark.proof
@pytest.mark.parametrize("name", SPACES)
def test_birth_and_death_at_body_scale(name: str) -> None:
    size = RESERVOIRS["law"]
    values = law(SPACES[name], size)
    proof.holds(f"reservoir, {name}", values, size.z, size.n, ("mean", "variance", "extinct"))


@pytest.mark.proof
def test_a_wrong_death_rate_is_seen() -> None:
    size = RESERVOIRS["law"]
    values = law(SPACES["lattice"], size, 1.0 + size.error)
    proof.is_caught("reservoir", f"death {size.error:.0%} too fast", values, size.z, size.n)


@pytest.mark.proof
def test_large_numbers_grow_as_they_should() -> None:
    """A thousand million cells with stages: the mean to a part in two thousand, and integers throughout."""
    rules = [
        rule("become", "x[stage=a] -> x[stage=b]", 0.3),
        rule("divide", "x[stage=b] -> x[stage=a] + x[stage=a]", 0.2),
        rule("die", "x", 0.05),
    ]
    share = 1e-9
    scenario = world(
        rules, {"box": {**mixed(room=1e12), "share": share}},
        {"box": [{"cells": "x[stage=a]", "number": 1e9 * share}]},
        types={"x": {"axes": {"stage": ["a", "b"]}}}, until=20.0, exchange=0.5, reservoirs=reserve(),
    )  # fmt: skip
    simulation = started(scenario, 4)
    simulation.advance(20.0)
    change = np.array([[-0.35, 0.4], [0.3, -0.25]])
    values, vectors = np.linalg.eig(change)
    exact = (vectors @ np.diag(np.exp(20.0 * values)) @ np.linalg.inv(vectors)) @ [1e9, 0.0]
    for stage, mean in zip("ab", exact, strict=True):
        x = held(simulation, f"x[stage={stage}]")
        assert np.all(x == np.round(x))
        assert np.allclose(x, mean, rtol=1 / 2000)


# ------------------------------------------------------------------ what probes see


def crowd() -> Scenario:
    """Sites among posts and killers, some of them near helpers: every kind of outlook."""
    rules = [
        rule("die", "x", 1.0, modifiers=[{"site": "post", "shape": {"linear": {"slope": 1}}}]),
        rule("become", "x -> y", 1.0, modifiers=[
            {"near": "helper", "within": 2, "shape": {"hill": {"half": 3}}}]),
        rule("contact", "killer + x -> killer + empty", 1.0),
        rule("divide", "x -> x + x", 1.0),
        rule("divide", "x -> y + y", 1.0, place="vacant"),
        rule("paracrine", "helper + x -> same + y", 1.0, within=2),
        rule("contact", "x + killer -> y + same", 1.0),
    ]  # fmt: skip
    return world(
        rules, {"box": body_of(16, 0.001)},
        {"box": [{"cells": "post", "fraction": 0.1}, {"cells": "killer", "fraction": 0.1},
                 {"cells": "helper", "fraction": 0.3}, {"cells": "x", "number": 5}]},
        types={"x": {}, "y": {}, "killer": {}, "helper": {}, "post": {"static": True}},
        until=1.0, reservoirs=reserve(probes=20_000),
    )  # fmt: skip


def around(is_there: np.ndarray, reach: float) -> np.ndarray:
    """Cells within reach of every site of a periodic cube."""
    total, steps = np.zeros(is_there.shape), range(-2, 3)
    for dx in steps:
        for dy in steps:
            for dz in steps:
                if 0 < dx * dx + dy * dy + dz * dz <= reach**2:
                    total += np.roll(is_there, (dz, dy, dx), (0, 1, 2))
    return total


@pytest.mark.proof
def test_probes_see_what_every_vacant_site_shows() -> None:
    size = RESERVOIRS["probes"]
    simulation = started(crowd())
    simulation.reservoirs.begin(1, 0, simulation.replicates)
    names = simulation.compiled.species_names
    (picture,) = pictures(simulation)
    there = {name: picture == names.index(name) for name in ("post", "killer", "helper")}
    vacant = picture == 0
    helpers = around(there["helper"], 2)
    exact = {
        "rule 0": around(there["post"], 1),
        "rule 1": helpers / (helpers + 3.0),
        "rule 2": around(there["killer"], 1),
        "rule 3": around(vacant, 1) / 6.0,
        "rule 4": (around(vacant, 1) > 0).astype(float),
        "rule 5": helpers,
        "rule 6": around(there["killer"], 1),
    }
    tables, seen = simulation.compiled.reserves, simulation.reservoirs.held.outlook[0]
    values = []
    for deed in tables.deeds:
        name = simulation.compiled.tallies[deed["tally"]].rule
        sites = exact[name][vacant]
        hazard = deed["base"] * seen[deed["outlook"]]
        values.append(z(np.array([hazard]), sites.mean(), sites.var() / 20_000))
    assert len(values) == len(exact)
    proof.holds("probes", values, size.z, 20_000, tuple(exact))


def test_probes_stand_where_they_are_told_to() -> None:
    scenario = crowd()
    simulation = started(scenario)
    simulation.reservoirs.begin(1, 0, simulation.replicates)
    state, probed = simulation.state.lattice, simulation.reservoirs.held
    assert np.all(state.species[0, probed.site[0]] == 0)
    other = load_scenario_text(
        scenario.resolved_text,
        overrides=["reservoirs.rare.on=[helper]", "reservoirs.rare.at={next_to: post}"],
    )
    simulation = started(other)
    simulation.reservoirs.begin(1, 0, simulation.replicates)
    site = simulation.reservoirs.held.site[0]
    names = simulation.compiled.species_names
    assert np.all(simulation.state.lattice.species[0, site] == names.index("helper"))
    assert np.all(simulation.state.lattice.fields[0, 0, site] > 0)


# ------------------------------------------------------------------ against a lattice that needs none


def dish(side: int, share: float, *, start: int, wrong: float = 1.0, **more) -> Scenario:
    """Cells that walk among posts, which shelter them, and killers that stand still."""
    shelter = [{"site": "post", "shape": {"linear": {"intercept": 1, "slope": -0.3}}}]
    rules = [
        rule("divide", "x -> x + x", 0.10, place={"push": 2}),
        rule("die", "x", 0.15 * wrong, modifiers=shelter),
        rule("contact", "killer + x -> killer + empty", 0.2 * wrong),
        rule("move", "x", 10.0, swap_with=["killer"]),
    ]
    return world(
        rules, {"box": body_of(side, share)},
        {"box": [{"cells": "post", "fraction": 0.1}, {"cells": "killer", "fraction": 0.02},
                 {"cells": "x", "number": start * share}]},
        types={"x": {}, "killer": {}, "post": {"static": True}},
        until=20.0, exchange=1.0, **more,
    )  # fmt: skip


TIMES = (5.0, 10.0, 20.0)


def course(scenario: Scenario, n: int, share: float) -> list[np.ndarray]:
    simulation, found = started(scenario, n), []
    for t in TIMES:
        simulation.advance(t)
        found.append(everywhere(simulation, share) if simulation.reservoirs else
                     column(simulation, "box", "x"))  # fmt: skip
    return found


def agreement(n: int, wrong: float = 1.0, share: float = 0.125) -> list[float]:
    """Means and extinction in time: an eighth of the body with a reservoir, and the whole body."""
    small = course(dish(8, 0.125, start=20, wrong=wrong, reservoirs=reserve(probes=32)), n, share)
    large = course(dish(16, 1.0, start=20, seed=2), n, 1.0)
    values = [z_two(x, y) for x, y in zip(small, large, strict=True)]
    return [*values, z_two((small[-1] == 0).astype(float), (large[-1] == 0).astype(float))]


@pytest.mark.proof
def test_a_small_sample_agrees_with_a_large_lattice() -> None:
    size = RESERVOIRS["large"]
    n = 2 * size.n
    values = agreement(n)
    proof.holds(
        "large lattice", values, size.z, n, (*(f"mean, t = {t:g}" for t in TIMES), "extinct")
    )


@pytest.mark.proof
def test_a_wrong_rate_disagrees_with_the_large_lattice() -> None:
    size = RESERVOIRS["large"]
    n = 2 * size.n
    values = agreement(n, 1.0 + size.error)
    proof.is_caught("large lattice", f"deaths {size.error:.0%} too fast", values, size.z, n)


# ------------------------------------------------------------------ handing over

SHARE = 0.1
STAGES = ("x[stage=a]", "x[stage=b]", "x[stage=c]")


def passing(start: float, birth: float, death: float, *, seed: int = 1, **more) -> Scenario:
    """A class of three stages that grows or falls past the thresholds."""
    rules = [
        rule("divide", "x[stage=a] -> x[stage=b] + x[stage=a]", birth, place={"push": 2}),
        rule("become", "x[stage=b] -> x[stage=c]", 0.5),
        rule("become", "x[stage=c] -> x[stage=a]", 0.5),
        rule("die", "x", death),
    ]
    mix = dict.fromkeys(STAGES, 1)
    return world(
        rules, {"box": body_of(16, SHARE)}, {"box": [{"mix": mix, "number": start * SHARE}]},
        types={"x": {"axes": {"stage": ["a", "b", "c"]}}}, until=30.0, exchange=0.5, record=0.5,
        seed=seed, reservoirs=reserve(**{"below": 40, **more}),
    )  # fmt: skip


def total(simulation: Simulation, share: float = SHARE) -> np.ndarray:
    return sum(everywhere(simulation, share, stage) for stage in STAGES)


def jumps(scenario: Scenario, n: int, share: float = SHARE) -> np.ndarray:
    """Change of the body's number by handing over alone, cells: what events do not account for."""
    simulation = started(scenario, n)
    changes = simulation.compiled.stoichiometry
    mine = np.isin(changes[:, 2], [simulation.compiled.species_names.index(s) for s in STAGES])
    gain = np.zeros(len(simulation.compiled.tallies))
    np.add.at(gain, changes[mine, 0], changes[mine, 3])

    def expected() -> np.ndarray:
        return simulation.reservoirs.tally @ gain + simulation.tally @ gain / share

    before, events, owner = total(simulation, share), expected(), simulation.reservoirs.is_owner
    found = []
    for t in np.arange(0.5, 30.1, 0.5):
        simulation.advance(t)
        after, done, now = total(simulation, share), expected(), simulation.reservoirs.is_owner
        change = after - before - (done - events)
        passed = now[:, 0] != owner[:, 0]
        assert np.all(np.abs(change[~passed]) < 1e-6 * after[~passed].max(initial=1.0) + 1e-6)
        found += list(change[passed])
        before, events, owner = after, done, now
    return np.array(found)


@pytest.mark.parametrize("way", ["up", "down"])
def test_handing_over_makes_no_jump(way: str) -> None:
    """The body's number stays within one simulated cell, and right in the mean."""
    size = RESERVOIRS["jump"]
    start, birth, death = (300, 0.5, 0.02) if way == "up" else (2000, 0.0, 0.2)
    found = jumps(passing(start, birth, death), size.n)
    assert len(found) == size.n
    assert np.all(np.abs(found) <= 1.0 / SHARE + 1e-6)
    proof.holds(f"handing over, {way}", [z(found, 0.0, max(found.var(), 1e-6))], size.z, size.n)


def test_a_wrong_share_jumps() -> None:
    """Control: cells handed over by another share than the sample's are seen at once."""
    size = RESERVOIRS["jump"]
    scenario = passing(300, 0.5, 0.02)
    simulation = Simulation(scenario, replicates=8)
    simulation.reservoirs.tables.reservoirs["share"] *= 1.05
    changes = []
    owner = simulation.reservoirs.is_owner[:, 0]
    before = total(simulation)
    for t in np.arange(0.5, 30.1, 0.5):
        simulation.advance(t)
        now, after = simulation.reservoirs.is_owner[:, 0], total(simulation)
        changes += list((after / before)[owner & ~now])
        before, owner = after, now
    # half an hour of growth is 5 % at most; 5 % more of a thousand cells is five simulated ones
    right = jumps(scenario, 8)
    assert np.mean(changes) - 1.0 > 0.05 > np.abs(right).max() / 1000
    assert size.n >= 8


def test_cells_left_behind_are_counted_twice(monkeypatch) -> None:
    """Control: a reservoir that keeps what it hands back doubles the body's number."""
    hand_over = Reservoirs._hand_over

    def keep(self: Reservoirs, *when: float) -> None:
        before, owner = self.held.numbers.copy(), self.held.is_owner.copy()
        hand_over(self, *when)
        passed = (owner & ~self.held.is_owner)[:, 0]
        self.held.numbers[passed] = before[passed]

    monkeypatch.setattr(Reservoirs, "_hand_over", keep)
    found = jumps(passing(300, 0.5, 0.02), 8)
    assert len(found) >= 8 and np.all(found[:8] > 100.0 / SHARE / 2)


def test_the_sides_change_seldom() -> None:
    """Between the thresholds a class stays where it is: a number that wanders about does not flap."""

    def changes(below: int, above: int) -> int:
        scenario = passing(500, 0.05, 0.05 / 3, below=below, above=above)
        simulation = started(scenario, 40)
        owner, found = simulation.reservoirs.is_owner, 0
        for t in np.arange(0.5, 30.1, 0.5):
            simulation.advance(t)
            now = simulation.reservoirs.is_owner
            found, owner = found + int((now != owner).sum()), now
        return found

    apart, near = changes(20, 100), changes(50, 51)
    assert apart <= 4 < 40 < near


# ------------------------------------------------------------------ what passes the border of a class


def test_what_leaves_the_class_seeds_the_sample_and_what_joins_it_is_gathered() -> None:
    """Rare mothers make common daughters at rate x share; daughters that turn back are mothers of the body."""
    size = RESERVOIRS["seed"]
    rules = [
        rule("divide", "mother -> mother + daughter", 0.4, place={"push": 2}),
        rule("become", "daughter -> mother", 0.02),
    ]
    scenario = world(
        rules, {"box": body_of(16, 0.01)}, {"box": [{"cells": "mother", "number": 5.0}]},
        types={"mother": {}, "daughter": {}}, until=10.0, exchange=0.25,
        reservoirs=reserve("mother"),
    )  # fmt: skip
    simulation = started(scenario, size.n)
    simulation.advance(10.0)
    change = np.array([[0.0, 0.02], [0.4, -0.02]])
    values, vectors = np.linalg.eig(change)
    mothers, daughters = (
        vectors @ np.diag(np.exp(10.0 * values)) @ np.linalg.inv(vectors) @ [500.0, 0.0]
    )
    assert np.all(column(simulation, "box", "mother") == 0)
    found = [held(simulation, "mother"), column(simulation, "box", "daughter") / 0.01]
    # cells are gathered on edges, a daughter of the sample at a time: less than one per cent late
    for x, mean in zip(found, (mothers, daughters), strict=True):
        assert abs(x.mean() - mean) < 0.01 * mean + size.z * x.std() / math.sqrt(size.n)


def test_cells_that_leave_for_another_compartment_arrive_there_by_its_share() -> None:
    size = RESERVOIRS["seed"]
    scenario = world(
        [rule("leave", "x -> blood", 0.1, on="box")],
        {"box": body_of(8, 0.01), "blood": {**mixed(room=100.0), "share": 0.05}},
        {"box": [{"cells": "x", "number": 10.0}], "blood": {}},
        types={"x": {}}, until=10.0, reservoirs=reserve(),
    )  # fmt: skip
    simulation = started(scenario, size.n)
    simulation.advance(10.0)
    gone = 1000.0 * (1.0 - math.exp(-1.0))
    x = column(simulation, "blood", "x")
    assert abs(z(x, gone * 0.05, gone * 0.05)) < size.z
    assert np.all(held(simulation) + simulation.reservoirs.tally.sum(axis=1) == 1000.0)


@pytest.mark.parametrize("name", SPACES)
def test_others_feel_it_at_rate_times_share(name: str) -> None:
    """Killers of the sample tire by killing what is in a reservoir; what that kills is missing there."""
    size = RESERVOIRS["seed"]
    rules = [
        rule("contact", "killer + x -> tired + empty", 0.1),
        rule("contact", "x + prey -> same + empty", 0.1),
    ]
    scenario = world(
        rules, {"box": SPACES[name]},
        {"box": [{"cells": "x", "number": 15.0}, {"cells": "killer", "number": 60},
                 {"cells": "prey", "number": 60}]},
        types={"x": {}, "killer": {}, "prey": {}, "tired": {}}, until=8.0, exchange=0.5,
        reservoirs=reserve(probes=200),
    )  # fmt: skip
    simulation = started(scenario, size.n)
    simulation.advance(8.0)
    names = [t.rule for t in simulation.compiled.tallies]
    kills = simulation.reservoirs.tally
    tired, prey = column(simulation, "box", "tired"), column(simulation, "box", "prey")
    assert np.all(column(simulation, "box", "killer") + tired == 60)
    # of a rule's events of the body a share is seen; the two are counted apart, hence the noise
    for rule_name, seen in (("rule 0", tired), ("rule 1", 60 - prey)):
        events = kills[:, [i for i, n in enumerate(names) if n == rule_name]].sum(axis=1)
        assert seen.mean() > 3
        difference = seen - 0.1 * events
        assert abs(z(difference, 0.0, 0.09 * events.mean())) < size.z


def test_signals_count_cells_and_events_of_reservoirs() -> None:
    """Cells of the body that feed a signal, and their deaths, count the same wherever they are."""
    scenario = world(
        [rule("die", "x", 0.1)], {"box": body_of(8, 0.01)}, {"box": [{"cells": "x", "number": 15.0}]},
        types={"x": {}}, until=10.0, exchange=0.05, reservoirs=reserve(probes=1),
        signals={
            "dead": {"yields": [{"event": "rule 0", "amount": 1, "relative_to": "1 cell"}], "source": "p"},
            "lived": {"yields": [{"of": "box.x", "rate": "1 /h", "relative_to": "1 cell"}], "source": "p"},
        },
    )  # fmt: skip
    simulation = started(scenario, 3)
    simulation.advance(10.0)
    alive = held(simulation)
    dead, lived = simulation.signals.T
    assert np.allclose(dead, 1500.0 - alive) and np.all(dead > 800)
    assert np.allclose(lived, dead / 0.1, rtol=0.2)


def test_counters_go_with_the_cells() -> None:
    """Cells may divide three times; then they stop, whoever counts them."""
    rules = [
        rule("divide", "x -> x + x", 1.0, modifiers=[
            {"counter": "left", "shape": {"step": {"at": 1, "below": 0, "above": 1}}}])
    ]  # fmt: skip
    scenario = world(
        rules, {"box": {**mixed(room=1e6), "share": 0.1}}, {"box": [{"cells": "x", "number": 0.7}]},
        types={"x": {"counters": {"left": {"max": 3, "initial": 3, "on_division": "minus_one"}}}},
        until=60.0, reservoirs=reserve(above=1000),
    )  # fmt: skip
    simulation = started(scenario, 5)
    simulation.advance(60.0)
    assert np.all(held(simulation) == 7 * 8)


# ------------------------------------------------------------------ bits


def test_replicates_are_the_same_alone_and_by_any_threads() -> None:
    scenario = passing(900, 0.2, 0.1)
    together = Simulation(scenario, replicates=6, threads=2)
    together.advance(30.0)
    single = Simulation(scenario, replicates=6, threads=1)
    single.advance(30.0)
    assert together.digest() == single.digest()
    alone_ = Simulation(scenario, first_replicate=4)
    alone_.advance(30.0)
    assert alone_.digest(0) == together.digest(4)
    assert len({together.digest(r) for r in range(6)}) == 6


def test_tiles_hand_over_too() -> None:
    scenario = passing(900, 0.5, 0.02)
    text = scenario.resolved_text
    tiled = load_scenario_text(text, overrides=["run.mode=tiled", "run.tile=8"])
    one, two = Simulation(tiled, threads=1), Simulation(tiled, threads=2)
    for simulation in (one, two):
        simulation.advance(30.0)
        assert not simulation.reservoirs.is_owner[0, 0]
        agents = simulation.agents()
        counts = simulation.counts["box"][0]
        assert len(agents["species"]) == counts[1:].sum()
    assert one.digest() == two.digest()


# ------------------------------------------------------------------ what is said about it


def test_the_file_accounts_for_every_cell(tmp_path: Path) -> None:
    scenario = passing(300, 0.5, 0.02)
    mst_abm.run_to_file(scenario, tmp_path / "run.h5", replicates=3)
    with mst_abm.open_run(tmp_path / "run.h5") as run:
        changes = run.stoichiometry
        counts, apart = run.counts("box"), run.held("box")
        assert run.is_reserved[:, 0, 0].all() and not run.is_reserved[:, -1, 0].any()
        apart_now = run.is_reserved[:, :, 0]
        assert not counts[apart_now][:, 1:].any() and not apart[~apart_now].any()
        assert np.all(counts.sum(axis=2) == 16**3)
        handed_back = np.take_along_axis(
            counts[:, :, 1:].sum(axis=2), apart_now.argmin(axis=1)[:, None], axis=1
        )
        assert np.all(handed_back >= 100)
        balance = [np.diff(c.astype(float), axis=1) for c in (counts, apart)]
        for events, rest in zip((run.events(), run.reserve_events()), balance, strict=True):
            for i, s, n in zip(
                changes["channel"], changes["species"], changes["cells"], strict=True
            ):
                rest[:, :, s] -= n * events[:, 1:, i]
        # what is left in the sample was handed over; in the body it is that over the share, rounded
        handed = run.handed("box")[:, 1:]
        assert np.array_equal(balance[0][:, :, 1:], handed[:, :, 1:])
        assert np.all(np.abs(balance[1] + handed / SHARE)[:, :, 1:] <= 1.0 / SHARE)
        body = run.body_cells(0)
        assert np.allclose(body, (counts[:, :, 1:].sum(2) / SHARE + apart.sum(2)))
        assert "rare: back in the sample" in summary(run)
        draw(run, tmp_path / "run.png")
    assert (tmp_path / "run.png").stat().st_size > 0


def test_check_says_it_in_english() -> None:
    text = " ".join(check_text(crowd()).split())
    assert (
        "rare: x of box is held as a number of the whole body from fewer than 20 simulated cells "
        "until there would be more than 100; 20000 probes on vacant sites see what its cells would see."
    ) in text


def test_residual_leukaemia_is_never_reported_as_gone(tmp_path: Path) -> None:
    """A kill of five powers of ten leaves nothing in the sample, but cells in the body."""
    simulation = mini_patient(
        {"marrow": [cells("blast[phase=g1]", 400)]},
        switches={"residual": "on"},
        rates={"blasts die": "0.5 /h"},
        run={"until": "24 h", "exchange": "1 h"},
    )
    mst_abm.run_to_file(simulation.scenario, tmp_path / "kill.h5", simulation=simulation)
    with mst_abm.open_run(tmp_path / "kill.h5") as run:
        blasts = run.observed["blast_cells"]
        assert run.counts_by("marrow", "type")[("blast",)][0, -1] == 0
        assert run.held("marrow")[0, -1].sum() > 0 and blasts[0, -1] > 0.0
        assert np.isfinite(run.true_endpoints["leukaemia_log_kill"]).all()
        assert run.true_endpoints["leukaemia_log_kill"][0] > 4.0
        assert run.observed["marrow_blasts"][0, -1] > 0.0
        assert "residual_leukaemia: below patch resolution" in summary(run)


def test_only_a_number_of_none_is_extinct(tmp_path: Path) -> None:
    scenario = alone(body_of(6, 0.1), 20.0)
    mst_abm.run_to_file(scenario, tmp_path / "gone.h5", replicates=4)
    with mst_abm.open_run(tmp_path / "gone.h5") as run:
        assert run.body_cells(0)[:, -1].sum() == 0
        assert "rare: extinct in 4 of 4" in summary(run)
