"""Models without space against libRoadRunner: another program, another language, the same numbers.

Means and variances against Gillespie's direct method at the original size, means against the rate
equations at a hundred times that size. Both programs get the model from the same file; the way from there to
rates is written twice (`sbml`). One rate 5 % wrong in the export must show.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import proof
import pytest
from thresholds import RIVALS, RIVALS_LARGE, SCALE
from worlds import column, mixed, plain, rule, seed_of, started, world

from mst_abm.scenario.definition import Scenario

pytest.importorskip("libsbml", reason="python-libsbml is missing: pip install -e '.[verify]'")
pytest.importorskip("roadrunner", reason="libroadrunner is missing: pip install -e '.[verify]'")
import sbml

QUANTUM = 0.01  # of a signal's unit, where it is stochastic in the rival


class Case(NamedTuple):
    """A model as a function of its size, and what is looked at."""

    make: Callable[[float], Scenario]
    times: tuple[float, float]
    looked_at: tuple[tuple[str, str], ...]  # (compartment, species)
    controls: tuple[str, ...]  # rules or signals made wrong, one at a time


def in_dish(rules: list, cells: dict[str, float], until: float, k: float, **more) -> Scenario:
    """One dish of 100 k sites; numbers of cells grow with it."""
    return world(
        rules,
        {"dish": mixed(room=100.0 * k)},
        {"dish": {name: round(n * k) for name, n in cells.items()}},
        until=until,
        record=until / 2,
        **{"types": plain(*cells), **more},
    )


def birth_death(k: float) -> Scenario:
    rules = [rule("divide", "x -> x + x", 0.2), rule("die", "x", 0.1)]
    return in_dish(rules, {"x": 20}, 10.0, k)


def predator_prey(k: float) -> Scenario:
    rules = [
        rule("divide", "prey -> prey + prey", 0.6),
        rule("contact", "hunter + prey -> hunter + hunter", 0.15),
        rule("die", "hunter", 0.4),
    ]
    return in_dish(rules, {"prey": 60, "hunter": 40}, 4.0, k)


def conjugation(k: float) -> Scenario:
    rules = [
        rule("contact", "e + t -> c + empty", 0.3),
        rule("divide", "c -> e + t", 1.0),
        rule("become", "c -> e", 0.5),
    ]
    return in_dish(rules, {"e": 30, "t": 80, "c": 0}, 4.0, k)


def two_compartments(k: float) -> Scenario:
    outside = {"on": "blood", "from": "outside"}
    rules = [
        rule("arrive", "x", 15.0 * k, **outside),
        rule("leave", "x -> tissue", 0.5, on="blood"),
        rule("leave", "x -> blood", 0.8, on="tissue"),
        rule("die", "x", 0.1, on="blood"),
        rule("die", "x", 0.3, on="tissue"),
        rule("arrive", "x", 3.0 * k, batch=4, **outside),
    ]
    spaces = {"blood": mixed(), "tissue": mixed()}
    initial = {"blood": {"x": round(10 * k)}, "tissue": {}}
    return world(rules, spaces, initial, types=plain("x"), until=8.0, record=4.0)


def epidemic(k: float) -> Scenario:
    rules = [
        rule("contact", "sick + well -> sick + sick", 0.2),
        rule("become", "sick -> immune", 0.4),
        rule("become", "immune -> well", 0.1),
        rule("die", "sick", 0.1),
        rule("divide", "well -> well + well", 0.05),
    ]
    return in_dish(rules, {"well": 90, "sick": 15, "immune": 5}, 6.0, k)


def outcomes(k: float) -> Scenario:
    """Pairs that could both be the actor, patterns of several states, outcomes with odds."""
    a, b, c = (f"cell[state={x}]" for x in "abc")
    pair = [
        {"probability": 0.6, "actor": c, "partner": "empty"},
        {"probability": 0.4, "actor": "same", "partner": c},
    ]
    fate = [{"probability": 0.7, "to": a}, {"probability": 0.3, "to": b}]
    rules = [
        rule("contact", "cell[state=a|b] + cell[state=a|b]", 0.1, outcomes=pair),
        rule("contact", "cell[state=b|c] + cell[state=a|c] -> empty + same", 0.05),
        rule("become", c, 0.5, outcomes=fate),
        rule("divide", f"{a} -> {b} + {c}", 0.4),
    ]
    types = {"cell": {"axes": {"state": ["a", "b", "c"]}}}
    return in_dish(rules, {a: 60, b: 20, c: 20}, 4.0, k, types=types)


def signalling(k: float) -> Scenario:
    """Cells make a signal that slows their division and hastens their death."""
    slowed = {"signal": "s", "shape": {"inverse_hill": {"half": 2.0, "power": 2.0, "bottom": 0.1}}}
    hastened = {"signal": "s", "shape": {"hill": {"half": 3.0, "bottom": 0.2, "top": 1.5}}}
    rules = [
        rule("divide", "x -> x + x", 0.8, modifiers=[slowed]),
        rule("die", "x", 0.4, modifiers=[hastened]),
        rule("die", "eater", 0.1),
    ]

    def terms(of: str, rate: str) -> list[dict]:
        return [{"of": f"dish.{of}", "rate": rate, "relative_to": f"{50.0 * k!r} cells"}]

    signal = {
        "unit": "dimensionless", "initial": 0.5, "production": "0.2 /h", "clearance": "0.5 /h",
        "yields": terms("x", "1.5 /h"), "cleared_by": terms("eater", "0.5 /h"), "source": "test",
    }  # fmt: skip
    cells = {"x": 40, "eater": 30}
    return in_dish(rules, cells, 8.0, k, exchange=0.01, signals={"s": signal})


DISH_X = (("dish", "x"),)
CASES = {
    "birth-death": Case(birth_death, (5.0, 10.0), DISH_X, ("rule 0", "rule 1")),
    "predator-prey": Case(
        predator_prey,
        (2.0, 4.0),
        (("dish", "prey"), ("dish", "hunter")),
        ("rule 0", "rule 1", "rule 2"),
    ),
    "conjugation": Case(
        conjugation, (1.0, 4.0), (("dish", "t"), ("dish", "c")), ("rule 0", "rule 1", "rule 2")
    ),
    "two compartments": Case(
        two_compartments,
        (4.0, 8.0),
        (("blood", "x"), ("tissue", "x")),
        ("rule 0", "rule 1", "rule 2", "rule 3", "rule 4", "rule 5"),
    ),
    "epidemic": Case(
        epidemic,
        (2.0, 6.0),
        (("dish", "well"), ("dish", "sick"), ("dish", "immune")),
        ("rule 0", "rule 1", "rule 2", "rule 3"),
    ),
    "outcomes": Case(
        outcomes,
        (1.0, 4.0),
        (("dish", "cell[state=a]"), ("dish", "cell[state=b]"), ("dish", "cell[state=c]")),
        ("rule 0", "rule 1", "rule 2", "rule 3"),
    ),
    "signalling": Case(signalling, (4.0, 8.0), DISH_X, ("rule 0", "rule 1", "s")),
}


def in_words(case: Case, rate: str, error: float) -> str:
    """What a control makes wrong: verb and cells of a rule, or a signal."""
    rules = {r.name: f"{r.verb} {r.actor.text}" for r in case.make(1.0).model.rules}
    return f"{rules.get(rate, rate)} {error:+.0%}"


def labels(case: Case, *measures: str) -> list[str]:
    return [
        f"{measure} of {species} in {place}, t = {t:g}"
        for t in case.times
        for place, species in case.looked_at
        for measure in measures
    ]


def ours(case: Case, scenario: Scenario, n: int) -> np.ndarray:
    """Cells: (time, looked at, replicate)."""
    sim = started(scenario, n)
    found = []
    for t in case.times:
        sim.advance(t)
        found.append([column(sim, *what) for what in case.looked_at])
    return np.array(found)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two samples' means, in standard errors."""
    return float((a.mean() - b.mean()) / math.sqrt(a.var() / len(a) + b.var() / len(b)))


