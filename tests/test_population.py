"""Population processes without space against their closed forms.

Every case returns Z values; a right simulation keeps them below the threshold of `thresholds`, and the
same simulation with one rate wrong by the stated error exceeds it (the negative control).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import proof
import pytest
from scipy.linalg import expm
from scipy.stats import chi2, norm
from thresholds import POPULATION, STATISTICS, Size
from worlds import column, mixed, plain, rule, started, world

pytestmark = pytest.mark.proof

#: Changes of rates by name; a case looks its own rates up with ``wrong.get(name, 1.0)``.
Wrong = dict[str, float]


def z(x: np.ndarray, mean: float, sd: float | None = None) -> float:
    """Distance of a sample's mean from the exact one, in standard errors."""
    return float((np.mean(x) - mean) / ((sd or np.std(x)) / math.sqrt(len(x))))


def z_variance(x: np.ndarray, mean: float, variance: float) -> float:
    return z((x - mean) ** 2, variance)


def z_squares(x: np.ndarray, mean: float, variance: float) -> float:
    """Variance of few, nearly normal numbers: their chi-square on the scale of Z.

    An estimated spread of 35 squares would exceed 5.16 four times in a thousand.
    """
    return float(norm.isf(chi2.sf(np.sum((x - mean) ** 2) / variance, len(x))))


def z_share(hits: np.ndarray, p: float) -> float:
    return z(hits, p, math.sqrt(p * (1.0 - p)))


def dish(rules: list, initial: dict, *, until: float, types: dict | None = None, **more):
    """A scenario of one mixed compartment without a volume."""
    space = more.pop("space", mixed())
    kinds = types or plain(*initial)
    return world(rules, {"dish": space}, {"dish": initial}, types=kinds, until=until, **more)


def course(
    name: str, sim, cells: Callable[[], np.ndarray], exact, wrong: Wrong, of: str = "cells"
) -> list[float]:
    """Means at several times against (time, mean, sd or None), noted as a curve when right."""
    values, times, found, means = [], [], [], []
    for t, mean, sd in exact:
        sim.advance(t)
        x = cells()
        values.append(z(x, mean, sd))
        times.append(t)
        found.append(float(np.mean(x)))
        means.append(mean)
    if not wrong:
        proof.note_curve(name, times, found, means, of=of)
    return values


def birth_death(n: int, wrong: Wrong, *, birth: float, death: float, start: int, t: float):
    rules = [
        rule("divide", "x -> x + x", birth * wrong.get("birth", 1.0)),
        rule("die", "x", death * wrong.get("death", 1.0)),
    ]
    sim = started(dish(rules, {"x": start}, until=t), n)
    sim.advance(t)
    return column(sim, "dish", "x")


def growing(n: int, wrong: Wrong) -> list[float]:
    x = birth_death(n, wrong, birth=0.2, death=0.05, start=10, t=20.0)
    return [z(x, 200.855, 79.932), z_variance(x, 200.855, 79.932**2)]


def critical(n: int, wrong: Wrong) -> list[float]:
    x = birth_death(n, wrong, birth=0.1, death=0.1, start=20, t=30.0)
    return [z(x, 20.0, 10.954), z_variance(x, 20.0, 120.0), z_share(x == 0, 0.0031712)]


def pure_birth(n: int, wrong: Wrong) -> list[float]:
    sim = started(
        dish([rule("divide", "x -> x + x", 0.1 * wrong.get("birth", 1.0))], {"x": 1}, until=20.0), n
    )
    sim.advance(20.0)
    x = column(sim, "dish", "x")
    mean = math.exp(2.0)
    return [z(x, mean, math.sqrt(mean * (mean - 1.0))), z_share(x == 1, 0.135335)]


