"""Signals fed by events (`event`, `deaths` among the yields): what is counted, for how much, and when it enters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mst_abm.errors import ScenarioError
from mst_abm.model.english import describe
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.loading import load_scenario_text

AMOUNT, RELATIVE, CLEARANCE, SHARE = 3.0, 50.0, 0.3, 0.25
WORLD = """
types:
  prey: {axes: {state: [well, ill]}}
  hunter: {}
  watcher: {}
switches: {cold: off}
signals:
  debris:
    unit: pg/mL
    clearance: 0.3 /h
    yields: [{deaths: dish.prey, amount: 3 pg/mL, relative_to: 50 cells}]
    source: test
  falls:
    unit: pg/mL
    yields: [{event: [prey falls ill, prey freezes], amount: 2000 pg/L, relative_to: 1 cell}]
    source: test
rules:
  - {name: prey dies, die: "prey[state=ill]", rate: 0.2 /h, source: test}
  - {name: prey falls ill, become: "prey[state=well] -> prey[state=ill]", rate: 0.1 /h, source: test}
  - {name: prey goes, leave: prey -> den, in: dish, rate: 0.05 /h, source: test}
  - {name: hunters kill, contact: hunter + prey -> hunter + empty, in: dish, rate: 1e-4 /h, source: test}
  - {name: hunters maim, contact: "hunter + prey[state=well] -> hunter + prey[state=ill]", in: dish, rate: 1e-4 /h, source: test}
  - {name: prey freezes, die: prey, rate: 1 /h, source: test, switch: cold}
  - {name: watchers die, die: watcher, rate: 100 /h, source: test, modifiers: [{signal: debris, shape: {step: {at: 1e-9 pg/mL}}}]}
compartments:
  dish: {mixed: {neighbours: 1}, share: 0.25}
  den: {mixed: {neighbours: 1}, share: 0.25}
initial:
  dish: {"prey[state=well]": 400, "prey[state=ill]": 200, hunter: 20, watcher: 500}
run: {until: 12 h, exchange: 30 min, record: {counts: 1 h}}
"""


def simulation(*overrides: str, replicates: int = 3, threads: int = 1) -> Simulation:
    scenario = load_scenario_text(WORLD, overrides=overrides)
    return Simulation(scenario, seed=5, replicates=replicates, threads=threads)


def events(sim: Simulation, place: str, *rules: str) -> np.ndarray:
    mine = [t.rule in rules and t.compartment == place for t in sim.compiled.tallies]
    return sim.tally[:, mine].sum(axis=1)


def level(sim: Simulation, name: str) -> np.ndarray:
    return sim.signals[:, sim.compiled.signal_names.index(name)]


def test_level_is_that_of_the_deaths_of_every_interval():
    """Closed form at every edge, in every replicate: decay over the interval, then what died in it."""
    sim = simulation()
    expected = seen = np.zeros(3)
    for edge in range(1, 25):
        sim.advance(0.5 * edge)
        died = events(sim, "dish", "prey dies", "hunters kill")
        expected = expected * math.exp(-CLEARANCE * 0.5)
        expected = expected + (died - seen) * AMOUNT / RELATIVE / SHARE
        seen = died
        np.testing.assert_allclose(level(sim, "debris"), expected, rtol=1e-12)
    assert (died > 100).all() and len(set(died)) > 1
    # negative control: what falls ill, goes, or dies elsewhere would show
    assert (events(sim, "dish", "hunters maim", "prey goes") > 50).all()
    assert (events(sim, "den", "prey dies") > 10).all()


def test_mean_follows_the_law_of_death():
    """Deaths alone, of n cells at rate d: n (1 - exp(-d t)) of them by t, within six standard deviations."""
    sim = simulation(
        "override.rules.prey falls ill.rate=0 /h",
        "override.rules.prey goes.rate=0 /h",
        "override.rules.hunters kill.rate=0 /h",
        "override.rules.hunters maim.rate=0 /h",
        "override.signals.debris.clearance=0 /h",
        replicates=40,
    )
    sim.advance("6 h")
    p = -math.expm1(-0.2 * 6)
    mean = level(sim, "debris").mean() * RELATIVE * SHARE / AMOUNT
    sd = math.sqrt(200 * p * (1 - p) / 40)
    assert abs(mean - 200 * p) < 6 * sd
    assert abs(mean - 200 * -math.expm1(-0.25 * 6)) > 6 * sd  # negative control: a rate 25 % off


def test_events_of_named_rules_count_wherever_they_happen():
    sim = simulation("run.until=12 h")
    sim.advance("12 h")
    fell = events(sim, "dish", "prey falls ill") + events(sim, "den", "prey falls ill")
    np.testing.assert_allclose(level(sim, "falls"), 2.0 * fell / SHARE, rtol=1e-12)
    cold = simulation("switches.cold=on")
    cold.advance("12 h")
    rules = "prey falls ill", "prey freezes"
    both = events(cold, "dish", *rules) + events(cold, "den", *rules)
    np.testing.assert_allclose(level(cold, "falls"), 2.0 * both / SHARE, rtol=1e-12)


def test_events_enter_in_the_next_interval():
    sim = simulation()
    sim.advance("30 min")
    assert (events(sim, "dish", "prey dies") > 0).all()
    assert (events(sim, "dish", "watchers die") == 0).all()
    sim.advance("1 h")
    assert (events(sim, "dish", "watchers die") == 500).all()


def test_results_do_not_depend_on_threads_replicates_or_stops():
    whole, split, alone = simulation(), simulation(threads=3), simulation(replicates=1)
    whole.advance("12 h")
    for hour in range(1, 13):
        split.advance(float(hour))
    alone.advance("12 h")
    assert whole.digest() == split.digest()
    assert whole.digest(0) == alone.digest(0)


def test_without_such_yields_nothing_is_added():
    sim = simulation("signals.debris.yields=[]", "signals.falls.yields=[]")
    sim.advance("12 h")
    assert (sim.signals == 0.0).all()


def test_it_reads_back_as_english():
    text = "\n".join(describe(load_scenario_text(WORLD).model))
    assert "3 pg/mL for every 50 deaths of prey in dish" in text
    assert "2 pg/mL for every event of 'prey falls ill' and 'prey freezes'" in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("signals.falls.yields=[{event: prey dyes, amount: 1 pg/mL, relative_to: 1 cell}]", "prey dies"),
        ("signals.falls.yields=[{event: prey dies, rate: 1 /h, relative_to: 1 cell}]", "'amount' beside event"),
        ("signals.falls.yields=[{event: prey dies, relative_to: 1 cell}]", "missing 'amount'"),
        ("signals.falls.yields=[{of: dish.prey, amount: 1 pg/mL, relative_to: 1 cell}]", "'rate' beside of"),
        ("signals.falls.yields=[{amount: 1 pg/mL, relative_to: 1 cell}]", "one of of, event, deaths"),
        ("signals.falls.yields=[{deaths: dish.prey, amount: 1 /h, relative_to: 1 cell}]", "amount"),
        ("signals.falls.yields=[{deaths: dish.prey, amount: 1 pg/mL, relative_to: 4 /L}]", "1e9 cells"),
        ("signals.falls.yields=[{deaths: dish.pry, amount: 1 pg/mL, relative_to: 1 cell}]", "pry"),
    ],
)  # fmt: skip
def test_mistakes_are_told(override: str, message: str):
    with pytest.raises(ScenarioError) as caught:
        load_scenario_text(WORLD, overrides=[override])
    assert len(caught.value.problems) == 1
    assert message in str(caught.value)
