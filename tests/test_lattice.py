"""Lattice processes against exact answers.

Cases return Z values, as in `test_population`; boxes fuller than the front door allows are filled in
the model itself.
"""

from __future__ import annotations

import math

import numpy as np
import proof
import pytest
from scipy.linalg import expm
from scipy.stats import gamma
from test_population import Wrong, check, check_control, course, z, z_share, z_variance
from thresholds import LATTICE
from worlds import NO_OPTIONS, Options, box, column, lattice, placed, plain, rule, started

pytestmark = pytest.mark.proof


def complete_graph_exact(
    birth: float, death: float, times: tuple[float, ...]
) -> list[tuple[float, float]]:
    """(mean, extinct) of births that try one of the other 26 of 27 sites."""
    q = np.zeros((28, 28))
    for i in range(1, 28):
        up, down = birth * i * (27 - i) / 26.0, death * i
        if i < 27:
            q[i + 1, i] = up
        q[i - 1, i] = down
        q[i, i] = -(up + down)
    return [(float(expm(q * t)[:, 1] @ np.arange(28)), float(expm(q * t)[0, 1])) for t in times]


def complete_graph(n: int, wrong: Wrong) -> list[float]:
    rules = [
        rule("divide", "x -> x + x", 1.0 * wrong.get("birth", 1.0)),
        rule("die", "x", 0.4 * wrong.get("death", 1.0)),
    ]
    scenario = box(rules, lattice(3, 3, 3, neighbours=26), plain("x"), until=4.0, record=1.0)
    sim = started(placed(scenario, ("x", 1)), n)
    values = []
    for t, mean, extinct in (
        (1.0, 1.74426, 0.231471),
        (2.0, 2.74873, 0.319162),
        (4.0, 5.04437, 0.382396),
    ):
        sim.advance(t)
        x = column(sim, "box", "x")
        values += [z(x, mean), z_share(x == 0, extinct)]
    return values


def test_complete_graph_numbers() -> None:
    found = complete_graph_exact(1.0, 0.4, (1.0, 2.0, 4.0))
    want = [(1.74426, 0.231471), (2.74873, 0.319162), (5.04437, 0.382396)]
    assert np.array(found) == pytest.approx(np.array(want), rel=5e-6)


def walk(n: int, wrong: Wrong, *, shape: tuple[int, ...], batch: int) -> np.ndarray:
    """Displacements of free walkers, (n, axes); hops 2 per hour for 10 hours."""
    scenario = box(
        [rule("move", "x", 2.0 * wrong.get("hop", 1.0))], lattice(*shape), plain("x"), until=10.0
    )
    scenario = placed(scenario, ("x", 1))
    found = []
    for first in range(0, n, batch):
        sim = started(scenario, min(batch, n - first), first_replicate=first)
        before = np.nonzero(sim.state.lattice.species)[1]
        sim.advance(10.0)
        after = np.nonzero(sim.state.lattice.species)[1]
        assert len(after) == len(before)
        steps = []
        for side in shape:
            steps.append(after % side - before % side)
            before, after = before // side, after // side
        found.append(np.stack(steps, axis=1))
    return np.concatenate(found)


def free_walk(n: int, wrong: Wrong) -> list[float]:
    """Mean squared displacement 20; each axis and diagonal drifts by nothing. 20 sd to a wall."""
    d = walk(n, wrong, shape=(41, 41), batch=5000)
    square = (d**2).sum(axis=1).astype(float)
    spread = math.sqrt(10.0 / n)
    return [
        z(square, 20.0),
        d[:, 0].mean() / spread,
        d[:, 1].mean() / spread,
        z((d[:, 0] * d[:, 1]).astype(float), 0.0),
    ]


def test_free_walk_in_space() -> None:
    """Three dimensions: the same square displacement, no drift along an axis (six directions)."""
    n = 2000
    d = walk(n, {}, shape=(31, 31, 31), batch=500)
    values = [z((d**2).sum(axis=1).astype(float), 20.0)]
    for axis in range(3):
        values.append(d[:, axis].mean() / math.sqrt(20.0 / 3.0 / n))
        values.append(z(d[:, axis].astype(float) ** 2, 20.0 / 3.0))
    proof.holds("free walk in space", values, LATTICE["free walk"].z, n)