def immigration(
    n: int,
    wrong: Wrong,
    *,
    alpha: float,
    mu: float,
    times: tuple[float, ...],
    batch: int = 1,
    reset=None,
) -> list[np.ndarray]:
    rules = [
        rule(
            "arrive",
            "x",
            alpha * wrong.get("arrival", 1.0),
            batch=batch,
            on="dish",
            **{"from": "outside"},
        ),
        rule("die", "x", mu * wrong.get("death", 1.0)),
    ]
    protocol = (
        {}
        if reset is None
        else {"protocol": [{"at": f"{reset[0]} h", "set": {"dish.x": reset[1]}}]}
    )
    scenario = dish(
        rules, {"x": 0}, until=times[-1], record=times[0], exchange=times[0], **protocol
    )
    sim = started(scenario, n)
    result = []
    for t in times:
        sim.advance(t)
        result.append(column(sim, "dish", "x"))
    return result


def immigration_death(n: int, wrong: Wrong) -> list[float]:
    (x,) = immigration(n, wrong, alpha=5.0, mu=0.1, times=(20.0,))
    mean = 50.0 * (1.0 - math.exp(-2.0))
    return [z(x, mean, math.sqrt(mean)), z_variance(x, mean, mean)]


def batch_immigration(n: int, wrong: Wrong) -> list[float]:
    """DSMTS 004-01: five at a time, each dying at 0.2; a compound Poisson process thinned by death."""
    values = []
    times = (5.0, 50.0)
    for t, x in zip(
        times, immigration(n, wrong, alpha=1.0, mu=0.2, times=times, batch=5), strict=True
    ):
        mean = 25.0 * (1.0 - math.exp(-0.2 * t))
        variance = mean + 20.0 * (1.0 - math.exp(-0.4 * t)) / 0.4
        values += [z(x, mean, math.sqrt(variance)), z_variance(x, mean, variance)]
    return values


def scheduled_reset(n: int, wrong: Wrong) -> list[float]:
    """DSMTS 002-09: immigration 1, death 0.1, number set to 50 at t = 25."""
    times = (12.5, 25.0, 37.5)
    before, at, after = immigration(n, wrong, alpha=1.0, mu=0.1, times=times, reset=(25.0, 50))
    assert np.all(at == 50)
    early = 10.0 * (1.0 - math.exp(-1.25))
    kept = math.exp(-1.25)
    mean, variance = 50.0 * kept + early, 50.0 * kept * (1.0 - kept) + early
    return [
        z(before, early, math.sqrt(early)),
        z(after, mean, math.sqrt(variance)),
        z_variance(after, mean, variance),
    ]


def death_counter(n: int, wrong: Wrong) -> list[float]:
    """DSMTS 001-07: birth 0.1, death 0.11 into a sink that counts."""
    rules = [
        rule("divide", "x -> x + x", 0.1 * wrong.get("birth", 1.0)),
        rule("become", "x -> sink", 0.11 * wrong.get("death", 1.0)),
    ]
    sim = started(dish(rules, {"x": 100}, types=plain("x", "sink"), until=20.0), n)
    sim.advance(20.0)
    x, sink = column(sim, "dish", "x"), column(sim, "dish", "sink")
    kept = math.exp(-0.2)
    mean, variance = 100.0 * kept, 100.0 * 0.21 / -0.01 * kept * (kept - 1.0)
    return [z(x, mean, math.sqrt(variance)), z(sink, 0.11 * 100.0 * (1.0 - kept) / 0.01)]


def logistic(n: int, wrong: Wrong) -> list[float]:
    """Birth tries one of the other K - 1 sites."""
    rules = [
        rule("divide", "x -> x + x", 0.5 * wrong.get("birth", 1.0)),
        rule("die", "x", 0.1 * wrong.get("death", 1.0)),
    ]
    sim = started(dish(rules, {"x": 5}, space=mixed(capacity=50), until=20.0, record=5.0), n)
    exact = ((5.0, 19.9976, 6.675), (10.0, 34.2269, 5.840), (20.0, 39.7613, 3.352))
    return course("logistic", sim, lambda: column(sim, "dish", "x"), exact, wrong)


