"""Crowded lattices: tracers among others, swaps, and divisions that push.

With cells in more than half of the sites, as in marrow, a hop or a daughter finds its site taken most of
the time. What the crowd then does to motion is known exactly or closely, and what swapping and pushing
take away from it is shown as numbers and as a figure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive
from test_population import Wrong, check, check_control, z
from thresholds import (
    CHAINS,
    CROWDED,
    JAMMED,
    ONE,
    PUSHED,
    TRACER_ERROR,
    TRACER_SE,
    TRACER_TOLERANCE,
    TRACERS,
)
from worlds import (
    MODES,
    Options,
    booked,
    box,
    lattice,
    mixed,
    placed,
    plain,
    positions,
    rule,
    shortest,
    started,
    stepped,
    world,
)

pytestmark = pytest.mark.proof

HOP = 30.0  # tries per hour
FIGURE = Path(__file__).parents[1] / "out" / "verify" / "crowding.png"


def moved(sim, species: str, before: np.ndarray) -> np.ndarray:
    """Displacements since ``before``, (replicate, cell, axis)."""
    shape = sim.scenario.model.compartments[0].shape
    return shortest(positions(sim, species) - before, shape)


def one_swaps(n: int, wrong: Wrong, *, run_options: Options) -> list[float]:
    """One cell that changes places with whom it meets is a free walker in a crowd that hops itself.

    Each of its tries succeeds, and nothing else moves it: mean square displacement = rate x time. (Were
    the others to swap with it too, it would also be moved by them.)
    """
    until, side = 0.3, 32
    rules = [
        rule("move", "t", HOP * wrong.get("hop", 1.0), swap_with="x"),
        rule("move", "x", HOP),
    ]
    scenario = box(
        rules,
        lattice(side, side),
        plain("t", "x"),
        until=until,
        run_options=run_options,
        identity=True,
    )
    scenario = placed(scenario, ("t", 1), ("x", int(0.7 * side**2)), where="random")
    found = []
    for first in range(0, n, 2000):
        sim = started(scenario, min(2000, n - first), first_replicate=first)
        before = positions(sim, "t")
        sim.advance(until)
        found.append(moved(sim, "t", before))
    d = np.concatenate(found)[:, 0].astype(float)
    return [
        z((d**2).sum(axis=1), HOP * until),
        z(d[:, 0], 0.0),
        z(d[:, 1], 0.0),
        z(d[:, 0] * d[:, 1], 0.0),
    ]


def all_swap(n: int, wrong: Wrong, *, run_options: Options) -> list[float]:
    """A full lattice in which everyone swaps: each cell is a free walker at twice the rate.

    Half of its steps are its own, half are those of neighbours that change places with it.
    """
    until, side = 1.0 / 3.0, 48
    rules = [rule("move", "x", HOP * wrong.get("hop", 1.0), swap_with="x")]
    scenario = box(
        rules, lattice(side, side), plain("x"), until=until, run_options=run_options, identity=True
    )
    sim = started(placed(scenario, ("x", side * side), where="random"), n)
    before = positions(sim, "x")
    sim.advance(until)
    d = moved(sim, "x", before).astype(float)
    return [
        z((d**2).sum(axis=2).mean(axis=1), 2.0 * HOP * until),
        z((d[..., 0] ** 2 - d[..., 1] ** 2).mean(axis=1), 0.0),
        z((d[..., 0] * d[..., 1]).mean(axis=1), 0.0),
    ]


CASES: dict[str, Callable[..., list[float]]] = {"one swaps": one_swaps, "all swap": all_swap}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CASES)
def test_case(name: str, mode: str) -> None:
    size = CROWDED[name]
    n, run = size.ci or size.n, partial(CASES[name], run_options=MODES[mode])
    check(name, size, n, run)
    check_control(name, "hop", size.ci_error or size.error, size, n, run)


@pytest.mark.verify
def test_one_swaps_in_full() -> None:
    """In exact mode: tiles are for few large lattices, not for very many small ones."""
    size = CROWDED["one swaps"]
    run = partial(one_swaps, run_options={})
    check("one swaps", size, size.n, run)
    check_control("one swaps", "hop", size.error, size, size.n, run)


def potential(axes: int) -> float:
    """G(0) - G(2 e) of the simple walk's Green function: 4 - 8 / pi on the square lattice.

    G(x) = integral over t > 0 of exp(-t) times the product of I_x(t / axes) over the axes.
    """

    def integrand(t: float) -> float:
        s = t / axes
        return float(ive(0, s) ** (axes - 1) * (ive(0, s) - ive(2, s)))

    cut = 200.0
    return quad(integrand, 0.0, cut, limit=500)[0] + quad(integrand, cut, np.inf, limit=500)[0]


def nakazato_kitahara(c: float, axes: int) -> float:
    """Correlation factor f of a tracer among its like: D = (1 - c) f D(free).

        f = 1 - 2 c a / (2 d (2 - c) - a (2 - 3 c)),  a = G(0) - G(2 e).

    Nakazato and Kitahara 1980 (doi:10.1143/PTP.64.2261) for equal rates; to first order exact for c -> 0
    and for c -> 1, where it is (2 d - a) / (2 d + a): 1 / (pi - 1) and 0.6531.
    """
    a = potential(axes)
    return 1.0 - 2.0 * c * a / (2.0 * axes * (2.0 - c) - a * (2.0 - 3.0 * c))


def tracers(
    n: int,
    wrong: Wrong,
    *,
    run_options: Options,
    c: float,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Correlation factor of cells that hop into vacancies only, one number per replicate.

    All cells are tracers. The slope between 15 and 60 tries leaves out what is gained before the
    surroundings have answered (and, on the square, all but 0.3 % of the logarithm of
    van Beijeren and Kutner 1985, doi:10.1103/PhysRevLett.55.238).
    """
    times = (15.0 / HOP, 60.0 / HOP)
    rules = [rule("move", "x", HOP * wrong.get("hop", 1.0))]
    scenario = box(
        rules, lattice(*shape), plain("x"), until=times[1], run_options=run_options, identity=True
    )
    sites = int(np.prod(shape))
    scenario = placed(scenario, ("x", round(c * sites)), where="random")
    square: tuple[list, list] = ([], [])
    batch = 2**21 // sites
    for first in range(0, n, batch):
        sim = started(scenario, min(batch, n - first), first_replicate=first)
        before = positions(sim, "x")
        for t, values in zip(times, square, strict=True):
            sim.advance(t)
            values.append((moved(sim, "x", before) ** 2).sum(axis=2).mean(axis=1))
    early, late = (np.concatenate(values) for values in square)
    vacant = 1.0 - (round(c * sites) - 1) / (sites - 1)
    return (late - early) / (HOP * (times[1] - times[0]) * vacant)


