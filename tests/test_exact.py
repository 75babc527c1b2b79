"""Kernels against the exact Markov chain of small bodies, written by hand and drawn at random.

`make verify` draws 200 fresh models of the whole grammar and writes out/verify/chains.md.
MST_ABM_MODELS=FIRST:NUMBER chooses others; a model that fails says how to see and run it alone.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from draw_models import Drawn, draw, multiples_of_half
from exact import Chain, Explored
from exact_statistics import Looks, chance_to_fail, rate_function
from thresholds import DRAWN_CHAINS, DRAWN_CHAINS_CI, FIXED_CHAINS, Chains
from worlds import box, lattice, mixed, plain, rule, started, world

from mst_abm.model.definition import InitialCells, Product
from mst_abm.scenario.definition import Scenario

pytestmark = pytest.mark.proof
REPORT = Path(__file__).parents[1] / "out" / "verify" / "chains.md"


class Exact:
    """The law of a model at one time, and what batches of it must look like."""

    def __init__(self, chain: Chain, explored: Explored, at: float, size: Chains):
        self.explored, self.at, self.size = explored, at, size
        self.looks = Looks(chain)
        counted = self.looks.in_states(explored.states)
        self.p = self.law()
        self.centres = self.p @ counted
        self.names, self.values = self.looks.statistics(counted, self.centres)
        self.limit = size.limit(len(self.names))

    def law(self, wrong: dict[str, float] | None = None) -> np.ndarray:
        (p,) = self.explored.laws([self.at], multiples_of_half(self.at), wrong)
        return p

    def power(self, wrong: str) -> float:
        """Chance that the rule's rate, wrong by the stated error, is seen."""
        law = self.law({wrong: 1.0 + self.size.error})
        return chance_to_fail(self.values, self.p, law, self.size.n, self.limit)

    def surprises(self, scenario: Scenario, seed: int) -> dict[str, float]:
        """n I of every statistic of a batch."""
        sim = started(scenario, self.size.n, seed=seed)
        sim.advance(self.at)
        _, seen = self.looks.statistics(self.looks.in_replicates(sim), self.centres)
        return {
            name: self.size.n * rate_function(value, self.p, float(mean))
            for name, value, mean in zip(self.names, self.values.T, seen.mean(axis=0), strict=True)
        }


def with_wrong_rate(scenario: Scenario, name: str, error: float) -> Scenario:
    """The scenario with one rule too fast."""
    rules = tuple(
        replace(r, rate=r.rate * (1.0 + error)) if r.name == name else r
        for r in scenario.model.rules
    )
    return replace(scenario, model=replace(scenario.model, rules=rules))


def filled(scenario: Scenario, cells: dict[str, int]) -> Scenario:
    """Cells at random places, in numbers; a scenario that states its own stays as it is."""
    if not cells:
        return scenario
    name = scenario.model.compartments[0].name
    initial = tuple(
        InitialCells(name, ((Product("species", kind), 1.0),), "number", float(n))
        for kind, n in cells.items()
    )
    return replace(scenario, model=replace(scenario.model, initial=initial))


PREY = [
    rule("divide", "a -> a + a", 0.5),
    rule("die", "a", 0.05),
    rule("move", "b", 2.0),
    rule("contact", "b + a -> b + empty", 0.5),
]
NEAR = {"near": "a", "within": 1, "shape": {"hill": {"half": 2.0, "bottom": 0.3}}}
FREE = {"near": "empty", "within": 1, "shape": {"linear": {"slope": 0.25}}}
COUNTED = {"a": {"counters": {"n": {"max": 3, "initial": 0, "on_division": "plus_one"}}}}
OLD = {"counter": "n", "shape": {"linear": {"intercept": 1.0, "slope": -0.3}}}
FADING = {"a": {"counters": {"n": {"max": 4, "initial": 4, "on_division": "halve"}}}}
AFTER = {"counter": "n", "shape": {"step": {"at": 1, "below": 0.2, "above": 1.0}}}

FAR_NEAR = {"near": "a", "within": 2, "shape": {"step": {"at": 2, "below": 1.0, "above": 0.2}}}
TWO = {"max": 1, "initial": 0}, {"max": 2, "initial": "uniform", "on_division": "resample"}
PAIR_COUNTED = {"a": {"counters": {"n": TWO[0], "m": TWO[1]}}}
WORN = {"counter": "m", "shape": {"table": {"x": [0, 1, 2], "y": [0.3, 0.6, 1.0]}}}


def in_dish(rules: list, types: dict, space: dict, until: float) -> Scenario:
    return world(rules, {"dish": space}, {"dish": {}}, types=types, until=until, record=until / 2)


