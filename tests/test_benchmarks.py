"""The harness of `make bench`: what it compares and concludes, with made-up numbers. No times here."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import (
    account,
    attempts,
    baseline,
    checkpoints,
    cluster,
    ensembles,
    marrow_day,
    peers,
    plain_c,
    scale,
    stepped,
)
from benchmarks.baseline import Cost
from benchmarks.timing import Result
from mst_abm import Simulation, load_scenario

CONFIGS = Path(__file__).parent.parent / "configs"


def timed(what: str, *cost: float, is_by_c: bool = False) -> Result:
    return Result(what, cost[0], "ns", cost=cost, is_by_c=is_by_c)


def costs(unit: float, *results: Result) -> dict[str, Cost]:
    found = ((result.what, baseline.cost_of(result, unit)) for result in results)
    return {what: cost for what, cost in found if cost is not None}


# ------------------------------------------------------------------ the guard


THEN = costs(50.0, timed("hops", 100, 101, 99), timed("births", 30, 31, 29), timed("file", 7, 7, 7))


def test_a_slowdown_is_named_and_noise_is_not():
    now = costs(
        50.0, timed("hops", 130, 131, 129), timed("births", 32, 33, 31), timed("file", 7.9, 8, 8)
    )
    (change,) = baseline.compare(THEN, now)
    assert change.what == "hops" and change.factor == pytest.approx(1.3)
    assert change.sentence() == "slower by 1.30 x (margin 1.15 x): hops"


def test_a_speedup_is_named_and_the_largest_change_comes_first():
    now = costs(
        50.0, timed("hops", 50, 50, 51), timed("births", 40, 40, 41), timed("file", 7, 7, 7)
    )
    faster, slower = baseline.compare(THEN, now)
    assert faster.sentence() == "faster by 2.00 x (margin 1.15 x): hops"
    assert slower.what == "births" and slower.factor == pytest.approx(4 / 3)


def test_a_slower_machine_is_no_slowdown():
    now = costs(
        110.0, timed("hops", 220, 222, 218), timed("births", 66, 68, 64), timed("file", 15, 15, 15)
    )
    assert baseline.compare(THEN, now) == []
    assert len(baseline.compare(THEN, costs(50.0, timed("hops", 220, 222, 218)))) == 1


def test_what_was_divided_by_c_is_not_divided_again():
    paired = timed("paired", 1.2, 1.1, 1.3, is_by_c=True)
    assert costs(50.0, paired)["paired"].ratio == pytest.approx(1.2)
    assert baseline.cost_of(paired, None) is not None
    assert baseline.cost_of(timed("alone", 1.0), None) is None
    assert baseline.cost_of(Result("memory", 10, "B"), 50.0) is None


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ((100, 100, 100), 0.15),  # the least
        ((100,), 0.30),  # a spread nobody knows
        ((80, 90, 100, 110, 120), 3 * 0.14826),  # three standard deviations of a repetition
    ],
)
def test_the_margin_follows_the_spread(values, allowed):
    quiet = Cost(2.0, 0.0, 9)
    noisy = costs(50.0, timed("x", *values))["x"]
    assert baseline.margin(quiet, noisy) == pytest.approx(allowed)
    for factor, is_named in ((1 + 0.9 * allowed, False), (1 + 1.1 * allowed, True)):
        now = {"x": Cost(quiet.ratio * factor, noisy.spread, noisy.repetitions)}
        assert bool(baseline.compare({"x": quiet}, now)) == is_named


def test_a_baseline_keeps_what_was_not_measured_again(tmp_path):
    path = tmp_path / "baseline.json"
    assert "none for the quick size" in "".join(baseline.report("quick", THEN, path))
    baseline.write("quick", THEN, {"at": "2026-01-01T00:00"}, path)
    newer = {"births": Cost(0.9, 0.01, 3)}
    baseline.write("quick", newer, {"at": "2026-01-02T00:00"}, path)
    kept = baseline.read(path)["quick"]["results"]
    assert kept["births"]["ratio"] == 0.9 and kept["hops"]["ratio"] == 2.0
    head, *rest = baseline.report("quick", {"hops": Cost(4.0, 0.01, 3), "new": THEN["file"]}, path)
    assert "1 results compared, 1 changed" in head
    assert rest == ["  slower by 2.00 x (margin 1.15 x): hops", "  not in the baseline: new"]


def test_the_kept_baseline_can_be_read():
    for size in baseline.read().values():
        assert size["machine"]["processor"]
        kept = {what: Cost(**cost) for what, cost in size["results"].items()}
        assert kept and baseline.compare(kept, kept) == []


# ------------------------------------------------------------------ peers


def test_probabilities_of_a_step():
    assert stepped.probabilities(0.5, "linear") == pytest.approx((0.05, 0.025, 0.5))
    assert sum(stepped.probabilities(2.0, "exponential")) == pytest.approx(1 - math.exp(-2.3))
    with pytest.raises(ValueError, match="more than 1"):
        stepped.probabilities(1.0, "linear")


def test_the_sweep_does_what_it_is_told():
    side, n = 6, 100
    assert stepped.sweep(1, side, n, 5, 0.0, 0.0, 0.0) == (n, 0, 5 * n)
    assert stepped.sweep(1, side, n, 1, 0.0, 1.0, 0.0) == (0, 0, n)
    cells, hops, steps = stepped.sweep(1, side, n, 50, 0.0, 0.0, 1.0)
    assert cells == n and 0.4 < hops / steps < 0.65  # vacant share 116 / 215
    full = side**3
    assert stepped.sweep(1, side, full, 5, 0.5, 0.0, 0.5) == (full, 0, 5 * full)
    neighbours = {stepped.neighbour(0, d, side) for d in range(6)}
    assert neighbours == {1, 5, side, 5 * side, side**2, 5 * side**2}


def test_the_mesa_model_does_what_it_is_told():
    pytest.importorskip("mesa", reason="the extra 'bench' is not installed")
    from benchmarks import mesa_model

    model = mesa_model.Reference(5, 0.4, 0.5, "linear", seed=1)
    assert len(model.agents) == 50
    cells, hops = mesa_model.run(model, 10.0, 0.5)
    occupied = [cell for cell in model.grid if not cell.is_empty]
    assert cells == len(model.agents) == len(occupied)
    assert 0 < hops < 1.0
    full = mesa_model.Reference(5, 1.0, 0.5, "linear", seed=1)
    full.p_death, full.p_death_or_birth = 0.0, 0.1
    assert mesa_model.run(full, 5.0, 0.5) == (125, 0.0)


def test_the_longest_good_step_is_found():
    truth = peers.Observed(np.array([1000.0, 0.8]), np.zeros(2))
    calls: list[float] = []

    def run(seed: int, step_h: float) -> tuple[float, float]:
        """First order in the step, 4 % at an hour, and chance of 1 % a run."""
        calls.append(step_h)
        chance = 1 + 0.01 * (-1) ** seed
        return 1000 * (1 - 0.04 * step_h) * chance, 0.8

    step, tried = peers.largest_step(run, truth, 200, (0.8, 0.4, 0.2, 0.1))
    assert step == 0.2 and [t.is_good for t in tried] == [False, False, True]
    assert calls.count(0.8) == peers.FIRST_LOOK and calls.count(0.2) == 200
    assert peers.largest_step(run, truth, 50, (0.8, 0.4))[0] is None
    # few runs cannot show that a step is good
    assert not peers.largest_step(run, truth, 5, (0.1,))[1][0].is_good


# ------------------------------------------------------------------ accounts


def test_executed_events_are_all_accounted_for_and_attempts_nearly():
    simulation = Simulation(load_scenario(CONFIGS / "quickstart.yaml"))
    simulation.advance(1.0)
    before = simulation.statistics
    book = attempts.account(simulation, 9.0)
    done = {name: n - before[name] for name, n in simulation.statistics.items()}
    assert book.attempts == done["attempts"]
    assert sum(book.executed.values()) == done["executed"]
    # 2e5 attempts: chance is 0.2 %; a compartment left out, or counted twice, is 5 % at least
    assert book.estimated == pytest.approx(book.attempts, rel=0.03)
    assert min(book.by_compartment[name] for name in ("marrow", "blood", "lymphoid")) > 0
    nulls = sum(book.null_events().values())
    assert nulls == pytest.approx(done["attempts"] - done["executed"], rel=0.05)
    assert len(list(book.lines(3))) == 2 + len(book.by_compartment) + 1 + 3


def test_steps_of_the_kernel_are_taken_apart():
    draw, look, move, removal, rest = 2.0, 11.0, 3.0, 30.0, 7.0
    changes = 2 * account.REFERENCE.death / account.REFERENCE.top
    attempt = draw + look
    seen = {
        account.CROWDED: (attempt, 0.0),
        account.SPARSE: (attempt + 0.9 * move, 0.9),
        account.DEATHS: (attempt + removal, 1.0),
        account.REFERENCE: (attempt + (0.5 - changes) * move + changes * removal + rest, 0.5),
    }
    assert list(account.steps_of(draw, seen).values()) == pytest.approx(
        [draw, look, move, removal, rest]
    )


@pytest.mark.parametrize(
    "variant",
    [account.REFERENCE, account.CROWDED, account.SPARSE, account.DEATHS, account.THINNED],
    ids=lambda variant: variant.name,
)
def test_variants_of_the_reference_model_do_only_their_part(variant):
    simulation = Simulation(account.scenario_of(variant, 10, 1.0))
    cells = simulation.counts["cube"][0, 1:].sum()
    assert cells == pytest.approx(1000 * variant.filled, abs=1)
    simulation.advance(1.0)
    seen = simulation.statistics
    shares = {
        account.CROWDED: (0, 0),
        account.SPARSE: (0.8, 1),
        account.DEATHS: (1, 1),
        account.THINNED: (0, 0),
    }
    low, high = shares.get(variant, (0.3, 0.7))
    assert low <= seen["executed"] / seen["attempts"] <= high
    if variant is not account.DEATHS:
        assert seen["attempts"] == pytest.approx(variant.top * cells, rel=0.2, abs=15)


# ------------------------------------------------------------------ sizes and modes


def test_the_mode_is_one_option():
    assert plain_c.shape_overrides(8, 0.5, 1.0)[-1] == "run.until=1.0 h"
    assert plain_c.shape_overrides(8, 0.5, 1.0, "tiled")[-1] == "run.mode=tiled"
    assert scale.SIDES[1] ** 3 <= scale.MOST_SITES["exact"] < scale.SIDES[2] ** 3


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_a_size_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "EVENTS", 1e3)
    row = scale.measure(8, "exact", 2)
    assert row["sites"] == 512 and len(row["ns"]) == 2 and min(row["ns"]) > 0
    assert 8 <= row["array bytes per site"] < 16 and row["file bytes per cell"] > 0
    scale.draw([row, row | {"sites": 4096}], "exact", tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_a_large_state_is_stopped_and_gone_on_with(tmp_path):
    (case,) = checkpoints.QUICK
    row = checkpoints.stopped(case, tmp_path / "run.h5")
    assert row["cells"] > 1000 and row["hour"] > 0
    assert 0.1 < row["checkpoint bytes"] / row["state bytes"] < 0.6
    assert row["predicted"] > row["state bytes"] and row["peak"] > row["state bytes"]
    assert checkpoints.resumed(tmp_path / "run.h5")["resume"] > 0
    ten_off = row | {"predicted": 200, "peak": 220, "resume peak": 180}
    assert checkpoints.memory_of(case, ten_off).ratio == pytest.approx(0.5)


def test_a_pool_is_measured():
    pytest.importorskip("psutil", reason="the extra 'cluster' is not installed")
    from mst_abm.runs.pools import LocalPool

    (seen,) = cluster.measure(LocalPool(1), days=1.0, replicates=2, rounds=1)
    assert len(seen) == 2 and min(seen) > 0


def test_what_a_shard_and_a_kill_cost():
    result = ensembles.shards_by_kernel(
        ensembles.Size(days=1.0, per_shard=2, replicates=4, rounds=1)
    )
    assert result.seen > 1.0 and result.goal is None
    assert len(result.raw["s"]["kernel"]) == 1
    assert 0.0 < ensembles.lost_by_a_kill(1).seen < 600.0


def test_two_threads_must_end_in_the_same_bits(monkeypatch):
    scenario = load_scenario("reference", overrides=plain_c.shape_overrides(8, 0.5, 1.0))
    (result,) = scale.two_threads("8^3", scenario, 1.0, 1, 15.0)
    assert result.goal == 15.0 and result.seen < 100
    monkeypatch.setattr(Simulation, "digest", lambda self: str(id(self)))
    with pytest.raises(RuntimeError, match="different bits"):
        list(scale.two_threads("8^3", scenario, 1.0, 1, None))


@pytest.mark.parametrize("mode", ["exact", "tiled"])
def test_a_day_of_marrow_has_bone_and_walkers(mode, monkeypatch):
    monkeypatch.setattr(marrow_day, "SIDE", 50)
    (result,) = marrow_day.days(mode, 1)
    # 3,750 walkers try 0.5 hops a minute; residents add one try in a thousand
    assert result.raw["attempts"] == pytest.approx(3750 * 720, rel=0.02)
    start = Simulation(marrow_day.scenario_of(50, 24.0, mode)).counts["marrow"][0]
    bone, stroma, residents, walkers = start[1:] / 50**3
    assert 0.02 < bone < 0.3 and 0 < stroma < 0.02 and residents == 0.5 and walkers == 0.03


@pytest.mark.skipif(plain_c.compiler() is None, reason="no C compiler")
def test_the_c_program_takes_other_rates():
    with plain_c.compiled(8, birth=0.0, death=0.0, hop=1.0) as program:
        seen = program.run(1, 1.0, 1.0)
    assert seen.executed == 0 and seen.attempts > 300 and seen.cells == 512