def check_tracers(name: str, n: int, run_options: Options, c: float) -> None:
    shape = SHAPES[name]
    theory = nakazato_kitahara(c, len(shape))
    run = partial(tracers, run_options=run_options, c=c, shape=shape)
    f = run(n, {})
    assert np.std(f) / np.sqrt(n) < TRACER_SE * theory, "too few for what is claimed"
    assert abs(f.mean() / theory - 1.0) < TRACER_TOLERANCE, (f.mean(), theory)
    assert z(f, 1.0) < -ONE, "no slower than mean field"
    wrong = run(n, {"hop": 1.0 + TRACER_ERROR})
    assert abs(wrong.mean() / theory - 1.0) > TRACER_TOLERANCE


def test_limits_of_the_correlation_factor() -> None:
    assert potential(2) == pytest.approx(4.0 - 8.0 / np.pi, abs=1e-6)
    assert nakazato_kitahara(1.0, 2) == pytest.approx(1.0 / (np.pi - 1.0), abs=1e-6)
    assert nakazato_kitahara(1.0, 3) == pytest.approx(0.653109, abs=1e-6)


SHAPES = {"square": (48, 48), "cube": (32, 32, 32)}


@pytest.mark.parametrize("mode", MODES)
def test_tracers(mode: str) -> None:
    check_tracers("square", TRACERS["square"], MODES[mode], 0.5)


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("c", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", SHAPES)
def test_tracers_in_full(name: str, c: float, mode: str) -> None:
    check_tracers(name, 4 * TRACERS[name], MODES[mode], c)


OCCUPANCIES = (0.5, 0.6, 0.7, 0.8, 0.9)


def lymphocytes(
    occupancy: float, n: int, wrong: Wrong, *, run_options: Options, swaps: bool
) -> np.ndarray:
    """Displacement of T cells among cells that stay, as a share of free walking, by replicate.

    With swaps, every try at a cell that stays succeeds, so that the law of the T cells among
    themselves does not know the occupancy. Each occupancy has a seed of its own: in exact mode the same
    seed gives the same walks.
    """
    shape, until = (16, 16, 32), 0.4  # 4 sd to half a side
    sites = int(np.prod(shape))
    t, x = round(0.03 * sites), round((occupancy - 0.03) * sites)
    more = {"swap_with": ["x", "t"]} if swaps else {}
    rules = [rule("move", "t", HOP * wrong.get("hop", 1.0), **more)]
    scenario = box(
        rules,
        lattice(*shape),
        plain("t", "x"),
        until=until,
        run_options=run_options,
        identity=True,
    )
    scenario = placed(scenario, ("t", t), ("x", x), where="random")
    sim = started(scenario, n, seed=round(100 * occupancy) + 1000 * len(wrong))
    before = positions(sim, "t")
    sim.advance(until)
    return (moved(sim, "t", before) ** 2).sum(axis=2).mean(axis=1) / (HOP * until)


def compared(a: np.ndarray, b: np.ndarray) -> float:
    """Z of the difference of two samples."""
    return float((a.mean() - b.mean()) / np.sqrt(a.var() / len(a) + b.var() / len(b)))


def chain_output(
    occupancy: float, *, run_options: Options, pushes: bool, stirring: float = 3.0
) -> float:
    """Mature cells that leave at a wall, as a share of those that stem cells would make unhindered.

    Stem cells divide once an hour; what they make walks to a wall of sinusoid and leaves. Idle cells,
    which hop into vacancies at ``stirring`` an hour, fill up to the occupancy. Hours 20 to 60; it takes
    some 4 h to the wall.
    """
    shape, until = (32, 32, 16), 60.0
    wall = shape[0] * shape[1]
    sites = int(np.prod(shape)) - wall
    stem = round(0.005 * sites)
    idle = round(occupancy * sites) - stem
    place = {"push": 4} if pushes else "attempt"
    swap = {"swap_with": ["stem", "mature", "idle"]} if pushes else {}
    leaving = {"on": "box", "at": {"next_to": "sinusoid"}}
    rules = [
        rule("divide", "stem -> stem + mature", 1.0, place=place, on="box"),
        rule("move", "mature", HOP, on="box", **swap),
        rule("leave", "mature -> blood", 60.0, **leaving),
        rule("move", "idle", stirring, on="box"),
    ]
    types = plain("stem", "mature", "idle") | {"sinusoid": {"static": True}}
    scenario = world(
        rules,
        {"box": lattice(*shape), "blood": mixed(room=1e6)},
        {"box": {"stem": 1, "idle": 1}, "blood": {}},
        types=types,
        until=until,
        record=20.0,
        run_options=run_options,
    )
    first = stepped(scenario, ("sinusoid", wall)).model.initial
    rest = placed(scenario, ("stem", stem), ("idle", idle), where="random").model.initial
    scenario = replace(scenario, model=replace(scenario.model, initial=first + rest))
    sim = started(scenario, CHAINS)
    sim.advance(20.0)
    before = booked(sim, 2).sum()
    sim.advance(until)
    return float(booked(sim, 2).sum() - before) / (CHAINS * stem * (until - 20.0))


def check_crowding(n: int, error: float, run_options: Options, occupancies: tuple) -> dict:
    """Displacement and output by occupancy, with swaps and pushes and without; asserted and returned."""
    size = CROWDED["swap"]
    walk = partial(lymphocytes, n=n, run_options=run_options)
    free = {c: walk(c, wrong={}, swaps=True) for c in occupancies}
    stuck = {c: walk(c, wrong={}, swaps=False) for c in occupancies}
    first, *others = occupancies
    for c in others:
        assert abs(compared(free[c], free[first])) < size.z, (c, free[c].mean())
    wrong = walk(occupancies[-1], wrong={"hop": 1.0 - error}, swaps=True)
    assert abs(compared(wrong, free[first])) > size.z, "a dependence of that size would be missed"
    pushed = {c: chain_output(c, run_options=run_options, pushes=True) for c in occupancies}
    jammed = {c: chain_output(c, run_options=run_options, pushes=False) for c in occupancies}
    assert min(pushed.values()) > PUSHED, pushed
    assert max(pushed.values()) < 2.0 - PUSHED, pushed
    assert jammed[occupancies[-1]] < JAMMED, jammed
    # where idle cells stay for good, pushed cells pile up away from the wall and vacancies do not follow
    piled = chain_output(occupancies[-1], run_options=run_options, pushes=True, stirring=0.0)
    assert piled < PUSHED, piled
    assert stuck[occupancies[-1]].mean() < JAMMED, stuck
    return {"free": free, "stuck": stuck, "pushed": pushed, "jammed": jammed}


@pytest.mark.parametrize("mode", MODES)
def test_crowds_do_not_jam(mode: str) -> None:
    size = CROWDED["swap"]
    check_crowding(size.ci, size.ci_error, MODES[mode], (0.5, 0.9))


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
def test_crowds_do_not_jam_in_full(mode: str) -> None:
    """At five occupancies, drawn as out/verify/crowding.png (other modes: with their name)."""
    size = CROWDED["swap"]
    found = check_crowding(size.n, size.error, MODES[mode], OCCUPANCIES)
    path = FIGURE if mode == "exact" else FIGURE.with_stem(f"{FIGURE.stem}_{mode}")
    draw_crowding(found, path)
    assert path.stat().st_size > 0


def draw_crowding(found: dict, path: Path) -> None:
    """What `check_crowding` found, as a figure of two panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for key, label in (("free", "swap with others"), ("stuck", "hop into vacancies only")):
        mean = [values.mean() for values in found[key].values()]
        error = [3.0 * values.std() / np.sqrt(len(values)) for values in found[key].values()]
        left.errorbar(list(found[key]), mean, error, marker="o", capsize=3, label=label)
    for key, label in (("pushed", "push and swap"), ("jammed", "divide and hop into vacancies")):
        right.plot(list(found[key]), list(found[key].values()), marker="o", label=label)
    left.set(title="T cells", ylabel="share of the unhindered", ylim=(0.0, 1.15))
    left.set_xlabel("occupancy")
    left.text(
        0.5, 0.72, "mean square displacement; bars 3 s.e.", transform=left.transAxes, ha="center"
    )
    right.set(title="maturing chain", xlabel="occupancy")
    right.text(0.5, 0.72, "cells that leave at the wall", transform=right.transAxes, ha="center")
    for axes in (left, right):
        axes.axhline(1.0, color="grey", lw=0.8)
        axes.legend(frameon=False, loc="center left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
