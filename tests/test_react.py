"""Protocols that react: who is treated, when, on seeing what, and the same bits however it is run."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import seed_of

from mst_abm.cli import main
from mst_abm.clinic.observation import Observation, day_of
from mst_abm.clinic.protocol import Acts
from mst_abm.clinic.reaction import Clinician, Condition, Reaction
from mst_abm.errors import ScenarioError
from mst_abm.records.reader import open_run
from mst_abm.report.check import check_text
from mst_abm.report.summary import summary
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario import load_scenario_text
from mst_abm.scenario.definition import Scenario

WORLD = """
types: {blast: {}, bystander: {}, killer: {axes: {origin: [host, donor]}}}
signals: {fever: {unit: pg/mL, clearance: 0.1 /h, source: test}}
switches: {extra: off}
drugs:
  drug_a:
    molar_mass: 243.2 g/mol
    clearance: 10 L/h
    half_lives: [2 h]
    dosing: mg
    source: test
    levels: {late: {half_life: 12 h, source: test}}
    effects:
      - {kills: blast, rate: 0.05 /h, shape: {linear: {slope: 1 L/umol, high: 10}}, source: test}
      - {kills: killer, level: late, rate: 0.01 /h, shape: {linear: {slope: 1 L/umol, high: 10}}, source: test}
      - {adds_to: fever, rate: 3 pg/mL/h, shape: {step: {at: 0.3 umol/L}}, source: test}
rules:
  - {name: blasts grow, divide: blast -> blast + blast, rate: 0.01 /h, source: test}
  - {name: killers die, die: killer, rate: 0.02 /h, source: test}
compartments: {blood: {mixed: {}, stands_for: 1 mm^3}}
initial: {blood: {blast: 300, bystander: 700}}
patient: {weight: 10 kg}
grafts: {donor: [{per: cd3_per_kg, into: blood, cells: "killer[origin=donor]"}]}
observables:
  blasts: {of: blood.blast, share_of: "*", source: test, observed: {cells_counted: 50, source: test}}
  count: {of: blood.blast, relative_to: 1e9 /L, source: test}
  weekly: {of: blood.blast, share_of: "*", source: test, observed: {every: 7 d, cells_counted: 500, source: test}}
  hidden: {of: blood.blast, relative_to: 1 cell, source: test, observed: {every: never, source: test}}
  fever: {signal: fever, source: test}
  off_now: {of: blood.blast, relative_to: 1 cell, switch: extra, source: test}
run: {until: 10 d, seed: 1, exchange: 2 h, record: {counts: 12 h}}
protocol:
  - {at: 0 h, give: drug_a, dose: 10 mg, over: 6 h, as: induction}
  - {at: 12 h, infuse: donor, cd3_per_kg: 5, as: induction}
