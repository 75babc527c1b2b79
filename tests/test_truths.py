"""Spatial processes on lattices of many tiles against exact laws.

Cases return Z values, as in `test_population`, and take the entries of the section ``run`` that choose
how the lattice is run: what holds exactly holds in every mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy.linalg import expm
from test_lattice import contact_process, eden
from test_population import Wrong, check, check_control, z, z_variance
from thresholds import LATTICE, TRUTHS
from worlds import (
    MODES,
    Options,
    box,
    column,
    lattice,
    pictures,
    placed,
    plain,
    rule,
    started,
    stepped,
)

pytestmark = pytest.mark.proof

HOP = 30.0  # tries per hour: lymphocytes in marrow; several per window of any length worth having


def laplacian(side: int, is_ring: bool) -> np.ndarray:
    """Generator of one walker on a line at rate 1 each way."""
    a = np.diag(np.ones(side - 1), 1)
    if is_ring:
        a[0, -1] = 1.0
    a = np.maximum(a, a.T)
    return a - np.diag(a.sum(axis=1))


def exclusion(
    n: int,
    wrong: Wrong,
    *,
    run_options: Options,
    boundary: str,
    shape: tuple[int, ...] = (48, 48),
    law: str = "",
) -> list[float]:
    """Walkers that hop into vacancies only, from a step: every row's mean, and the slowest mode.

    In symmetric exclusion d/dt E[n_i] = rate / z sum over neighbours j of (E[n_j] - E[n_i]), for
    n_i (1 - n_j) - n_j (1 - n_i) = n_i - n_j: the crowd spreads as free walkers do. Occupations are
    negatively dependent (Liggett 1985, Interacting Particle Systems, chapter VIII), so that the variance of a row is at most
    sum p (1 - p); the mode's is estimated.
    """
    side, across = shape[-1], math.prod(shape[:-1])
    law = law or boundary
    until = 8.0 if boundary == "periodic" else 24.0
    rules = [rule("move", "x", HOP * wrong.get("hop", 1.0))]
    space = lattice(*shape, boundary=boundary)
    scenario = box(rules, space, plain("x"), until=until, run_options=run_options)
    sim = started(stepped(scenario, ("x", across * (side // 2))), n)
    sim.advance(until)
    rows = (pictures(sim) > 0).reshape(n, side, across).sum(axis=2)
    step = (np.arange(side) < side // 2).astype(float)
    p = expm(laplacian(side, law == "periodic") * HOP / (2 * len(shape)) * until) @ step
    spread = np.sqrt(across * p * (1.0 - p))
    values = [z(rows[:, i], across * p[i], spread[i]) for i in range(side)]
    place = np.arange(side) + 0.5
    mode = np.sin(2.0 * np.pi * place / side)
    if law != "periodic":
        mode = np.cos(np.pi * place / side)
    return [*values, z(rows @ mode, float(across * p @ mode))]


def fixation(
    n: int, wrong: Wrong, *, run_options: Options, start: int, fitness: float, until: float
) -> list[float]:
    """Fitter cells a among cells b on a full torus: whether they take over.

    A pair a, b in contact becomes a, a at rate r and b, b at rate 1. With E such pairs the number of a
    rises at r E and falls at E, so r^(-number of a) is a martingale whatever the graph and the places,
    and with N sites

        P(fixation from i) = (1 - r^-i) / (1 - r^-N),

    the law of a well-mixed Moran process (Lieberman 2005, doi:10.1038/nature03204). The mean of
    (1 - r^-n(t)) / (1 - r^-N) is that probability at *every* time, absorbed or not, and its variance at
    most p (1 - p).
    """
    side = 16
    sites, r = side * side, fitness
    rules = [
        rule("contact", "a + b -> a + a", 10.0 * fitness * wrong.get("fitness", 1.0)),
        rule("contact", "b + a -> b + b", 10.0),
    ]
    scenario = box(
        rules, lattice(side, side), plain("a", "b"), until=until, run_options=run_options
    )
    scenario = placed(scenario, ("a", start), ("b", sites - start), where="random")
    sim = started(scenario, n)
    sim.advance(until)
    a = column(sim, "box", "a")
    assert np.all(a + column(sim, "box", "b") == sites)
    assert np.mean((a > 0) & (a < sites)) < 0.05, "too early to speak of fixation"
    p = (1.0 - r**-start) / (1.0 - r**-sites)
    return [z((1.0 - r**-a) / (1.0 - r**-sites), p, math.sqrt(p * (1.0 - p)))]


#: Per direction and hour; the density behind a front is BIRTH / (BIRTH + JUMP).
BIRTH, JUMP = 5.0, 7.5


def coalescing_rules(axes: int, wrong: Wrong, birth: float, jump: float) -> list[dict]:
    """A -> A A to each neighbour at ``birth``; hops at ``jump``; a hop onto another coalesces."""
    ways = 2 * axes
    return [
        rule("divide", "x -> x + x", ways * birth * wrong.get("birth", 1.0)),
        rule("move", "x", ways * jump * wrong.get("hop", 1.0)),
        # of a pair, either may jump onto the other
        rule("contact", "x + x -> empty + x", 2.0 * jump * wrong.get("coalescence", 1.0)),
    ]


def line_front(n: int, wrong: Wrong, *, run_options: Options) -> list[float]:
    """Both fronts of A <-> A A on a line, from one cell.

    The foremost cell steps on by a hop or a birth, at h + b. It steps back by a hop at h whether the
    site behind it is vacant or not, as it then merges. Hence its place is Skellam((h + b) t, h t): speed
    b, variance (2 h + b) t (the model of ben-Avraham, Burschka and Doering 1990,
    doi:10.1007/BF01025990, at finite rates). The cells behind do not matter.
    """
    birth, jump, until, side = 4.0, 6.0, 15.0, 321
    scenario = box(
        coalescing_rules(1, wrong, birth, jump),
        lattice(side, boundary="no-flux"),
        plain("x"),
        until=until,
        run_options=run_options,
    )
    sim = started(placed(scenario, ("x", 1)), n)
    sim.advance(until)
    taken = pictures(sim) > 0
    right = side - 1 - np.argmax(taken[:, ::-1], axis=1) - side // 2
    left = side // 2 - np.argmax(taken, axis=1)
    mean, variance = birth * until, (2.0 * jump + birth) * until
    values = []
    for front in (right.astype(float), left.astype(float)):
        values += [z(front, mean, math.sqrt(variance)), z_variance(front, mean, variance)]
    return values


def coalescence(
    n: int, wrong: Wrong, *, run_options: Options, shape: tuple[int, ...] = (48, 48)
) -> list[float]:
    """A <-> A A at rest: sites are occupied independently of each other at b / (b + h).

    On every pair of neighbours 10 <-> 11 goes at b and h and 10 <-> 01 is symmetric: the product
    measure is reversible in any dimension. Cells, cells side by side, and cells on even sites less
    those on odd ones have the moments of independent sites.
    """
    axes, sites = len(shape), math.prod(shape)
    rules = coalescing_rules(axes, wrong, BIRTH, JUMP)
    scenario = box(rules, lattice(*shape), plain("x"), until=1.0, run_options=run_options)
    p = BIRTH / (BIRTH + JUMP)
    sim = started(placed(scenario, ("x", round(0.5 * sites)), where="random"), n)
    sim.advance(1.0)
    taken = pictures(sim) > 0
    every = tuple(range(1, axes + 1))
    cells = taken.sum(axis=every).astype(float)
    pairs = sum((taken & np.roll(taken, 1, axis)).sum(axis=every) for axis in every)
    parity = np.indices(taken.shape[1:]).sum(axis=0) % 2
    uneven = (taken * (1 - 2 * parity)).sum(axis=every).astype(float)
    bonds, sharing = sites * axes, sites * axes * (2 * axes - 1)
    of_pairs = bonds * p**2 * (1.0 - p**2) + 2.0 * sharing * (p**3 - p**4)
    spread = math.sqrt(sites * p * (1.0 - p))
    return [
        z(cells, sites * p, spread),
        z_variance(cells, sites * p, spread**2),
        z(pairs, bonds * p**2, math.sqrt(of_pairs)),
        z(uneven, 0.0, spread),
    ]


Case = Callable[..., list[float]]
CASES: dict[str, tuple[Case, tuple[str, ...]]] = {
    "exclusion, torus": (partial(exclusion, boundary="periodic"), ("hop",)),
    "exclusion, walls": (partial(exclusion, boundary="no-flux"), ("hop",)),
    "exclusion, cube": (partial(exclusion, boundary="periodic", shape=(32, 32, 32)), ("hop",)),
    "fixation of half": (partial(fixation, start=128, fitness=1.01, until=60.0), ("fitness",)),
    "fixation of one": (partial(fixation, start=1, fitness=1.25, until=12.0), ("fitness",)),
    "front on a line": (line_front, ("birth", "hop", "coalescence")),
    "coalescence, square": (coalescence, ("birth", "coalescence")),
    "coalescence, cube": (partial(coalescence, shape=(16, 16, 32)), ("birth", "coalescence")),
}
USUAL = [name for name in CASES if TRUTHS[name].ci >= 0]
LONG = [name for name in CASES if TRUTHS[name].ci != 0]
#: Lattices of many tiles; the others are a line or one tile, where tiled mode is exact mode.
LARGE = [name for name in CASES if name.startswith(("exclusion", "coalescence"))]


def in_modes(names: list[str]) -> list[tuple[str, str]]:
    """Every case in every mode that is something else for it."""
    return [(name, mode) for name in names for mode in MODES if mode == "exact" or name in LARGE]


@pytest.mark.parametrize(("name", "mode"), in_modes(USUAL))
def test_case(name: str, mode: str) -> None:
    size = TRUTHS[name]
    n = size.ci or size.n
    run = partial(CASES[name][0], run_options=MODES[mode])
    check(name, size, n, run)
    for rate in CASES[name][1]:
        check_control(name, rate, size.ci_error or size.error, size, n, run)


@pytest.mark.verify
@pytest.mark.parametrize(("name", "mode"), in_modes(LONG))
def test_case_in_full(name: str, mode: str) -> None:
    size = TRUTHS[name]
    run = partial(CASES[name][0], run_options=MODES[mode])
    check(name, size, size.n, run)
    for rate in CASES[name][1]:
        check_control(name, rate, size.error, size, size.n, run)


def test_walls_are_seen() -> None:
    """Negative control: a crowd between walls does not spread by the law of the torus."""
    size = TRUTHS["exclusion, walls"]
    values = exclusion(size.ci, {}, run_options={}, boundary="no-flux", law="periodic")
    assert max(map(abs, values)) > size.z


def test_eden_on_a_line() -> None:
    """The simplest front: 1 + Poisson(birth t) cells."""
    size = LATTICE["Eden"]
    check("Eden", size, size.n, eden)


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
def test_contact_process_by_mode(mode: str) -> None:
    """The stated density of the square lattice, 0.229 at birth 1.8, and what 2 % in birth changes."""
    run = partial(contact_process, side=128, until=200.0, replicates=16, run_options=MODES[mode])
    assert run(1.8, seed=3).mean() == pytest.approx(0.229, abs=0.006)
    assert abs(run(1.8 * 1.02, seed=3).mean() - 0.229) > 0.006
    assert run(1.5, seed=4)[-1].max() < 0.002