def eden(
    n: int, wrong: Wrong, placement: str = "attempt", run_options: Options = NO_OPTIONS
) -> list[float]:
    """On a line only the two ends grow; an attempt points outwards every other time."""
    divide = rule("divide", "x -> x + x", 1.0 * wrong.get("birth", 1.0), place=placement)
    line = lattice(101, boundary="no-flux")
    scenario = box([divide], line, plain("x"), until=10.0, run_options=run_options)
    sim = started(placed(scenario, ("x", 1)), n)
    sim.advance(10.0)
    x = column(sim, "box", "x")
    if placement == "attempt":
        return [z(x - 1.0, 10.0, math.sqrt(10.0)), z_variance(x, 11.0, 10.0)]
    # a cell alone grows at rate 1, two ends at rate 2 from then on
    first = np.exp(-10.0)
    mean = 1.0 + 20.0 - 1.0 * (1.0 - first)
    return [z(x, mean)]


def static_effector(n: int, wrong: Wrong) -> list[float]:
    rules = [rule("contact", "k + p -> k + empty", 0.5 * wrong.get("kill", 1.0))]
    scenario = box(rules, lattice(5, 5), plain("k", "p"), until=2.0)
    sim = started(placed(scenario, ("k", 1), ("p", 4)), n)
    sim.advance(2.0)
    p = math.exp(-1.0)
    x = column(sim, "box", "p")
    return [
        z(x, 4.0 * p, math.sqrt(4.0 * p * (1.0 - p))),
        z_variance(x, 4.0 * p, 4.0 * p * (1.0 - p)),
    ]


SERIAL_TIMES = (4.0, 8.0, 12.0, 16.0)


def serial_killer(n: int, wrong: Wrong) -> list[float]:
    """A killer at the end of a line of four targets steps into the place of each it kills."""
    rules = [rule("contact", "k + p -> empty + k", 0.5 * wrong.get("kill", 1.0))]
    scenario = box(rules, lattice(5, boundary="no-flux"), plain("k", "p"), until=16.0, record=4.0)
    sim = started(placed(scenario, ("p", 4), ("k", 1)), n)
    dead = [float(gamma.cdf(t, 4, scale=2.0)) for t in SERIAL_TIMES]
    exact = [(t, p, math.sqrt(p * (1.0 - p))) for t, p in zip(SERIAL_TIMES, dead, strict=True)]
    return course(
        "serial killer", sim, lambda: column(sim, "box", "p") == 0, exact, wrong, of="all dead"
    )


CASES = {
    "complete graph": (complete_graph, ("birth", "death")),
    "free walk": (free_walk, ("hop",)),
    "Eden": (eden, ("birth",)),
    "static effector": (static_effector, ("kill",)),
    "serial killer": (serial_killer, ("kill",)),
}
CONTROLS = [(name, rate) for name, (_, rates) in CASES.items() for rate in rates]


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    size = LATTICE[name]
    check(name, size, size.ci or size.n, CASES[name][0])


@pytest.mark.parametrize(("name", "rate"), CONTROLS)
def test_control(name: str, rate: str) -> None:
    size = LATTICE[name]
    check_control(name, rate, size.ci_error or size.error, size, size.ci or size.n, CASES[name][0])


@pytest.mark.verify
@pytest.mark.parametrize(
    "name", [name for name, size in LATTICE.items() if size.ci and name in CASES]
)
def test_case_in_full(name: str) -> None:
    size = LATTICE[name]
    run, rates = CASES[name]
    check(name, size, size.n, run)
    for rate in rates:
        check_control(name, rate, size.error, size, size.n, run)


def test_eden_vacant() -> None:
    """A daughter that looks for a vacant neighbour: both ends grow at the full rate."""
    size = LATTICE["Eden"]
    check("Eden vacant", size, size.n, lambda n, wrong: eden(n, wrong, "vacant"))
    check_control(
        "Eden vacant", "birth", size.error, size, size.n, lambda n, w: eden(n, w, "vacant")
    )


def test_direction_bias_would_be_seen() -> None:
    """Negative control: 2 % of the steps to the right turned left show in the mean of x."""
    size = LATTICE["free walk"]
    d = walk(size.ci or size.n, {}, shape=(41, 41), batch=5000)
    # 5 steps to the right are expected; one in fifty turned shifts x by 2 * 5 * 0.02, 12 sd
    turned = d[:, 0] - 2 * np.random.default_rng(1).binomial(5, 0.02, len(d))
    value = turned.mean() / math.sqrt(10.0 / len(d))
    proof.is_caught("free walk", "1 step in 50 to the right turned", [value], size.z, len(d))


