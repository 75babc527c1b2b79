"""Kernels against the exact Markov chain of small boxes, fixed ones and ones drawn at random."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import proof
import pytest
from exact import Box, anywhere, mixture
from thresholds import EXACT
from worlds import box, lattice, mixed, plain, rule, started, world

from mst_abm.model.compile import compile_model
from mst_abm.model.definition import InitialCells, Product
from mst_abm.scenario.definition import Scenario

pytestmark = pytest.mark.proof


def filled(scenario: Scenario, cells: dict[str, int]) -> Scenario:
    """Cells at random places, in numbers."""
    name = scenario.model.compartments[0].name
    initial = tuple(
        InitialCells(name, ((Product("species", kind), 1.0),), "number", float(n))
        for kind, n in cells.items()
    )
    return replace(scenario, model=replace(scenario.model, initial=initial))


def exact_laws(scenario: Scenario, cells: dict[str, int], times: list[float], packed: int = 0):
    compiled = compile_model(scenario.model)
    chain = Box(compiled)
    names = compiled.species_names
    start = [(names.index(kind), packed) for kind, n in cells.items() for _ in range(n)]
    initial = anywhere(start, chain.sites) if chain.is_lattice else {mixture(tuple(start)): 1.0}
    return chain.law(initial, times)


def z_values(scenario: Scenario, laws, times: list[float], n: int) -> list[float]:
    """Means, variances and extinctions of every species at every time, against the laws."""
    sim = started(scenario, n)
    (name,) = sim.counts
    values = []
    for t, law in zip(times, laws, strict=True):
        sim.advance(t)
        for s in range(1, sim.tables.n_species):
            x, exact = sim.counts[name][:, s].astype(float), law.counts[:, s]
            mean = law.mean(exact)
            for sample, value in (
                (x, exact),
                ((x - mean) ** 2, (exact - mean) ** 2),
                (x == 0, (exact == 0).astype(float)),
            ):
                centre = law.mean(value)
                spread = law.mean((value - centre) ** 2)
                # an event that is hardly ever seen has no normal law
                if spread * n < 25.0 * max(1.0, np.abs(value).max()):
                    continue
                values.append(float((sample.mean() - centre) / math.sqrt(spread / n)))
    return values


def rates(scenario: Scenario, factor: float, which: int) -> Scenario:
    """The scenario with one rate wrong."""
    rules = list(scenario.model.rules)
    rules[which] = replace(rules[which], rate=rules[which].rate * factor)
    return replace(scenario, model=replace(scenario.model, rules=tuple(rules)))


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


def in_dish(rules: list, types: dict, space: dict, until: float) -> Scenario:
    return world(rules, {"dish": space}, {"dish": {}}, types=types, until=until, record=until / 2)


def fixed_models() -> dict[str, tuple[Scenario, dict[str, int], int]]:
    """Scenario, cells at the start, packed counters of those cells."""
    two, t = plain("a", "b"), 2.0
    torus, walls = lattice(3, 3), lattice(3, 3, boundary="no-flux")
    moore = lattice(3, 3, neighbours=8, boundary="no-flux")
    ring = lattice(6)

    def on(space: dict, *rules: dict, types: dict | None = None) -> Scenario:
        return box(list(rules), space, types or two, until=t, record=t / 2)

    return {
        "prey and killers": (on(torus, *PREY), {"a": 3, "b": 2}, 0),
        "walls": (on(walls, *PREY[:2], rule("move", "a", 1.0)), {"a": 3}, 0),
        "vacant, Moore": (
            on(moore, rule("divide", "a -> a + a", 0.6, place="vacant", modifiers=[FREE]), PREY[1]),
            {"a": 2},
            0,
        ),
        "push": (
            on(walls, rule("divide", "a -> a + b", 0.5, place={"push": 2}), rule("die", "b", 0.8)),
            {"a": 2},
            0,
        ),
        "swap": (
            on(
                ring,
                rule("contact", "a + b -> b + b", 0.3),
                rule("move", "a", 1.5, swap_with=["b"]),
                rule("die", "b", 0.2),
            ),
            {"a": 3, "b": 1},
            0,
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
            0,
        ),
        "paracrine": (
            on(walls, rule("paracrine", "a + b -> a + a", 0.2, within=2), rule("die", "a", 0.5)),
            {"a": 2, "b": 3},
            0,
        ),
        "near": (
            on(
                torus,
                rule("divide", "a -> a + a", 0.8, modifiers=[NEAR]),
                rule("die", "a", 0.5, modifiers=[FREE]),
            ),
            {"a": 3},
            0,
        ),
        "ageing": (
            on(
                lattice(5),
                rule("divide", "a -> a + a", 1.0, modifiers=[OLD]),
                rule("die", "a", 0.3),
                types=COUNTED,
            ),
            {"a": 1},
            0,
        ),
        "mixed, sites": (in_dish(PREY, two, mixed(capacity=10), t), {"a": 3, "b": 2}, 0),
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
            0,
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
            0,
        ),
        "halving": (
            in_dish(
                [rule("divide", "a -> a + a", 0.7, modifiers=[AFTER]), rule("die", "a", 0.3)],
                FADING,
                mixed(capacity=7),
                t,
            ),
            {"a": 2},
            4,
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
            0,
        ),
    }


FIXED = list(fixed_models())


@pytest.mark.parametrize("name", FIXED)
def test_fixed_model(name: str) -> None:
    scenario, cells, packed = fixed_models()[name]
    scenario, times = filled(scenario, cells), [1.0, 2.0]
    laws = exact_laws(scenario, cells, times, packed)
    values = z_values(scenario, laws, times, EXACT.n)
    proof.holds(name, values, EXACT.z, EXACT.n)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_model_control(name: str) -> None:
    """The first rate wrong by the stated error is seen."""
    scenario, cells, packed = fixed_models()[name]
    scenario, times = filled(scenario, cells), [1.0, 2.0]
    laws = exact_laws(scenario, cells, times, packed)
    values = z_values(rates(scenario, 1.0 + EXACT.error, 0), laws, times, EXACT.n)
    proof.is_caught(name, f"first rate {EXACT.error:+.0%}", values, EXACT.z, EXACT.n)


def random_model(number: int) -> tuple[Scenario, dict[str, int]]:
    """Rules of every kind with rates log-uniform in [0.05, 2] in a box drawn at random."""
    source = random.Random(number)

    def rate() -> float:
        return math.exp(source.uniform(math.log(0.05), math.log(2.0)))

    is_lattice = number % 3 != 2
    near = [
        {
            "near": source.choice(["a", "b", "empty"]),
            "within": 1,
            "shape": {"hill": {"half": source.uniform(0.5, 3.0), "bottom": 0.2}},
        }
    ]
    cells = ["a", "b", "empty", "same"]

    def pair(actor: str, partner: str) -> dict:
        p = source.uniform(0.2, 0.8)
        return {
            "outcomes": [
                {
                    "probability": p,
                    "actor": source.choice(cells),
                    "partner": source.choice(cells[:3]),
                },
                {
                    "probability": 0.9 * (1 - p),
                    "actor": source.choice(cells[:3]),
                    "partner": source.choice(cells),
                },
            ],
            "modifiers": source.choice([[], near]),
        }

    rules = [
        rule(
            "divide",
            source.choice(["a -> a + a", "a -> a + b"]),
            rate(),
            place=source.choice(["attempt", "vacant"]),
            modifiers=source.choice([[], near]),
        ),
        rule("die", source.choice(["a", "b"]), rate()),
        rule(
            "become",
            source.choice(["a -> b", "b -> a"]),
            rate(),
            modifiers=source.choice([[], near]),
        ),
        rule("contact", "a + b", rate(), **pair("a", "b")),
        rule("contact", "a + a", rate(), **pair("a", "a")),
    ]
    if is_lattice:
        rules += [rule("move", "a", rate(), swap_with=["b"]), rule("move", "b", rate())]
        rules += [
            rule("paracrine", "b + a", rate(), within=source.choice([1, 2]), **pair("b", "a"))
        ]
        space = lattice(source.choice([5, 6, 7]), boundary=source.choice(["periodic", "no-flux"]))
        scenario = box(rules, space, plain("a", "b"), until=2.0, record=1.0)
    else:
        space = source.choice(
            [mixed(capacity=9, neighbours=source.choice([3, 6])), mixed(capacity=7)]
        )
        scenario = in_dish(rules, plain("a", "b"), space, 2.0)
    return scenario, {"a": source.choice([2, 3]), "b": source.choice([1, 2])}


@pytest.mark.parametrize("number", range(12))
def test_random_model(number: int) -> None:
    scenario, cells = random_model(number)
    scenario, times = filled(scenario, cells), [0.5, 2.0]
    values = z_values(scenario, exact_laws(scenario, cells, times), times, EXACT.n)
    proof.holds(f"random {number}", values, EXACT.z, EXACT.n)