"""
REINDUCTION = '  - {when: {blasts: "> 28 %", between: [2 d, 8 d]}, repeat: induction, at_most: 2, not_within: 2 d}\n'
SECOND = '  - {when: {blasts: "< 22 %"}, give: drug_a, dose: 5 mg, over: 30 min, then: {after: 10 h, infuse: donor, cd3_per_kg: 7}}\n'
STOP = '  - {when: {blasts: "> 50 %"}, stop: relapse}\n'
BUSY = WORLD + REINDUCTION + SECOND + STOP


def read(text: str) -> Scenario:
    return load_scenario_text(text, name="world")


def run(text: str, n: int = 1, *, to: tuple[float, ...] = (), **options) -> Simulation:
    scenario = read(text)
    sim = Simulation(scenario, replicates=n, seed=seed_of(1), **options)
    for time_h in (*to, scenario.run.until_h):
        sim.advance(time_h)
    return sim


@pytest.fixture(scope="module")
def busy() -> Simulation:
    """Twelve patients, every rule followed in some and not in others."""
    return run(BUSY, 12)


def followed(sim: Simulation, reaction: int) -> set[int]:
    return {d.body for d in sim.decisions if d.reaction == reaction}


# ------------------------------------------------------------------ the same bits


def test_everything_is_decided_for_some(busy: Simulation) -> None:
    for reaction in range(3):
        assert len(followed(busy, reaction)) > 0, reaction
    assert 0 < len(followed(busy, 1)) < 12
    assert len(set(busy.courses.plan.tolist())) > 3


def test_alone_or_among_others(busy: Simulation) -> None:
    for body in (0, 5, 11):
        alone = run(BUSY, 1, first_replicate=body)
        assert alone.digest(0) == busy.digest(body)
        assert [d.time_h for d in alone.decisions] == [
            d.time_h for d in busy.decisions if d.body == body
        ]


@pytest.mark.parametrize("threads", [2, 3])
def test_number_of_threads(busy: Simulation, threads: int) -> None:
    assert run(BUSY, 12, threads=threads).digest() == busy.digest()


def test_stops_on_edges(busy: Simulation) -> None:
    stopped = run(BUSY, 12, to=(2.0, 24.0, 46.0, 48.0, 100.0, 168.0))
    assert stopped.digest() == busy.digest()
    assert stopped.decisions == busy.decisions


def test_in_tiles_too() -> None:
    """A lattice in tiles: with two threads, and alone or among others."""
    spaces = "compartments: {blood: {mixed: {}, stands_for: 1 mm^3}}"
    lattice = "marrow: {lattice: {shape: [16, 16, 16], neighbours: 6}}"
    text = BUSY.replace(spaces, f"compartments: {{blood: {{mixed: {{}}}}, {lattice}}}")
    text = text.replace("initial: {blood", "initial: {marrow").replace("of: blood", "of: marrow")
    text = text.replace("relative_to: 1e9 /L", "relative_to: 1 cell")
    text = text.replace("run: {", "run: {mode: tiled, tile: 8, ")
    whole = run(text, 4)
    assert whole.tiled is not None and len({d.body for d in whole.decisions}) > 1
    assert run(text, 4, threads=2).digest() == whole.digest()
    assert run(text, 1, first_replicate=2).digest(0) == whole.digest(2)


def test_what_is_decided_is_done_as_what_is_planned() -> None:
    """A condition that holds from day 2 on, or the same acts at that time in the plan."""
    acts = "give: drug_a, dose: 7 mg, over: 5 h"
    decided = run(
        WORLD + f'  - {{when: {{count: "> 0 /L", after: 2 d}}, {acts}, '
        "then: [{after: 7 h, infuse: donor, cd3_per_kg: 9}, {give: drug_a, dose: 2 mg}]}\n",
        3,
    )
    assert [d.time_h for d in decided.decisions] == [48.0] * 3
    planned = run(
        WORLD
        + f"  - {{at: 2 d, {acts}}}\n  - {{at: 60 h, infuse: donor, cd3_per_kg: 9}}\n"
        + "  - {at: 60 h, give: drug_a, dose: 2 mg}\n"
        # a rule that is never followed has the daily looks and later times as edges
        + '  - {when: {count: "< 1 /L", after: 2 d}, give: drug_a, dose: 7 mg, over: 5 h, '
        "then: {after: 7 h, infuse: donor, cd3_per_kg: 9}}\n",
        3,
    )
    assert decided.digest() == planned.digest()
    assert decided.tally.tolist() == planned.tally.tolist()
    # negative control: an hour later
    later = run(
        WORLD + f'  - {{when: {{count: "> 0 /L", after: 2 d}}, {acts}, '
        "then: [{after: 8 h, infuse: donor, cd3_per_kg: 9}, {give: drug_a, dose: 2 mg}]}\n",
        3,
    )
    assert later.digest() != planned.digest()


def test_cells_decided_beside_cells_planned_have_draws_of_their_own() -> None:
    """Half a cell is rounded at random: by other draws for each infusion of the same time."""
    n = 24
    rule = '  - {{when: {{count: "{}", between: [2 d, 2 d]}}, infuse: donor, cd3_per_kg: 0.55}}\n'
    at = "  - {at: 2 d, infuse: donor, cd3_per_kg: 0.55}\n"
    one_of_each = run(WORLD + at + rule.format("> 0 /L") * 2, n)
    all_planned = run(WORLD + at * 3 + rule.format("< 1 /L") * 2, n)
    assert one_of_each.digest() == all_planned.digest()
    killers = one_of_each.compiled.species_names.index("killer[origin=donor]")
    came = one_of_each.received[:, 0, killers] - 50
    # three coins, not one coin three times
    assert set(came.tolist()) == {15, 16, 17, 18}


def test_who_does_not_meet_the_condition_is_treated_as_planned(busy: Simulation) -> None:
    second = followed(busy, 1)
    # the same edges, but nobody can meet this
    never = run(WORLD + REINDUCTION + SECOND.replace('"< 22 %"', '"<= 0 %"') + STOP, 12)
    for body in range(12):
        given = [dose.amount_mg for dose in busy.courses.doses(body)]
        assert (5.0 in given) == (body in second)
        is_same = never.digest(body) == busy.digest(body)
        assert is_same == (body not in second)
        if is_same:
            assert busy.courses.doses(body) == never.courses.doses(body)


def test_levels_are_those_of_ones_own_course(busy: Simulation) -> None:
    fever = busy.scenario.model.signals.index(
        next(s for s in busy.scenario.model.signals if s.name == "fever")
    )
    sim = Simulation(read(WORLD + REINDUCTION), replicates=12, seed=seed_of(1))
    sim.advance(48.0)
    decided = {d.body for d in sim.decisions}
    assert 0 < len(decided) < 12
    sim.advance(54.0)
    others = [body for body in range(12) if body not in decided]
    assert sim.signals[sorted(decided), fever].min() > 5 > sim.signals[others, fever].max()


# ------------------------------------------------------------------ what is seen


def test_decisions_are_those_of_the_report_not_of_the_truth() -> None:
    rule = '  - {when: {blasts: "> 41 %", between: [3 d, 3 d]}, give: drug_a, dose: 5 mg}\n'
    sim = Simulation(read(WORLD + rule), replicates=60, seed=seed_of(1))
    sim.advance(72.0)
    numbers = {name: i for i, name in enumerate(sim.compiled.species_names)}
    cells = sim.counts["blood"]
    truth = cells[:, numbers["blast"]] / cells[:, 1:].sum(axis=1)
    observation = Observation(sim.scenario.observables, seed_of(1), range(60))
    names = ("blasts", "count", "weekly", "fever")
    seen = observation.report(3, dict.fromkeys(names, truth))["blasts"]
    decided = {d.body for d in sim.decisions}
    assert decided == set(np.flatnonzero(seen > 0.41))
    assert all(sim.decisions[i].seen[0] == seen[d.body] for i, d in enumerate(sim.decisions))
    # negative control: decisions on the truth would be others, in both directions
    by_truth = set(np.flatnonzero(truth > 0.41))
    assert decided - by_truth and by_truth - decided


def made_up(reactions: list[Reaction], *series: list[float], begins: dict | None = None):
    """Days on which each reaction is taken for one patient, by the latest report of "x"."""
    clinician = Clinician(reactions, begins or {}, 1)
    found: list[list[int]] = [[] for _ in reactions]
    for day, x in enumerate(series[0]):
        for decision in clinician.look(24.0 * day, {"x": np.array([x])}):
            found[decision.reaction].append(day)
    return found


def above(value: float = 1.0, **more) -> Reaction:
    return Reaction("r", (Condition("x", ">", value, f"> {value}"),), Acts(), "r", **more)


def test_how_often_how_long_and_when() -> None:
    high = [0.0, 2, 2, 0, 2, 2, 2, 2, 0, 2]
    assert made_up([above(at_most=9)], high) == [[1, 2, 4, 5, 6, 7, 9]]
    assert made_up([above()], high) == [[1]]
    assert made_up([above(at_most=2)], high) == [[1, 2]]
    assert made_up([above(at_most=9, apart_h=72.0)], high) == [[1, 4, 7]]
    assert made_up([above(at_most=9, lasting_d=3)], high) == [[6, 7]]
    assert made_up([above(at_most=9, first_h=48.0, last_h=120.0)], high) == [[2, 4, 5]]
    # the latest report counts on days without one; before the first there is nothing to see
    nan = np.nan
    assert made_up([above(at_most=9)], [nan, nan, 2, nan, 0, nan, 2]) == [[2, 3, 6]]


def test_windows_from_the_start_of_a_group() -> None:
    from_group = above(at_most=9, first_h=24.0, last_h=48.0, of="course")
    assert made_up([from_group], [2.0] * 8, begins={"course": 72.0}) == [[4, 5]]
    repeat = above(at_most=2, first_h=48.0, last_h=240.0, of="course", begins="course")
    # every repetition begins the group anew
    assert made_up([repeat], [2.0] * 8, begins={"course": 24.0}) == [[3, 5]]


def test_after_a_stop_nothing_is_decided() -> None:
    stop = above(3.0, stops=True)
    assert made_up([above(at_most=9), stop], [2.0, 2, 4, 4, 2]) == [[0, 1, 2], [2]]


def test_a_stop_ends_the_treatment_of_that_patient_alone() -> None:
    text = (
        WORLD
        + "  - {at: 2 d, give: drug_a, dose: 10 mg/day, for: 4 d}\n"
        + "  - {at: 6 d, infuse: donor, cd3_per_kg: 9}\n"
        + '  - {when: {blasts: "< 38 %", between: [3 d, 3 d]}, stop: response}\n'
    )
    sim = Simulation(read(text), replicates=12, seed=seed_of(1))
    sim.advance(144.0)
    stopped = followed(sim, 0)
    assert 0 < len(stopped) < 12
    killers = sim.compiled.species_names.index("killer[origin=donor]")
    for body in range(12):
        last = sim.courses.doses(body)[-1]
        assert (last.duration_h, last.amount_mg) == ((24, 10) if body in stopped else (96, 40))
        assert (sim.received[body, 0, killers] == 50) == (body in stopped)


def test_a_stop_takes_back_what_was_decided() -> None:
    text = (
        WORLD
        + '  - {when: {count: "> 0 /L", after: 1 d}, give: drug_a, dose: 1 mg, over: 1 h, '
        + "then: {after: 95 h, infuse: donor, cd3_per_kg: 9}}\n"
        + '  - {when: {blasts: "< 41 %", between: [3 d, 3 d]}, stop: response}\n'
    )
    sim = Simulation(read(text), replicates=12, seed=seed_of(1))
    sim.advance(144.0)
    stopped = followed(sim, 1)
    assert 0 < len(stopped) < 12
    killers = sim.compiled.species_names.index("killer[origin=donor]")
    for body in range(12):
        assert (sim.received[body, 0, killers] == 50) == (body in stopped)


# ------------------------------------------------------------------ what is written


def test_the_file_holds_every_decision(tmp_path, busy: Simulation) -> None:
    scenario = read(BUSY)
    options = {"replicates": 12, "seed": seed_of(1)}
    run_to_file(scenario, tmp_path / "run.h5", **options)
    with open_run(tmp_path / "run.h5") as record:
        assert record.digest == busy.digest()
        assert [(d.time_h, d.replicate, d.seen["blasts"]) for d in record.decisions] == [
            (d.time_h, d.body, d.seen[0]) for d in busy.decisions
        ]
        assert {d.name for d in record.decisions} == {r.name for r in scenario.reactions}
        for decision in record.decisions:
            day = day_of(decision.time_h)
            assert decision.seen["blasts"] == record.reported["blasts"][decision.replicate, day]
        text = summary(record)
        assert "repeat induction" in text and "of 12 replicates, median" in text
        again = load_scenario_text(record.scenario_text)
        assert again.reactions == scenario.reactions
    # counts recorded seldom do not change what is seen on which day
    seldom = read(BUSY.replace("counts: 12 h", "counts: 2 d"))
    run_to_file(seldom, tmp_path / "seldom.h5", **options)
    with open_run(tmp_path / "seldom.h5") as record:
        assert record.digest == busy.digest()
        assert record.observed_times_h.tolist() == [24.0 * day for day in range(11)]


def test_a_protocol_that_does_not_react_writes_nothing(tmp_path) -> None:
    run_to_file(read(WORLD), tmp_path / "run.h5")
    with open_run(tmp_path / "run.h5") as record:
        assert record.decisions == [] and record.reactions == {}
        assert "decided" not in summary(record)


def test_check_reads_the_rules_back() -> None:
    text = " ".join(check_text(read(BUSY)).split())
    for words in (
        "when blasts > 28 %, from day 2 to 8: repeat induction; twice at most, 2 d apart",
        "when blasts < 22 %: give drug_a 5 mg over 0.5 h; 10 h later infuse donor (cd3_per_kg 7); "
        "once at most",
        "when blasts > 50 %: stop treatment: relapse",
        "weekly: every 7 d, 500 cells counted",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('when: {blast: "> 5 %"}, repeat: induction', "unknown observable 'blast'; did you mean 'blasts'"),
        ('when: {blasts: "> 5"}, repeat: induction', 'expected a fraction such as 0.05 or "5 %"'),
        ('when: {count: "> 5"}, repeat: induction', 'got "5" without a unit'),
        ('when: {fever: "> 5"}, repeat: induction', 'with its unit as "2 pg/mL", got "5"'),
        ('when: {fever: "> 5 /L"}, repeat: induction', 'such as "2 pg/mL", got "5 /L"'),
        ('when: {blasts: "5 %"}, repeat: induction', "expected a comparison such as"),
        ('when: {blasts: "> 100 %"}, repeat: induction', "expected a comparison that can hold"),
        ('when: {blasts: "< 0 %"}, repeat: induction', "expected a comparison that can hold"),
        ('when: {hidden: "> 5"}, repeat: induction', "'hidden' is never observed"),
        ('when: {off_now: "> 5"}, repeat: induction', "'off_now' is off with its switch"),
        ("when: {after: 2 d}, repeat: induction", "expected an observable with a comparison"),
        ('when: {blasts: "> 5 %", after: 11 d}, repeat: induction', "before the end of the run at 10 d, got 11 d"),
        ('when: {blasts: "> 5 %", between: [11 d, 12 d]}, stop: x', "it would never be looked at"),
        ('when: {blasts: "> 5 %", between: [3 d, 2 d]}, stop: x', "ends after its start"),
        ('when: {blasts: "> 5 %", between: [50 h, 60 h]}, stop: x', "a whole day in it"),
        ('when: {blasts: "> 5 %", between: [2 d]}, stop: x', "expected at least 2 items"),
        ('when: {blasts: "> 5 %", for: 12 h}, stop: x', "expected whole days"),
        ('when: {blasts: "> 5 %", of: indduction, after: 1 d}, stop: x', "unknown group 'indduction'; did you mean 'induction'"),
        ('when: {blasts: "> 5 %"}, repeat: consolidation', "unknown group 'consolidation'"),
        ('when: {blasts: "> 5 %"}, give: drug_b, dose: 5 mg', "unknown drug 'drug_b'"),
        ('when: {blasts: "> 5 %"}, give: drug_a, dose: 5 mg, at: 3 d', "unknown key 'at'"),
        ('when: {blasts: "> 5 %"}, give: drug_a, dose: 5 mg/m^2', "expected a dose in mg"),
        ('when: {blasts: "> 5 %"}, infuse: donor', "missing 'cd3_per_kg'"),
        ('when: {blasts: "> 5 %"}, infuse: donor, cd4_per_kg: 4', "unknown key 'cd4_per_kg'; did you mean 'cd3_per_kg'"),
        ('when: {blasts: "> 5 %"}', "expected one of give, infuse, repeat, stop"),
        ('when: {blasts: "> 5 %"}, repeat: induction, stop: x', "got repeat and stop"),
        ('when: {blasts: "> 5 %"}, stop: x, then: {give: drug_a, dose: 1 mg}', "expected nothing after 'stop'"),
        ('when: {blasts: "> 5 %"}, repeat: induction, then: {repeat: induction}', "expected one of give, infuse"),
        ('when: {blasts: "> 5 %"}, repeat: induction, at_most: 0', "a number of at least 1"),
        ('when: {blasts: "> 5 %"}, repeat: induction, at_mots: 2', "unknown key 'at_mots'; did you mean 'at_most'"),
    ],
)  # fmt: skip
def test_mistakes(line: str, words: str) -> None:
    text = WORLD + f"  - {{{line}}}\n"
    with pytest.raises(ScenarioError) as error:
        read(text)
    assert words in str(error.value)
    (problem,) = error.value.problems
    assert problem.line == len(text.splitlines()), str(error.value)


def test_the_command_line_reads_a_rule_back(tmp_path, capsys) -> None:
    (tmp_path / "world.yaml").write_text(BUSY, encoding="utf-8")
    assert main(["check", str(tmp_path / "world.yaml")], standalone_mode=False) in (0, None)
    assert "decided once a day" in capsys.readouterr().out
