"""Fields in space: spreading against closed forms, what cells make and read of them, biased steps."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import proof
import pytest
from field_worlds import (
    biased,
    busy_field,
    cells_by_block,
    dense_laplacian,
    field,
    followed,
    made,
    stationary,
)
from scipy.linalg import expm
from test_twin import compare
from thresholds import FIELDS
from worlds import MODES, booked, box, column, lattice, mixed, pictures, plain, rule, started, world

import mst_abm
from mst_abm.engine.diffusion import Diffusion, eigenvalues, weights
from mst_abm.errors import ModelError, ScenarioError
from mst_abm.model.definition import Shape
from mst_abm.model.fields import usual_block
from mst_abm.model.laws import evaluate, greatest
from mst_abm.report.check import check_text
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario, load_scenario_text

pytestmark = pytest.mark.proof

CONFIG = Path(__file__).parents[1] / "configs" / "chemotaxis_dish.yaml"
SPACES = {
    "cube": ((6, 5, 4), (True, True, True)),
    "walls": ((4, 6, 5), (False, False, False)),
    "both": ((5, 4, 7), (True, False, True)),
    "square": ((1, 6, 5), (False, True, False)),
    "line": ((1, 1, 8), (False, False, True)),
}

# ------------------------------------------------------------------ spreading


@pytest.mark.parametrize("ring", [True, False])
def test_a_single_mode_decays_at_its_own_rate(ring: bool) -> None:
    n, width, diffusion, decay, hours = 12, 32.0, 700.0, 0.3, 0.7
    x = np.arange(n)
    for k in (1, 3, 5):
        wave = np.cos(2 * math.pi * k * x / n if ring else math.pi * k * (x + 0.5) / n)
        theta = (2 if ring else 1) * math.pi * k / n
        rate = decay + diffusion * (2 - 2 * math.cos(theta)) / width**2
        spread = Diffusion((1, 1, n), (False, False, ring), width, diffusion, decay)
        ends, means = spread.advance((2.0 + wave).reshape(1, 1, n), np.zeros((1, 1, n)), hours)
        exact = 2.0 * math.exp(-decay * hours) + wave * math.exp(-rate * hours)
        assert np.allclose(ends[0, 0], exact, rtol=1e-12)
        mean = [(1 - math.exp(-r * hours)) / (r * hours) for r in (decay, rate)]
        assert np.allclose(means[0, 0], 2.0 * mean[0] + wave * mean[1], rtol=1e-12)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("decay", [0.0, 1.3])
def test_spreading_with_sources_against_the_matrix_exponential(space: str, decay: float) -> None:
    """Levels and means of any start and any sources; the matrix is made neighbour by neighbour."""
    shape, rings = SPACES[space]
    rng = np.random.default_rng(5)
    levels, income = rng.random(shape) * 3.0, rng.random(shape)
    hours, width, diffusion = 0.9, 16.0, 400.0
    spread = Diffusion(shape, rings, width, diffusion, decay)
    ends, means = spread.advance(levels, income, hours)
    n = levels.size
    inner = diffusion * dense_laplacian(shape, rings, width) - decay * np.eye(n)
    whole = np.zeros((3 * n, 3 * n))  # levels, sources that stand still, integral of levels
    whole[:n, :n], whole[:n, n : 2 * n], whole[2 * n :, :n] = inner, np.eye(n), np.eye(n)
    after = expm(whole * hours) @ np.concatenate([levels.ravel(), income.ravel(), np.zeros(n)])
    assert np.allclose(ends.ravel(), after[:n], rtol=1e-10)
    assert np.allclose(means.ravel(), after[2 * n :] / hours, rtol=1e-10)
    # negative control: a hundredth more diffusion is seen
    other, _ = Diffusion(shape, rings, width, 1.01 * diffusion, decay).advance(
        levels, income, hours
    )
    assert not np.allclose(other.ravel(), after[:n], rtol=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_without_decay_only_sources_change_the_sum(space: str) -> None:
    shape, rings = SPACES[space]
    rng = np.random.default_rng(6)
    levels, income = rng.random(shape), rng.random(shape)
    spread = Diffusion(shape, rings, 8.0, 5000.0, 0.0)
    total = levels.sum()
    for _ in range(20):
        levels, means = spread.advance(levels, income, 0.25)
        assert means.sum() == pytest.approx(total + 0.5 * 0.25 * income.sum(), rel=1e-12)
        total += 0.25 * income.sum()
        assert levels.sum() == pytest.approx(total, rel=1e-12)


def test_two_halves_are_a_whole() -> None:
    shape, rings = SPACES["both"]
    rng = np.random.default_rng(7)
    levels, income = rng.random(shape), rng.random(shape)
    spread = Diffusion(shape, rings, 8.0, 30.0, 0.4)
    whole, mean = spread.advance(levels, income, 1.0)
    half, first = spread.advance(levels, income, 0.5)
    ends, second = spread.advance(half, income, 0.5)
    assert np.allclose(ends, whole, rtol=1e-12)
    assert np.allclose((first + second) / 2, mean, rtol=1e-12)


def point_source(n: int, reach: float) -> np.ndarray:
    """Levels at rest about one block of a periodic box; ``reach`` in blocks."""
    spread = Diffusion((n, n, n), (True, True, True), 1.0, reach**2, 1.0)
    income = np.zeros((n, n, n))
    income[0, 0, 0] = 1.0
    levels, _ = spread.advance(np.zeros_like(income), income, 60.0)
    return levels


def test_point_source_in_a_periodic_box_is_the_discrete_series() -> None:
    """c = sum over modes of cos(theta . x) / (n^3 (decay + D lambda)), added up one by one."""
    n, reach = 6, 1.5
    found = point_source(n, reach)
    rates = 1.0 + reach**2 * eigenvalues((n, n, n), (True, True, True), 1.0)
    for z, y, x in ((0, 0, 0), (0, 0, 3), (1, 2, 3), (5, 1, 4)):
        exact = sum(
            math.cos(2 * math.pi * (a * z + b * y + c * x) / n) / rates[a, b, c]
            for a, b, c in np.ndindex(n, n, n)
        )
        assert found[z, y, x] == pytest.approx(exact / n**3, rel=1e-10)


def test_point_source_is_the_screened_green_s_function_away_from_it() -> None:
    """c = s e^(-r / reach) / (4 pi D r), a block being 1 wide; blocks are seen near the source alone."""
    reach, n = 6.0, 64
    found = point_source(n, reach)

    def worst(assumed: float) -> float:
        off = []
        for z, y, x in ((0, 0, 6), (0, 0, 10), (4, 4, 4), (6, 8, 0), (0, 0, 15), (9, 9, 9)):
            r = math.sqrt(x * x + y * y + z * z)
            exact = math.exp(-r / assumed) / (4 * math.pi * reach**2 * r)
            off.append(abs(found[z, y, x] / exact - 1.0))
        return max(off)

    assert worst(reach) < 0.02
    assert worst(1.05 * reach) > 0.05  # negative control


def test_weights_have_all_digits_on_both_sides_of_the_series() -> None:
    with localcontext(prec=60):
        for x in (0.0, 1e-9, 1e-3, 0.0999, 0.1001, 1.0, 30.0, 700.0):
            kept, f1, f2 = (float(v[0]) for v in weights(np.array([x])))
            a = (1 - (-Decimal(x)).exp()) / Decimal(x) if x else Decimal(1)
            b = (1 - a) / Decimal(x) if x else Decimal("0.5")
            exact = [float((-Decimal(x)).exp()), float(a), float(b)]
            assert np.allclose([kept, f1, f2], exact, rtol=2e-14, atol=0.0)


# ------------------------------------------------------------------ what cells make


@pytest.mark.parametrize("mode", MODES)
def test_cells_are_counted_by_block(mode: str) -> None:
    """After an interval without spreading a block holds what its own cells made, patch by patch."""
    space = lattice(24, 36, 12, boundary=["no-flux", "periodic", "periodic"], patches=2)
    scenario = world(
        [rule("move", "a", 1.0)],
        {"box": space},
        {"box": {"a": 3000, "b": 2000}},
        types=plain("a", "b"),
        until=0.25,
        fields={"scent": field(3, yields=[made("a", 2.0), made("b", 0.5)])},
        run_options=MODES[mode],
    )
    sim = started(scenario, 2)
    assert (sim.geometry.n_units > 2) == (mode == "tiled")
    before = [[cells_by_block(sim, r, kind, 3) for kind in "ab"] for r in range(2)]
    sim.advance(0.25)
    for r, (a, b) in enumerate(before):
        assert np.allclose(sim.field_levels(r)["scent"], 0.25 * (2 * a + 0.5 * b) / 27, rtol=1e-13)
    assert not np.array_equal(*(cells_by_block(sim, r, "a", 3) for r in range(2)))


def test_the_mean_of_a_field_is_the_signal_with_the_same_yields() -> None:
    """Spreading moves, it does not make: cells that come and go, two patches, walls."""
    density = {"rate": "3 /h", "relative_to": "1e6 /mm^3"}
    scenario = world(
        [rule("divide", "a -> a + a", 0.3), rule("die", "a", 0.2), rule("move", "a", 2.0)],
        {"box": lattice(12, 12, 8, boundary="no-flux", patches=2, stands_for="1 mm^3")},
        {"box": {"a": 400}},
        types=plain("a"),
        until=6.0,
        exchange=0.5,
        signals={
            "whole": {
                "initial": 0.5, "clearance": "0.7 /h", "production": "0.1 /h", "source": "test",
                "yields": [{"of": "box.a", **density}],
            }
        },
        fields={
            "scent": field(
                4, "30 um^2/s", decay="0.7 /h", initial=0.5, production="0.1 /h",
                yields=[{"of": "a", **density}],
            )
        },
    )  # fmt: skip
    sim = started(scenario)
    for hour in range(1, 7):
        sim.advance(float(hour))
        mean = sim.field_levels()["scent"].mean()
        assert mean == pytest.approx(sim.signals[0, 0], rel=1e-12)
    assert booked(sim, 0)[0] > 300 and sim.signals[0, 0] > 1.0


# ------------------------------------------------------------------ what cells read


def test_cells_read_the_mean_of_their_block() -> None:
    """Factors over their bounds, and biases along central differences, from means over the interval."""
    space = lattice(12, 16, 8, boundary=["no-flux", "periodic", "no-flux"], patches=2)
    sim = started(busy_field(space, until=2.0), 2)
    assert [f.block for f in sim.scenario.model.fields] == [2, 4]
    for end in (0.5, 1.0, 1.5):
        before = [levels.copy() for levels in sim.state.levels]
        counts = [
            {kind: cells_by_block(sim, r, kind, f.block) for kind in ("prey", "killer", "tired")}
            for r in range(2)
            for f in sim.scenario.model.fields
        ]
        sim.advance(end)
        for i, f in enumerate(sim.scenario.model.fields):
            for r in range(2):
                cells = counts[2 * r + i]
                income = f.production + sum(
                    rate * cells[p.text] / (f.block**3 * 512.0 * to) for rate, p, to in f.yields
                )
                _check_readings(sim, i, r, means_of(f, before[i][r], income))


def means_of(f, levels: np.ndarray, income: np.ndarray) -> np.ndarray:
    """Mean levels over half an hour, from the solver itself."""
    shape = levels.shape[1:]
    spread = Diffusion(shape, (False, True, False), f.block * 8.0, f.diffusion, f.decay)
    income = np.broadcast_to(income, levels.shape)
    return np.stack(
        [spread.advance(now, more, 0.5)[1] for now, more in zip(levels, income, strict=True)]
    )


def _check_readings(sim: Simulation, medium: int, r: int, means: np.ndarray) -> None:
    shapes = {
        m.shape for q in sim.scenario.model.rules for m in q.modifiers
        if m.source == "field" and m.target == sim.scenario.model.fields[medium].name
    }  # fmt: skip
    seen = 0
    for reading in sim.tables.readings[sim.tables.readings["medium"] == medium]:
        first = int(reading["first"])
        found = sim.state.lattice.sensed[r, first : first + means.size * int(reading["numbers"])]
        seen += 1
        if reading["numbers"] == 1:
            (shape,) = shapes
            exact = [evaluate(shape, x) / greatest(shape) for x in means.ravel()]
            assert np.allclose(found, exact, rtol=1e-12)
            continue
        width = float(sim.tables.media["width"][medium])
        slopes = [along(means, axis, ring, width) for axis, ring in ((3, 0), (2, 1), (1, 0))]
        steep = np.sqrt(sum(s * s for s in slopes))
        scale = reading["strength"] / (steep + reading["half"])
        exact = np.stack([scale * s for s in slopes], axis=-1)
        assert np.abs(exact).max() > 0.01
        assert np.allclose(found.reshape(exact.shape), exact, rtol=1e-9, atol=1e-14)
    assert seen == 2


def along(levels: np.ndarray, axis: int, ring: int, width: float) -> np.ndarray:
    """Central differences; beyond a wall the block itself stands."""
    pad = [(1, 1) if i == axis else (0, 0) for i in range(levels.ndim)]
    wide = np.pad(levels, pad, mode="wrap" if ring else "edge")
    n = levels.shape[axis]
    above, below = (wide.take(np.arange(n) + i, axis) for i in (2, 0))
    return (above - below) / (2 * width)


@pytest.mark.parametrize(
    ("shape", "bound"),
    [
        (Shape("hill", (("top", 3.0), ("bottom", 0.5), ("half", 1.0), ("power", 2.0), ("offset", 0.0))), 3.0),
        (Shape("hill", (("top", 0.1), ("bottom", 2.0), ("half", 1.0), ("power", 2.0), ("offset", 0.0))), 2.0),
        (Shape("inverse_hill", (("top", 1.0), ("bottom", 0.2), ("half", 1.0), ("power", 1.0), ("offset", 2.0))), 1 + 0.8 * 2 / 3),
        (Shape("linear", (("intercept", 1.0), ("slope", 2.0), ("low", 0.0), ("high", 5.0))), 5.0),
        (Shape("linear", (("intercept", 1.0), ("slope", 2.0), ("low", 0.0), ("high", math.inf))), math.inf),
        (Shape("linear", (("intercept", 1.0), ("slope", -2.0), ("low", 0.0), ("high", math.inf))), 1.0),
        (Shape("step", (("at", 1.0), ("below", 0.3), ("above", 0.7))), 0.7),
        (Shape("exponential", (("top", 1.7), ("scale", 2.0))), 1.7),
        (Shape("table", x=(1.0, 2.0, 3.0), y=(0.1, 4.0, 0.2)), 4.0),
    ],
)  # fmt: skip
def test_bounds_of_shapes(shape: Shape, bound: float) -> None:
    """The largest factor there can be, and no level gives more."""
    assert greatest(shape) == pytest.approx(bound)
    assert max(evaluate(shape, x) for x in np.linspace(0, 50, 501)) <= greatest(shape) * (1 + 1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_deaths_follow_the_field(mode: str) -> None:
    """Cells die at 1 /h times c / (c + 1) of their own block, c fixed along x."""
    size, levels = FIELDS["deaths"], np.array([0.0, 0.5, 1.0, 3.0])
    law = {"field": "scent", "shape": {"hill": {"half": 1.0}}}
    scenario = world(
        [rule("die", "a", 1.0, modifiers=[law])],
        {"box": lattice(32, 32)},
        {"box": {"a": 800}},
        types=plain("a"),
        until=1.0,
        fields={"scent": field(8)},
        run_options=MODES[mode],
    )
    sim = started(scenario, size.n)
    sim.state.levels[0][:] = levels
    before = pictures(sim).reshape(size.n, 32, 4, 8).sum(axis=(0, 1, 3))
    sim.advance(1.0)
    left = pictures(sim).reshape(size.n, 32, 4, 8).sum(axis=(0, 1, 3))
    assert left[0] == before[0]

    def scores(rate: float) -> list[float]:
        p = np.exp(-rate * levels[1:] / (levels[1:] + 1.0))
        return list((left[1:] - before[1:] * p) / np.sqrt(before[1:] * p * (1 - p)))

    proof.holds("deaths by a field", scores(1.0), size.z, size.n, ["0.5", "1", "3"])
    wrong = f"rate {size.error:.0%} off"
    proof.is_caught("deaths by a field", wrong, scores(1.0 + size.error), size.z, size.n)


# ------------------------------------------------------------------ biased steps


def walkers(neighbours: int, strength: float) -> Scenario:
    """A lone cell in the middle of a strip along which the level rises by 0.05 /um: bias 0.5 strength."""
    return world(
        [rule("move", "a", 20.0, **biased(strength, half=0.05))],
        {"box": lattice(200, 4, neighbours=neighbours, boundary=["no-flux", "periodic"])},
        {"box": [{"cells": "a", "number": 1, "place": "centre"}]},
        types=plain("a"),
        until=5.0,
        exchange=5.0,
        fields={"scent": field(4)},
    )


@pytest.mark.parametrize(("neighbours", "strength"), [(4, 0.8), (8, 0.8), (8, -0.8), (4, 0.0)])
def test_drift_of_biased_walkers(neighbours: int, strength: float) -> None:
    """Mean k t b sum(e_x^2 / |e|) / z, square k t sum(e_x^2) / z about it: the law, summed over steps."""
    size = FIELDS["drift"]
    sim = started(walkers(neighbours, strength), size.n)
    sim.state.levels[0][:] = 0.05 * 32.0 * np.arange(50)
    at = pictures(sim).sum(axis=1).argmax(axis=1)
    sim.advance(5.0)
    gone = (pictures(sim).sum(axis=1).argmax(axis=1) - at).astype(float)
    steps = np.array(sim.geometry.direction[0, :neighbours, :2], float)
    e = steps[:, 0]

    def scores(bias: float) -> list[float]:
        chance = (1 + bias * e / np.linalg.norm(steps, axis=1)) / neighbours
        mean, square = 100 * (chance @ e), 100 * (chance @ e**2)
        found = gone - mean
        spread = found**2 - square
        return [v.mean() / v.std(ddof=1) * math.sqrt(size.n) for v in (found, spread)]

    case = f"biased walk, {neighbours} neighbours, strength {strength:g}"
    proof.holds(case, scores(0.5 * strength), size.z, size.n, ["mean", "square about it"])
    # a rate of tries that hangs on the bias would be seen too
    assert booked(sim, 0).mean() == pytest.approx(100.0, abs=5 * 10 / math.sqrt(size.n))
    wrong = 0.5 * strength * (1 + size.error) if strength else 0.4 * size.error
    proof.is_caught(case, f"bias {size.error:.0%} off", scores(wrong), size.z, size.n)


def test_walkers_at_rest_are_where_detailed_balance_has_them() -> None:
    """A line between walls, bias 0.1 inside and 0.067 in the outermost blocks, in the long run."""
    size, n = FIELDS["at rest"], 24
    line = {"lattice": {"shape": [n], "boundary": "no-flux"}}
    scenario = box([rule("move", "a", 1.0)], line, plain("a"), until=1500.0)
    with_field = world(
        [rule("move", "a", 1.0, **biased(0.2, half=0.05))],
        {"box": lattice(4, 4)},
        {"box": {"a": 1}},
        types=plain("a"),
        until=1500.0,
        exchange=1500.0,
        fields={"scent": field(2)},
    )
    (space,) = scenario.model.compartments
    model = replace(with_field.model, compartments=(space,))
    sim = started(replace(with_field, model=model), size.n)
    sim.state.levels[0][:] = 0.05 * 16.0 * np.arange(n // 2)
    sim.advance(1500.0)
    at = np.concatenate([sim.agents(r)["x"] for r in range(size.n)]).astype(float)

    def scores(strength: float) -> list[float]:
        bias = np.full(n, strength / 2)
        bias[[0, 1, -2, -1]] = strength / 3  # half the gradient
        p = stationary(bias)
        mean = p @ np.arange(n)
        sd = math.sqrt(p @ (np.arange(n) - mean) ** 2)
        high = p[n // 2 :].sum()
        share = ((at >= n // 2).mean() - high) / math.sqrt(high * (1 - high))
        return [(at.mean() - mean) / sd * math.sqrt(size.n), share * math.sqrt(size.n)]

    proof.holds("biased walkers at rest", scores(0.2), size.z, size.n, ["mean", "upper half"])
    wrong = f"bias {size.error:.0%} off"
    proof.is_caught("biased walkers at rest", wrong, scores(0.23), size.z, size.n)


# ------------------------------------------------------------------ bits


CUBE = lattice(10, 12, 8, boundary=["no-flux", "periodic", "periodic"], patches=2)
FLAT = lattice(20, 24, neighbours=8, boundary=["periodic", "no-flux"])


@pytest.mark.parametrize("run_options", [{}, {"mode": "tiled", "tile": 4}])
@pytest.mark.parametrize("space", [CUBE, FLAT], ids=["cube", "flat"])
def test_twin(space: dict, run_options: dict) -> None:
    """Engine and twin, given the same readings: the same bits in every place."""
    sim = started(busy_field(space, until=3.0, run_options=run_options))
    assert (sim.geometry.n_units > 2) == bool(run_options)
    compare(sim, 0, followed(sim, 0))
    assert all(booked(sim, i)[0] > 0 for i in range(10))
    proof.note_same_bits("engine and twin", sim.statistics["executed"])


def test_twin_would_notice() -> None:
    """Negative control: biases read a little differently are another history."""
    sim = started(busy_field(FLAT, until=2.0))
    twin = followed(sim, 0)
    compare(sim, 0, twin)
    sim = started(busy_field(FLAT, until=2.0))
    sim.tables.readings["strength"] *= 1.5
    with pytest.raises(AssertionError):
        twin = followed(started(busy_field(FLAT, until=2.0)), 0)
        sim.advance(2.0)
        compare(sim, 0, twin)


def test_the_same_bits_alone_and_in_pieces() -> None:
    scenario = busy_field(CUBE, until=3.0)
    together = started(scenario, 3)
    together.advance(3.0)
    digests = [together.digest(r) for r in range(3)]
    assert len(set(digests)) == 3
    shared = Simulation(scenario, replicates=3, threads=2)
    for time in (0.5, 2.0, 3.0):
        shared.advance(time)
    assert [shared.digest(r) for r in range(3)] == digests
    alone = Simulation(scenario, first_replicate=2)
    alone.advance(3.0)
    assert alone.digest(0) == digests[2]
    # levels are part of the state
    alone.state.levels[0][0, 0, 0, 0, 0] += 1e-12
    assert alone.digest(0) != digests[2]


def test_the_same_bits_for_any_number_of_threads_in_tiles() -> None:
    digests = []
    for threads in (1, 2):
        options = {"mode": "tiled", "tile": 4}
        sim = Simulation(busy_field(FLAT, until=2.0, run_options=options), threads=threads)
        sim.advance(2.0)
        digests.append(sim.digest())
    assert digests[0] == digests[1]


# ------------------------------------------------------------------ files


def dish(**changes) -> dict:
    """Sections of a small scenario, as a file has them."""
    sections = {
        "rules": [rule("move", "a", 1.0, on="box", **biased(0.5))],
        "compartments": {"box": lattice(12, 8), "pot": mixed()},
        "fields": {"scent": field(4, "10 um^2/s", decay="1 /h", yields=[made("a", 1.0)])},
    }
    return sections | changes


def load(**changes) -> Scenario:
    sections = dish(**changes)
    rules, compartments = sections.pop("rules"), sections.pop("compartments")
    return world(
        rules, compartments, {"box": {"a": 5}}, types=plain("a"), until=1.0, **sections
    )  # fmt: skip


LAW = {"field": "scent", "shape": {"hill": {"half": 1}}}
MISTAKES = {
    "mixed": ({"scent": field(4) | {"in": "pot"}}, [], "expected a lattice, 'pot' is mixed"),
    "block": ({"scent": field(5)}, [], r"divides every side of 'box' \(1, 2, 4\), got 5"),
    "unknown": ({"scent": field(4)}, [{"field": "sent", "shape": LAW["shape"]}], "unknown field 'sent'; did you mean 'scent'"),
    "unit": ({"scent": field(4, unit="pg/mL")}, [{"field": "scent", "shape": {"hill": {"half": "1 mg"}}}], "expected a quantity in pg/mL"),
    "diffusion": ({"scent": field(4) | {"diffusion": "3 um/s"}}, [], "expected a diffusion constant such as"),
    "relative": ({"scent": field(4, yields=[{"of": "a", "rate": "1 /h", "relative_to": "1e9 cells"}])}, [], "expected a density such as"),
    "key": ({"scent": field(4, speed=1)}, [], "unknown key 'speed'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_files(name: str) -> None:
    fields, modifiers, words = MISTAKES[name]
    walk = rule("move", "a", 1.0, on="box", modifiers=modifiers)
    with pytest.raises(ScenarioError, match=words) as error:
        load(fields=fields, rules=[walk])
    assert len(error.value.problems) == 1, error.value


def test_mistakes_of_bias() -> None:
    for change, words in (
        ({"strength": 1.5}, "expected a number of at most 1"),
        ({"half": "1 um"}, "expected a gradient such as"),
        ({"half": 0}, "expected a gradient above 0"),
        ({"field": "smell"}, "unknown field 'smell'"),
    ):
        walk = rule("move", "a", 1.0, on="box", **biased(0.5))
        walk["biased_by"] |= change
        with pytest.raises(ScenarioError, match=words) as error:
            load(rules=[walk])
        assert len(error.value.problems) == 1, error.value
    with pytest.raises(ScenarioError, match="expected 'biased_by' only beside move"):
        load(rules=[rule("die", "a", 1.0, on="box", **biased(0.5))])


def test_a_field_and_a_signal_have_different_names() -> None:
    with pytest.raises(ScenarioError, match="'scent' is a signal too"):
        load(signals={"scent": {"source": "test"}})


def test_rules_stay_where_the_field_is() -> None:
    """A rule that reads a field acts in its lattice alone; walks in mixed compartments are none."""
    for modifiers in ([LAW], []):
        walk = rule("move", "a", 1.0, modifiers=modifiers, **biased(0.5))
        started(load(rules=[walk]))
    with pytest.raises(
        ModelError, match="in 'box' alone, .* 'pot'; restrict the rule with 'in: box'"
    ):
        started(load(rules=[rule("die", "a", 1.0, modifiers=[LAW])]))
    endless = {"field": "scent", "shape": {"linear": {"slope": 1}}}
    with pytest.raises(ModelError, match="no upper bound; give 'high'"):
        started(load(rules=[rule("die", "a", 1.0, on="box", modifiers=[endless])]))


def test_a_field_that_is_off_takes_along_what_reads_it() -> None:
    switched = field(4, switch="scents")
    walk = rule("move", "a", 1.0, on="box", modifiers=[LAW], **biased(0.5))
    found = load(fields={"scent": switched}, rules=[walk], switches={"scents": "off"})
    assert not found.model.fields and not found.model.rules[0].modifiers
    assert found.model.rules[0].bias is None
    plainly = started(found)
    assert plainly.field_levels() == {} and not len(plainly.tables.readings)
    found = load(fields={"scent": switched}, rules=[walk], switches={"scents": "on"})
    assert found.model.rules[0].bias is not None and len(found.model.rules[0].modifiers) == 1
    # and the file that a record holds is the same scenario
    assert load_scenario_text(found.resolved_text).model == found.model


def test_usual_blocks() -> None:
    assert [usual_block(s) for s in ((64, 64, 64), (12, 9), (10, 20), (7, 5, 3))] == [4, 3, 2, 1]


def test_check_says_how_far_a_field_reaches() -> None:
    text = check_text(load())
    text = " ".join(text.split())
    assert (
        "a field in box on blocks of 4 sites (32 um), starts at 0, is made at 1/h for every" in text
    )
    assert "spreads at 10 um^2/s, is lost at 1 /h: it reaches some 190 um" in text
    assert "drawn up the gradient of scent (bias up to 0.5, half of it at 0.05 /um)" in text
    assert "field: scent in 3 x 2 blocks of 32 um" in text and "warning" not in text
    short = field(4, "0.1 um^2/s", decay="1 /h")
    assert "warning: fields.scent.block: expected blocks no wider than the 19 um" in check_text(
        load(fields={"scent": short})
    )


def test_records_hold_fields_at_snapshots(tmp_path) -> None:
    scenario = load(run_options={"record": {"counts": "0.5 h", "snapshots": "0.5 h"}})
    path = tmp_path / "fields.h5"
    mst_abm.run_to_file(scenario, path, replicates=2, snapshot_replicates=2)
    sim = started(scenario, 2)
    with mst_abm.open_run(path) as run:
        assert run.field_units == {"scent": "1"}
        levels = run.field("scent")
        assert levels.shape == (6, 1, 1, 2, 3) and levels[-1].sum() > 0
        for frame, (time, replicate) in enumerate(
            zip(run.frames["time"], run.frames["replicate"], strict=True)
        ):
            sim.advance(time)
            assert np.array_equal(levels[frame], sim.field_levels(replicate)["scent"])
        pytest.importorskip("h5netcdf")
        assert run.to_xarray("fields")["scent"].dims[0] == "frame"


def test_killers_that_follow_find_more_prey() -> None:
    """The shipped dish, two hours: 25 kills in one run, 1 without the field."""
    killed = []
    for switch in ("on", "off"):
        over = ["run.until=2 h", "run.record.snapshots=0 h", f"switches.chemotaxis={switch}"]
        sim = started(load_scenario(CONFIG, overrides=over))
        sim.advance(2.0)
        lines = [t.rule == "killers kill" for t in sim.compiled.tallies]
        killed.append(int(sim.tally[0, lines].sum()))
    assert killed[0] > 5 * max(killed[1], 1), killed
    assert column(sim, "dish", "killer")[0] == 150