def fixed_models() -> dict[str, tuple[Scenario, dict[str, int]]]:
    """Scenario and cells at the start, anywhere."""
    two, t = plain("a", "b"), 2.0
    torus, walls = lattice(3, 3), lattice(3, 3, boundary="no-flux")
    moore = lattice(3, 3, neighbours=8, boundary="no-flux")
    ring = lattice(6)

    def on(space: dict, *rules: dict, types: dict | None = None) -> Scenario:
        return box(list(rules), space, types or two, until=t, record=t / 2)

    return {
        "prey and killers": (on(torus, *PREY), {"a": 3, "b": 2}),
        "walls": (on(walls, *PREY[:2], rule("move", "a", 1.0)), {"a": 3}),
        "vacant, Moore": (
            on(moore, rule("divide", "a -> a + a", 0.6, place="vacant", modifiers=[FREE]), PREY[1]),
            {"a": 2},
        ),
        "push": (
            on(walls, rule("divide", "a -> a + b", 0.5, place={"push": 2}), rule("die", "b", 0.8)),
            {"a": 2},
        ),
        "swap": (
            on(
                ring,
                rule("contact", "a + b -> b + b", 0.3),
                rule("move", "a", 1.5, swap_with=["b"]),
                rule("die", "b", 0.2),
            ),
            {"a": 3, "b": 1},
        ),
        "mutual": (
            on(
                ring,
                rule(
                    "contact",
                    "a + a",
                    0.7,
                    outcomes=[
                        {"probability": 0.5, "actor": "b", "partner": "empty"},
                        {"probability": 0.3, "actor": "empty", "partner": "empty"},
                    ],
                ),
                rule("move", "a", 1.0),
                rule("die", "b", 0.4),
            ),
            {"a": 5},
        ),
        "paracrine": (
            on(walls, rule("paracrine", "a + b -> a + a", 0.2, within=2), rule("die", "a", 0.5)),
            {"a": 2, "b": 3},
        ),
        "near": (
            on(
                torus,
                rule("divide", "a -> a + a", 0.8, modifiers=[NEAR]),
                rule("die", "a", 0.5, modifiers=[FREE]),
            ),
            {"a": 3},
        ),
        "ageing": (
            on(
                lattice(5),
                rule("divide", "a -> a + a", 1.0, modifiers=[OLD]),
                rule("die", "a", 0.3),
                types=COUNTED,
            ),
            {"a": 1},
        ),
        "near, range 2": (
            on(
                lattice(7, boundary="no-flux"), rule("die", "a", 1.0, modifiers=[FAR_NEAR]), PREY[0]
            ),
            {"a": 4},
        ),
        "second counter": (
            on(lattice(5), rule("die", "a", 1.0, modifiers=[WORN]), PREY[0], types=PAIR_COUNTED),
            {"a": 2},
        ),
        "two kinds land": (
            world(
                [
                    rule("leave", "* -> box", 1.0, on="blood"),
                    rule("arrive", "a", 2.0, on="box"),
                    rule("arrive", "b", 0.3, on="box"),
                ],
                {"box": torus, "blood": mixed(room=50.0)},
                {"box": {}, "blood": {"a": 2, "b": 2}},
                types=two,
                until=t,
                exchange=0.5,
            ),
            {},
        ),
        "mixed, sites": (in_dish(PREY, two, mixed(capacity=10), t), {"a": 3, "b": 2}),
        "mixed, vacant": (
            in_dish(
                [
                    rule("divide", "a -> a + b", 0.6, place="vacant", modifiers=[NEAR]),
                    rule("die", "b", 0.5),
                ],
                two,
                mixed(capacity=9, neighbours=3),
                t,
            ),
            {"a": 4},
        ),
        "mass action": (
            in_dish(
                [
                    rule("contact", "a + a -> b + empty", 0.4),
                    rule("die", "b", 0.3),
                    rule("contact", "a + b -> a + a", 0.2),
                ],
                two,
                mixed(room=20.0),
                t,
            ),
            {"a": 9},
        ),
        "halving": (
            in_dish(
                [rule("divide", "a -> a + a", 0.7, modifiers=[AFTER]), rule("die", "a", 0.3)],
                FADING,
                mixed(capacity=7),
                t,
            ),
            {"a": 2},
        ),
        "sources": (
            in_dish(
                [
                    rule("arrive", "a", 0.8, batch=2, on="dish", **{"from": "outside"}),
                    rule("contact", "a + a -> empty + b", 0.6),
                    rule("die", "b", 0.5),
                ],
                two,
                mixed(capacity=8, neighbours=4),
                t,
            ),
            {"a": 1},
        ),
    }


FIXED = list(fixed_models())
assert len(FIXED) == FIXED_CHAINS.models


def fixed(name: str) -> tuple[Scenario, Exact]:
    scenario = filled(*fixed_models()[name])
    chain = Chain(started(scenario))
    return scenario, Exact(chain, chain.explore(), 2.0, FIXED_CHAINS)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_model(name: str) -> None:
    scenario, exact = fixed(name)
    found = exact.surprises(scenario, seed=1)
    assert max(found.values()) < exact.limit, (name, found)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_model_control(name: str) -> None:
    """The first rate wrong by the stated error is seen."""
    scenario, exact = fixed(name)
    assert exact.power("rule 0") >= FIXED_CHAINS.power
    found = exact.surprises(with_wrong_rate(scenario, "rule 0", FIXED_CHAINS.error), seed=2)
    assert max(found.values()) > exact.limit, (name, found)