LURIA_END, LURIA_STEP, LURIA_BATCH = 9.0, 0.2, 2000


def luria_expected() -> np.ndarray:
    """P0..P3 with mutations at a rate that is constant within an exchange interval.

    Mutants of a mutation s before the end are geometric with mean e^s; their numbers add up to a
    compound Poisson law (Panjer's recursion).
    """
    edges = np.arange(0.0, LURIA_END + LURIA_STEP / 2, LURIA_STEP)
    node, weight = np.polynomial.legendre.leggauss(20)
    clone = np.zeros(4)
    for a, b in itertools.pairwise(edges):
        mutations = math.exp(-a) - math.exp(-b)
        left = np.exp(-(0.5 * (a + b) + 0.5 * (b - a) * node))
        for j in range(1, 4):
            clone[j] += mutations * np.sum(0.5 * weight * left * (1.0 - left) ** (j - 1))
    clone *= 2.0 / (1.0 - math.exp(-LURIA_END))
    p = np.zeros(4)
    p[0] = math.exp(-2.0)
    for k in range(1, 4):
        p[k] = sum(j * clone[j] * p[k - j] for j in range(1, k + 1)) / k
    return p


def luria_delbruck(n: int, wrong: Wrong) -> list[float]:
    """Two mutations expected in a clone that grows as e^t.

    The growing wild type is a signal: s = e^-t, and half / (half + s) = half e^t for a half far
    below s.
    """
    half = 1e-7 * math.exp(-LURIA_END)
    rate = 2.0 / (math.exp(LURIA_END) - 1.0) / half * wrong.get("mutation", 1.0)
    wild = {"signal": "s", "shape": {"inverse_hill": {"half": half}}}
    rules = [
        rule("arrive", "x", rate, on="dish", modifiers=[wild], **{"from": "outside"}),
        rule("divide", "x -> x + x", 1.0 * wrong.get("growth", 1.0)),
    ]
    signals = {
        "s": {"unit": "dimensionless", "initial": 1.0, "clearance": "1 /h", "source": "test"}
    }
    scenario = dish(rules, {"x": 0}, until=LURIA_END, exchange=LURIA_STEP, signals=signals)
    # every replicate gets the room of the greatest, and a clone may be thousands: in batches
    parts = []
    for first in range(0, n, LURIA_BATCH):
        sim = started(scenario, min(LURIA_BATCH, n - first), first_replicate=first)
        sim.advance(LURIA_END)
        parts.append(column(sim, "dish", "x"))
    x = np.concatenate(parts)
    if not wrong:
        assert np.median(x) == 4
    return [z_share(x == k, p) for k, p in enumerate(luria_expected())]


MORAN_TIME = 100.0


def moran_exact(fitness: float, t: float) -> float:
    """Share of populations of 25 that one mutant has taken over by time t."""
    q = np.zeros((26, 26))
    for i in range(1, 25):
        meeting = i * (25 - i) / 24.0
        q[i + 1, i], q[i - 1, i] = fitness * meeting, meeting
        q[i, i] = -(1.0 + fitness) * meeting
    return float(expm(q * t)[25, 1])


def moran(n: int, wrong: Wrong) -> list[float]:
    """A mutant of fitness 1.1 replaces its neighbours; each pair of 25 meets at the same rate."""
    rules = [
        rule("contact", "a + b -> a + a", 1.1 * wrong.get("fitness", 1.0)),
        rule("contact", "b + a -> b + b", 1.0),
    ]
    space = mixed(capacity=25, neighbours=1)
    sim = started(dish(rules, {"a": 1, "b": 24}, space=space, until=MORAN_TIME), n)
    sim.advance(MORAN_TIME)
    return [z_share(column(sim, "dish", "a") == 25, moran_exact(1.1, MORAN_TIME))]


CYCLE_GROWTH = {1: 0.0416667, 5: 0.0309788, 20: 0.0293874}