def contact_process(
    rate: float,
    side: int,
    until: float,
    replicates: int,
    seed: int,
    run_options: Options = NO_OPTIONS,
) -> np.ndarray:
    """Density of a full square lattice at four late times, (times, replicates).

    The seed stays fixed: the tolerance is that of a published density and of few replicates, it has
    no known rate of false alarms.
    """
    rules = [rule("divide", "x -> x + x", rate), rule("die", "x", 1.0)]
    space = lattice(side, side)
    scenario = box(rules, space, plain("x"), until=until, record=until / 8, run_options=run_options)
    sim = started(placed(scenario, ("x", side * side), where="random"), replicates, seed=seed)
    found = []
    for i in range(5, 9):
        sim.advance(until * i / 8)
        found.append(column(sim, "box", "x") / side**2)
    return np.array(found)


def check_density(name: str, side: int, until: float, tolerance: float) -> None:
    """Settled density at rate 1.8, in units of its tolerance; a rate 2 % higher is seen."""
    found = [
        (contact_process(1.8 * wrong, side, until, 16, 2).mean() - 0.229) / tolerance
        for wrong in (1.0, 1.02)
    ]
    proof.holds(name, found[:1], 1.0, 16, ("density, in tolerances",))
    proof.is_caught(name, "birth +2%", found[1:], 1.0, 16)


def test_contact_process() -> None:
    """Below the critical rate 1.6488 all die, above it a share of sites stays occupied (reduced)."""
    assert contact_process(1.5, 48, 200.0, 4, 1)[-1].max() < 0.01
    check_density("contact process", 64, 60.0, 0.012)


@pytest.mark.verify
def test_contact_process_in_full() -> None:
    assert contact_process(1.5, 128, 200.0, 8, 1)[-1].max() < 0.002
    check_density("contact process in full", 128, 200.0, 0.006)


def test_first_cells_have_sites_of_their_own() -> None:
    """Four of five sites are filled; a site drawn twice would lose a cell."""
    scenario = box([rule("die", "a", 1.0)], lattice(5, 5, 5), plain("a", "b"), until=1.0)
    sim = started(placed(scenario, ("a", 60), ("b", 40), where="random"), 20)
    assert np.all(sim.counts["box"] == [25, 60, 40])


@pytest.mark.parametrize("boundary", ["periodic", "no-flux"])
def test_fields_of_static_cells(boundary: str) -> None:
    """Distances and contacts that modifiers read, against a search from every site."""
    shape = (7, 6, 5)
    near = {"distance": "wall", "shape": {"step": {"at": 2, "below": 1, "above": 0}}}
    touching = {"site": "wall", "shape": {"linear": {"slope": 1.0}}}
    rules = [rule("die", "x", 1.0, modifiers=[near]), rule("die", "x", 1.0, modifiers=[touching])]
    types = plain("x") | {"wall": {"static": True}}
    scenario = box(rules, lattice(*shape, boundary=boundary), types, until=1.0)
    sim = started(placed(scenario, ("wall", 4), ("x", 20), where="random"), 3)
    assert sim.compiled.fields == (("distance", "wall"), ("site", "wall"))
    wall = sim.compiled.species_names.index("wall")
    for r in range(3):
        solid = [s for s in np.ndindex(*shape[::-1]) if site(sim, r, s) == wall]
        assert len(solid) == 4
        for here in np.ndindex(*shape[::-1]):
            steps = [apart(here, there, shape[::-1], boundary) for there in solid]
            i = number(here, shape)
            assert sim.state.lattice.fields[0, r, i] == min(steps)
            assert sim.state.lattice.fields[1, r, i] == steps.count(1)


def number(place: tuple[int, ...], shape: tuple[int, ...]) -> int:
    z_, y, x = place
    return x + shape[0] * (y + shape[1] * z_)


def site(sim, r: int, place: tuple[int, ...]) -> int:
    space = sim.geometry.spaces[0]
    return sim.state.lattice.species[r, number(place, (int(space["nx"]), int(space["ny"]), 0))]


def apart(a: tuple[int, ...], b: tuple[int, ...], sides: tuple[int, ...], boundary: str) -> int:
    """Steps along the axes."""
    total = 0
    for i, j, n in zip(a, b, sides, strict=True):
        d = abs(i - j)
        total += min(d, n - d) if boundary == "periodic" else d
    return total
