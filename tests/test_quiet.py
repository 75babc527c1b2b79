"""Years of a patient: bodies that exchange less often while they are quiet, and bodies that are followed no longer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from proof import holds, is_caught
from stopped import differences, random_hours, stopped_run
from test_react import BUSY, WORLD
from test_reservoirs import body_of, reserve, z_two
from thresholds import QUIET
from worlds import column, mixed, rule, seed_of, started, world

from mst_abm.clinic.course import Course
from mst_abm.clinic.draws import uniforms
from mst_abm.clinic.response import lost_day, relapse_day
from mst_abm.errors import ScenarioError
from mst_abm.records.reader import open_run
from mst_abm.report.check import check_text
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

CALM = (
    "quiet: {exchange: 12 h, from: 12 h, after_infusion: 1 d, drugs_below: 0.05, below: {fever: 3}}"
)
#: Twelve patients who are treated as they do; some are quiet when others are not.
PACED = BUSY.replace("record: {counts: 12 h}", "record: {counts: 1 d}, " + CALM)


def run(text: str, n: int = 1, **options) -> Simulation:
    scenario = load_scenario_text(text, name="world")
    sim = Simulation(scenario, replicates=n, seed=seed_of(1), **options)
    sim.advance(scenario.run.until_h)
    return sim


def coupled(quiet: dict | None = None) -> Scenario:
    """Cells of a lattice that divide, leave and come back, a class in its reservoir, and a signal that holds them back."""
    rules = [
        rule("divide", "x -> x + x", 0.12, place={"push": 2}, modifiers=[
            {"signal": "load", "shape": {"inverse_hill": {"half": 1}}, "source": "test"}]),
        rule("die", "x", 0.02),
        rule("move", "x", 1.0),
        rule("become", "x -> y", 0.03),
        rule("leave", "y -> blood", 0.2, on="box"),
        rule("die", "y", 0.05, on="blood"),
    ]  # fmt: skip
    load = {"unit": "1", "clearance": "1 /h", "source": "test"}
    load["yields"] = [{"of": "box.x", "rate": "1 /h", "relative_to": "200 cells"}]
    return world(
        rules, {"box": body_of(10, 0.1), "blood": {**mixed(), "share": 0.1}},
        {"box": [{"cells": "x", "number": 4}, {"cells": "y", "number": 30}]},
        types={"x": {}, "y": {}}, until=48.0, record=24.0, signals={"load": load}, reservoirs=reserve(),
        run_options={"quiet": quiet} if quiet else {},
    )  # fmt: skip


HALF = {"exchange": "4 h", "below": {"load": 0.4}}


# ------------------------------------------------------------------ the same bits


def test_a_body_is_the_same_alone_and_among_others():
    together = run(PACED, 12)
    assert together.digest() != run(BUSY, 12).digest(), "nobody was quiet"
    for body in (0, 5, 11):
        assert run(PACED, 1, first_replicate=body).digest(0) == together.digest(body)
    assert run(PACED, 12, threads=3).digest() == together.digest()


def test_bodies_have_a_pace_of_their_own(monkeypatch):
    sim = Simulation(coupled(HALF), replicates=6, seed=seed_of(2))
    seen: set[int] = set()
    live = Simulation._live

    def watched(self, first, last, end):
        seen.add(end - self.interval)
        live(self, first, last, end)

    monkeypatch.setattr(Simulation, "_live", watched)
    sim.advance(48.0)
    assert 1 in seen and 4 in seen
    for body in (1, 4):
        alone = Simulation(coupled(HALF), first_replicate=body, seed=seed_of(2))
        alone.advance(48.0)
        assert alone.digest(0) == sim.digest(body)


def test_nobody_quiet_changes_no_bit():
    never = {"exchange": "4 h", "below": {"load": 0.0}}
    digests = []
    for quiet in (None, never, HALF):
        sim = Simulation(coupled(quiet), replicates=3, seed=seed_of(3))
        sim.advance(48.0)
        digests.append(sim.digest())
    assert digests[0] == digests[1] != digests[2]


#: Each criterion alone, what happens, and the loud hours: the level of a drug falls by half in 2 h, from 1.03 umol/L at hour 26; the
#: fever by exp(-0.1 t), from 8 to 3 in 9.8 h.
CRITERIA = {
    "from": ("from: 30 h", "[]", (0, 30)),
    "infusion": ("after_infusion: 20 h", "[{at: 24 h, infuse: donor, cd3_per_kg: 5}]", (24, 44)),
    "infusion decided": (
        "after_infusion: 20 h",
        '[{when: {count: "> 0 /L", after: 2 d}, infuse: donor, cd3_per_kg: 5, at_most: 1}]',
        (48, 68),
    ),
    "drug": ("drugs_below: 0.1", "[{at: 24 h, give: drug_a, dose: 10 mg, over: 2 h}]", (24, 34)),
    "signal": ("drugs_below: 1, below: {fever: 3}", "[]", (0, 10)),
}


@pytest.mark.parametrize("what", CRITERIA)
def test_a_body_is_loud_as_long_as_its_criterion_says(what: str, monkeypatch):
    criterion, protocol, (first, last) = CRITERIA[what]
    if "drugs_below" not in criterion:
        criterion += ", drugs_below: 1"
    text = WORLD.partition("protocol:")[0] + f"protocol: {protocol}\n"
    text = text.replace("levels: {late: {half_life: 12 h, source: test}}", "")
    text = text.replace("kills: killer, level: late", "kills: killer")
    text = text.replace(
        "run: {until: 10 d", f"run: {{until: 4 d, quiet: {{exchange: 12 h, {criterion}}}"
    )
    text = text.replace("fever: {unit: pg/mL,", "fever: {unit: pg/mL, initial: 8,")
    sim = Simulation(load_scenario_text(text, name="world"), seed=seed_of(7))
    begun: list[float] = []
    live = Simulation._live

    def watched(self, *stretch):
        begun.append(float(self.time_h))
        live(self, *stretch)

    monkeypatch.setattr(Simulation, "_live", watched)
    sim.advance(96.0)
    assert begun == sorted({*range(0, 96, 12), *range(first, last, 2), last})


@pytest.mark.parametrize(
    "make", [lambda: load_scenario_text(PACED, name="world"), lambda: coupled(HALF)]
)
def test_stopped_and_gone_on(make, tmp_path: Path):
    scenario = make()
    run_to_file(scenario, tmp_path / "whole.h5", replicates=4)
    hours = random_hours(scenario, 3, seed_of(4))
    stopped_run(scenario, tmp_path / "stopped.h5", hours, threads=[1, 2], replicates=4)
    assert differences(tmp_path / "whole.h5", tmp_path / "stopped.h5") == []


# ------------------------------------------------------------------ the same law


def test_every_cell_is_booked(tmp_path: Path):
    """Counts follow from events through quiet stretches, reservoirs and a second compartment: nothing twice, no jump."""
    path = tmp_path / "run.h5"
    run_to_file(coupled(HALF), path, replicates=3)
    with open_run(path) as found:
        changes, events, n_species = (
            found.stoichiometry,
            found.events(),
            len(found.species["species"]),
        )
        for m, name in enumerate(found.compartment_names):
            matrix = np.zeros((events.shape[2], n_species), "i8")
            here = changes["compartment"] == m
            np.add.at(
                matrix, (changes["channel"][here], changes["species"][here]), changes["cells"][here]
            )
            booked = events[:, 1:] @ matrix
            if name == "blood":
                booked = booked + found.received(name)[:, 1:]
                assert found.received(name)[:, 1:].any()
            else:
                booked = booked + found.handed(name)[:, 1:]
            change = np.diff(found.counts(name), axis=1)
            assert (change[..., 1:] == booked[..., 1:]).all(), name


def grown(quiet: dict | None, size, seed: int) -> np.ndarray:
    sim = started(coupled(quiet), size.n, seed=seed)
    sim.advance(48.0)
    return (
        column(sim, "box", "x") / 0.1
        + sim.reservoirs.numbers["box"][:, sim.compiled.species_names.index("x")]
    )


@pytest.mark.proof
def test_quiet_stretches_keep_the_law():
    size = QUIET["cells"]
    usual = grown(None, size, 5)
    holds("quiet stretches", [z_two(grown(HALF, size, 6), usual)], size.z, size.n)
    blind = {"exchange": "24 h"}
    is_caught(
        "quiet stretches",
        "no criterion, exchange at records",
        [z_two(grown(blind, size, 6), usual)],
        size.z,
        size.n,
    )


# ------------------------------------------------------------------ who is followed

MORTAL = """
types: {blast: {}, cell: {}}
rules:
  - {name: blasts grow, divide: blast -> blast + blast, rate: 0.12 /day, source: test}
  - {name: blasts die, die: blast, rate: 0.03 /day, source: test}