def erlang_generator(k: int, rate: float) -> np.ndarray:
    """d(mean)/dt of the k stages of a cycle."""
    a = -rate * np.eye(k)
    for i in range(k - 1):
        a[i + 1, i] = rate
    a[0, k - 1] += 2.0 * rate
    return a


def erlang_cycle(n: int, wrong: Wrong, k: int) -> list[float]:
    rate = k / 24.0
    stages = [f"s{i}" for i in range(k)]
    fast = rate * wrong.get("stage", 1.0)
    rules = [
        rule("become", f"cell[stage={a}] -> cell[stage={b}]", fast)
        for a, b in itertools.pairwise(stages)
    ]
    last, first = f"cell[stage={stages[-1]}]", f"cell[stage={stages[0]}]"
    rules.append(rule("divide", f"{last} -> {first} + {first}", fast))
    types = {"cell": {"axes": {"stage": stages}}}
    sim = started(dish(rules, {first: 20}, types=types, until=96.0, record=48.0), n)
    generator = erlang_generator(k, rate)
    exact = [(t, 20.0 * expm(generator * t)[:, 0].sum(), None) for t in (48.0, 96.0)]
    return course(
        f"Erlang {k}", sim, lambda: sim.counts["dish"].sum(axis=1).astype(float), exact, wrong
    )


def drug_kill(n: int, wrong: Wrong) -> list[float]:
    """Emax 1.2, EC50 1, Hill 2, level 5 exp(-0.3 t), 1e5 cells, t = 10."""
    effect = {"signal": "drug", "shape": {"hill": {"half": 1.0, "power": 2.0}}}
    rules = [rule("die", "x", 1.2 * wrong.get("kill", 1.0), modifiers=[effect])]
    signals = {
        "drug": {"unit": "dimensionless", "initial": 5.0, "clearance": "0.3 /h", "source": "test"}
    }
    scenario = dish(rules, {"x": 100_000}, until=10.0, exchange=0.5, signals=signals)
    sim = started(scenario, n)
    sim.advance(10.0)
    x = column(sim, "dish", "x")
    return [z(x, 166.83, 12.91), z_squares(x, 166.83, 12.91**2)]


CONJUGATION_TIMES = (1.0, 5.0, 10.0, 20.0)


def conjugation_exact() -> tuple[list[float], list[float]]:
    """Mean and sd of all targets from the full chain: (conjugates c, free targets f)."""
    states = [(c, f) for c in range(21) for f in range(81) if c + f <= 80]
    place = {s: i for i, s in enumerate(states)}
    from scipy.sparse import lil_matrix
    from scipy.sparse.linalg import expm_multiply

    q = lil_matrix((len(states), len(states)))
    for (c, f), i in place.items():
        for (dc, df), rate in (
            ((1, -1), 0.025 * (20 - c) * f),
            ((-1, 1), 0.1 * c),
            ((-1, 0), 0.5 * c),
        ):
            if rate > 0.0:
                j = place[c + dc, f + df]
                q[j, i] += rate
                q[i, i] -= rate
    p = np.zeros(len(states))
    p[place[0, 80]] = 1.0
    total = np.array([c + f for c, f in states], float)
    means, sds, now = [], [], 0.0
    q = q.tocsr()
    for t in CONJUGATION_TIMES:
        p, now = expm_multiply(q * (t - now), p), t
        means.append(float(p @ total))
        sds.append(math.sqrt(float(p @ total**2) - means[-1] ** 2))
    return means, sds