@dataclass
class Outcome:
    """One drawn model, right and with a rate wrong."""

    drawn: Drawn
    statistics: int
    failed: dict[str, float]
    wrong: str
    power: float
    is_caught: bool
    seconds: float


def compared(number: int, size: Chains) -> Outcome:
    begun = time.perf_counter()
    drawn = draw(number)
    exact = Exact(drawn.chain, drawn.explored, drawn.time, size)
    found = exact.surprises(drawn.scenario, seed=number)
    failed = {name: x for name, x in found.items() if x >= exact.limit}
    wrong = random.Random(number).choice(drawn.explored.acting())
    power = exact.power(wrong)
    other = with_wrong_rate(drawn.scenario, wrong, size.error)
    # draws of its own, or the control would share the fortune of the right model
    control = exact.surprises(other, seed=number + 2**32)
    is_caught = max(control.values()) >= exact.limit
    seconds = time.perf_counter() - begun
    return Outcome(drawn, len(found), failed, wrong, power, is_caught, seconds)


def chance_of_count(powers: list[float], caught: int) -> float:
    """Two-sided probability of a number of failures as far out, each with its own chance."""
    law = np.array([1.0])
    for p in np.clip(powers, 0.002, 0.998):  # the chances come from 2,000 draws each
        law = np.convolve(law, [1.0 - p, p])
    return min(1.0, 2.0 * min(law[: caught + 1].sum(), law[caught:].sum()))


def check_outcomes(outcomes: list[Outcome], size: Chains) -> None:
    failed = [o for o in outcomes if o.failed]
    assert not failed, "\n\n".join(
        f"{o.failed}\nMST_ABM_MODELS={o.drawn.number}:1 make verify\n{o.drawn.text()}"
        for o in failed
    )
    powers, caught = [o.power for o in outcomes], sum(o.is_caught for o in outcomes)
    assert np.mean(powers) >= size.power
    assert chance_of_count(powers, caught) > size.family, (sum(powers), caught)


#: Quick ones, of every arena.
NUMBERS = 2, 8, 9, 10, 13, 14, 18, 21, 46, 48


def test_drawn_models() -> None:
    check_outcomes([compared(number, DRAWN_CHAINS_CI) for number in NUMBERS], DRAWN_CHAINS_CI)


def test_models_are_drawn_alike() -> None:
    """A number means a model."""
    assert draw(18).text() == draw(18).text() != draw(21).text()


@pytest.mark.verify
def test_many_drawn_models() -> None:
    chosen = os.environ.get("MST_ABM_MODELS")
    first, number = map(int, chosen.split(":")) if chosen else (
        secrets.randbelow(2**31), DRAWN_CHAINS.models
    )  # fmt: skip
    outcomes = [compared(i, DRAWN_CHAINS) for i in range(first, first + number)]
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report(outcomes, DRAWN_CHAINS))
    if number >= DRAWN_CHAINS.models:
        check_outcomes(outcomes, DRAWN_CHAINS)
    else:
        assert not any(o.failed for o in outcomes), [o.failed for o in outcomes if o.failed]


def report(outcomes: list[Outcome], size: Chains) -> str:
    """Coverage of the grammar, and what was seen."""
    first = outcomes[0].drawn.number
    powers, caught = [o.power for o in outcomes], sum(o.is_caught for o in outcomes)
    traits: Counter = sum((o.drawn.traits for o in outcomes), Counter())
    in_models = Counter(trait for o in outcomes for trait in o.drawn.traits)
    states = sorted(len(o.drawn.explored.states) for o in outcomes)
    lines = [
        "# Random models against their exact Markov chains",
        "",
        f"Models {first} to {first + len(outcomes) - 1}, {size.n:,} replicates each; "
        f"{sum(o.statistics for o in outcomes):,} statistics; states {states[0]} to {states[-1]}, "
        f"median {states[len(states) // 2]}; {sum(o.seconds for o in outcomes):.0f} s.",
        "",
        f"Failed: {sum(bool(o.failed) for o in outcomes)}; false alarm {size.family:g} for all together.",
        "",
        f"Control: one drawn rate of each model {size.error:.0%} too high. Seen in {caught} models, "
        f"{sum(powers):.1f} expected from the exact laws (mean power {np.mean(powers):.2f}; "
        f"two-sided chance of this number {chance_of_count(powers, caught):.2g}).",
        "",
        "| what | which | models | times |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {what} | {which} | {in_models[what, which]} | {times} |"
        for (what, which), times in sorted(traits.items(), key=str)
    ]
    return "\n".join(lines) + "\n"