compartments: {marrow: {mixed: {capacity: 4000}, stands_for: 1 mm^3}}
initial: {marrow: {blast: 30, cell: 1500}}
observables:
  marrow_blasts: {of: marrow.blast, share_of: "*", source: test, observed: {every: 7 d, cells_counted: 500, source: test}}
  blast_cells: {of: marrow.blast, relative_to: 1 cell, source: test, observed: {every: never, source: test}}
  anc: {of: marrow.cell, relative_to: 1e9 /L, source: test}
  platelets: {of: marrow.cell, relative_to: 1e6 /L, source: test}
hazards:
  loss: {fatal: on, risks: [{observable: blast_cells, rate: 0.02 /day, shape: {step: {at: 100, below: 0, above: 1}}, source: test}]}
run: {until: 500 d, seed: 1, exchange: 1 d, record: {counts: 1 d}, stop: at end}
"""
#: Hazards are counted to the end of life where bodies are not followed beyond.
OF_THE_DEAD = {"loss_hazard", "loss_probability"}


def endpoints(stop: str, path: Path, **options) -> tuple[dict[str, np.ndarray], int, np.ndarray]:
    text = MORTAL.replace("at end", stop)
    run_to_file(load_scenario_text(text, name="world"), path, force=True, **options)
    with open_run(path) as found:
        return (
            dict(found.true_endpoints),
            found.n_records,
            found.counts("marrow")[..., 1:].sum(axis=2),
        )


def test_a_run_ends_with_its_patients(tmp_path: Path):
    whole, n_whole, _ = endpoints("at end", tmp_path / "a.h5", replicates=5)
    short, n_short, _ = endpoints("at death", tmp_path / "b.h5", replicates=5)
    assert whole["os_event"].all(), "the world should kill everybody"
    assert n_short < n_whole and n_short - 1 >= whole["os_time"].max()
    for name in whole.keys() - OF_THE_DEAD:
        assert np.array_equal(short[name], whole[name], equal_nan=True), name
    assert (short["loss_hazard"] < whole["loss_hazard"]).all()
    # counted to the last day alive, on the next of which, at 0.02 a day, it would be more than the patient bears
    bearable = -np.log1p(-uniforms(1, np.arange(5), "loss"))
    left = bearable - short["loss_hazard"]
    assert ((left > 0.0) & (left <= 0.02 + 1e-9)).all()


@pytest.mark.parametrize("stop", ["at death", "at relapse"])
def test_who_is_let_go_is_the_same_alone_and_among_others(stop: str, tmp_path: Path):
    many, n_many, cells = endpoints(stop, tmp_path / "many.h5", replicates=4)
    for body in (0, 3):
        one, n_one, mine = endpoints(stop, tmp_path / "one.h5", first_replicate=body)
        assert n_one <= n_many
        assert np.array_equal(mine[0], cells[body, :n_one])
        for name, values in one.items():
            assert np.array_equal(values[0], many[name][body], equal_nan=True), name


def test_who_has_relapsed_stays_as_he_is_and_dies_in_time(tmp_path: Path):
    found, n, cells = endpoints("at relapse", tmp_path / "a.h5", replicates=6)
    whole, _, _ = endpoints("at end", tmp_path / "b.h5", replicates=6)
    assert found["os_event"].all() and n < 500
    for name in ("remission", "relapse", "dfs_time", "dfs_event", "os_time"):
        assert np.array_equal(found[name], whole[name], equal_nan=True), name
    frozen = [np.flatnonzero(np.diff(row) != 0).max() for row in cells]
    late = found["relapse"] + 29
    assert any(last < n - 10 for last in frozen)
    assert all(
        last >= min(day, died) - 8
        for last, day, died in zip(frozen, late, found["os_time"], strict=True)
    )


@pytest.mark.parametrize("stop", ["at death", "at relapse"])
def test_let_go_and_gone_on(stop: str, tmp_path: Path):
    scenario = load_scenario_text(MORTAL.replace("at end", stop), name="world")
    run_to_file(scenario, tmp_path / "whole.h5", replicates=4)
    hours = [24.0 * day for day in (30.5, 66.5, 72.5)]
    stopped_run(scenario, tmp_path / "stopped.h5", hours, threads=[1], replicates=4)
    assert differences(tmp_path / "whole.h5", tmp_path / "stopped.h5") == []


def course(blasts: list[float], start: float = 0.5) -> Course:
    days = np.arange(len(blasts) + 30.0)
    share = np.concatenate([np.full(30, 0.01), blasts])
    share[0] = start
    series = {"marrow_blasts": share[None], "anc": np.full((1, len(days)), 3.0)}
    series |= {"platelets": np.full((1, len(days)), 200.0), "blast_cells": 1e12 * share[None]}
    return Course(days * 24.0, series, np.array([7 * 24.0]), [()], [()])


def test_lost_after_four_weeks_on_end():
    assert np.isnan(lost_day(course([0.06] * 28))[0])
    assert lost_day(course([0.06] * 29))[0] == 58
    assert np.isnan(lost_day(course([0.06] * 20 + [0.01] + [0.06] * 20))[0])
    # blasts from the first day on count from two weeks after chemotherapy, which ends on day 7
    never_gone = course([0.06] * 30)
    never_gone.series["marrow_blasts"][:] = 0.06
    assert lost_day(never_gone)[0] == 7 + 14 - 1 + 29


def test_as_many_blasts_as_at_the_start_are_a_relapse_only_of_who_was_ill():
    came_back = [0.04] * 10
    assert np.isnan(relapse_day(course(came_back, start=0.02))[0])
    assert relapse_day(course([0.04, *[0.06] * 5], start=0.02))[0] == 31
    assert relapse_day(course([0.04, 0.7, 0.04], start=0.5))[0] == 31


def test_check_says_so():
    text = check_text(
        load_scenario_text(PACED.replace("seed: 1", "stop: at death, seed: 1"), name="world")
    )
    assert (
        "10 d, no further than death, seed 1, exchange every 2 h (12 h in quiet stretches)" in text
    )


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("quiet: {exchange: 3 h}", "multiple of run.exchange"),
        (
            "quiet: {exchange: 12 h, below: {fevr: 1}}",
            "unknown signal 'fevr'; did you mean 'fever'",
        ),
        ("mode: tiled, quiet: {exchange: 12 h}", "only in exact mode"),
    ],
)
def test_mistakes_are_told(change: str, words: str):
    with pytest.raises(ScenarioError, match=words):
        load_scenario_text(BUSY.replace("record: {counts: 12 h}", change), name="world")