def conjugation(n: int, wrong: Wrong) -> list[float]:
    """E + T -> C (0.025), C -> E + T (0.1), C -> E (0.5), by mass action."""
    rules = [
        rule("contact", "e + t -> c + empty", 0.025 * wrong.get("on", 1.0)),
        rule("divide", "c -> e + t", 0.1 * wrong.get("off", 1.0)),
        rule("become", "c -> e", 0.5 * wrong.get("cat", 1.0)),
    ]
    # six virtual neighbours in a room of six sites: every pair meets at the rule's rate
    scenario = dish(
        rules,
        {"e": 20, "t": 80},
        types=plain("e", "t", "c"),
        space=mixed(room=6.0),
        until=20.0,
        record=1.0,
    )
    sim = started(scenario, n)
    exact = zip(CONJUGATION_TIMES, *conjugation_exact(), strict=True)
    return course(
        "conjugation",
        sim,
        lambda: column(sim, "dish", "t") + column(sim, "dish", "c"),
        exact,
        wrong,
    )


CASES: dict[str, tuple[Callable[[int, Wrong], list[float]], tuple[str, ...]]] = {
    "birth-death": (growing, ("birth", "death")),
    "critical": (critical, ("birth", "death")),
    "pure birth": (pure_birth, ("birth",)),
    "immigration-death": (immigration_death, ("arrival", "death")),
    "batch immigration": (batch_immigration, ("arrival", "death")),
    "scheduled reset": (scheduled_reset, ("arrival", "death")),
    "death counter": (death_counter, ("birth", "death")),
    "logistic": (logistic, ("birth", "death")),
    "Luria-Delbruck": (luria_delbruck, ("mutation",)),
    "Moran": (moran, ("fitness",)),
    "drug kill": (drug_kill, ("kill",)),
    "conjugation": (conjugation, ("on", "off", "cat")),
}
CONTROLS = [(name, rate) for name, (_, rates) in CASES.items() for rate in rates]


def check(name: str, size: Size, n: int, run: Callable[[int, Wrong], list[float]]) -> None:
    values = run(n, {})
    assert len(values) <= max(size.statistics, 1)
    proof.holds(name, values, size.z, n, STATISTICS.get(name, ()))


def check_control(name: str, rate: str, error: float, size: Size, n: int, run) -> None:
    values = run(n, {rate: 1.0 + error})
    proof.is_caught(name, f"{rate} {error:+.0%}", values, size.z, n)


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    size = POPULATION[name]
    check(name, size, size.ci or size.n, CASES[name][0])


@pytest.mark.parametrize(("name", "rate"), CONTROLS)
def test_control(name: str, rate: str) -> None:
    size = POPULATION[name]
    check_control(name, rate, size.ci_error or size.error, size, size.ci or size.n, CASES[name][0])


@pytest.mark.parametrize("k", CYCLE_GROWTH)
def test_erlang_cycle(k: int) -> None:
    growth = np.linalg.eigvals(erlang_generator(k, k / 24.0)).real.max()
    assert growth == pytest.approx(CYCLE_GROWTH[k], rel=2e-6)
    size = POPULATION["Erlang cycle"]
    check(f"Erlang {k}", size, size.n, lambda n, wrong: erlang_cycle(n, wrong, k))
    check_control(
        f"Erlang {k}", "stage", size.error, size, size.n, lambda n, w: erlang_cycle(n, w, k)
    )


def test_closed_forms_are_those_of_the_table() -> None:
    """Numbers of the published table, and textbook values the cases above approach."""
    assert moran_exact(1.1, 1e4) == pytest.approx(0.100153, abs=1e-6)
    assert luria_expected() == pytest.approx([0.135335, 0.135335, 0.112779, 0.0902235], abs=5e-4)
    means, _ = conjugation_exact()
    # the rate equations, which the mean of 80 targets follows within a target
    assert means == pytest.approx([75.341, 48.491, 22.193, 1.811], abs=0.6)


@pytest.mark.verify
@pytest.mark.parametrize("name", [name for name, size in POPULATION.items() if size.ci])
def test_case_in_full(name: str) -> None:
    size = POPULATION[name]
    run, rates = CASES[name]
    check(name, size, size.n, run)
    for rate in rates:
        check_control(name, rate, size.error, size, size.n, run)