def against_stochastic(case: Case, mine: np.ndarray, wrong: dict[str, float]) -> list[float]:
    """Means and variances of two samples of one size."""
    export = sbml.Export(case.make(1.0).model, wrong=wrong, quantum=QUANTUM)
    names = [export.cells(*what) for what in case.looked_at]
    theirs = sbml.stochastic(export, names, case.times, mine.shape[-1], seed_of(1001))
    values = []
    for x, y in zip(
        mine.reshape(-1, mine.shape[-1]), theirs.reshape(-1, mine.shape[-1]), strict=True
    ):
        values += [difference(x, y), difference((x - x.mean()) ** 2, (y - y.mean()) ** 2)]
    return values


def draw_later(case: Case, name: str, mine: np.ndarray, export, names: list[str]) -> None:
    """Note means beside the whole course of the rate equations."""
    along = np.linspace(0.0, case.times[-1], 41)
    course = np.vstack([sbml.at_start(export, names), sbml.deterministic(export, names, along[1:])])
    for j, (place, species) in enumerate(case.looked_at):
        title = f"{name}: {species} in {place}"
        found = mine[:, j].mean(axis=1)
        proof.note_curve(title, case.times, found, course[:, j], of="cells", exact_x=along)


def against_rates(case: Case, name: str, mine: np.ndarray, wrong: dict[str, float]) -> list[float]:
    """Means of large numbers against the rate equations."""
    export = sbml.Export(case.make(SCALE).model, wrong=wrong)
    names = [export.cells(*what) for what in case.looked_at]
    exact = sbml.deterministic(export, names, case.times)
    if not wrong:
        draw_later(case, name, mine, export, names)
    spread = mine.std(axis=2, ddof=1) / math.sqrt(mine.shape[-1])
    return ((mine.mean(axis=2) - exact) / spread).ravel().tolist()


@pytest.mark.proof
@pytest.mark.parametrize("name", CASES)
def test_rate_equations(name: str) -> None:
    case, size = CASES[name], RIVALS_LARGE
    mine = ours(case, case.make(SCALE), size.n)
    title = f"{name}, CVODE"
    proof.holds(title, against_rates(case, name, mine, {}), size.z, size.n, labels(case, "mean"))
    for rate in case.controls:
        values = against_rates(case, name, mine, {rate: 1.0 + size.error})
        proof.is_caught(title, in_words(case, rate, size.error), values, size.z, size.n)


@pytest.mark.verify
@pytest.mark.parametrize("name", CASES)
def test_stochastic(name: str) -> None:
    case, size = CASES[name], RIVALS[name]
    n = 2 * size.n  # on each side: the difference of two samples varies twice as much
    mine = ours(case, case.make(1.0), n)
    values = against_stochastic(case, mine, {})
    assert len(values) <= size.statistics
    proof.holds(name, values, size.z, n, labels(case, "mean", "variance"))
    for rate in case.controls:
        values = against_stochastic(case, mine, {rate: 1.0 + size.error})
        proof.is_caught(name, in_words(case, rate, size.error), values, size.z, n)
