"""Survival and incidence against published values and closed forms; a log-rank test that finds nothing where nothing is."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from scipy import stats
from thresholds import FOUR, NULL_TRIALS
from worlds import column, mixed, plain, rule, world

from mst_abm.clinic.survival import (
    CENSORED,
    HAPPENED,
    RULED_OUT,
    Outcome,
    at_risk,
    columns_of,
    hazard_ratio,
    incidence_curve,
    log_rank,
    outcome,
    share_at,
    survival_curve,
)
from mst_abm.clinic.targets import Target, compare, compare_over_time
from mst_abm.errors import MissingPackageError
from mst_abm.runs.simulation import Simulation

lifelines = pytest.importorskip("lifelines", reason="needs the extra statistics")
from lifelines.datasets import load_leukemia  # noqa: E402

NEVER = np.nan


def course(times, causes, name="os"):
    times = np.asarray(times, float)
    return Outcome(name, times, np.asarray(causes, int), np.arange(len(times)))


@pytest.fixture(scope="module")
def freireich():
    """Weeks of remission of 42 children, half of them given 6-mercaptopurine (Freireich 1963, Blood 21:699)."""
    table = load_leukemia()
    arms = [table[table["Rx"] == arm] for arm in (0, 1)]
    return [course(arm["t"], arm["status"]) for arm in arms]


# ------------------------------------------------------------------ published values


def test_remissions_of_freireich_are_those_of_the_books(freireich):
    treated, placebo = freireich
    # Kleinbaum and Klein, Survival Analysis, tables 2.1 and 2.2 and page 69: 16.793
    assert [round(share_at(treated, week).value, 3) for week in (6, 10, 23)] == [
        0.857,
        0.753,
        0.448,
    ]
    assert [round(share_at(placebo, week).value, 3) for week in (1, 8, 22)] == [0.905, 0.381, 0.048]
    assert log_rank(treated, placebo)[0] == pytest.approx(16.793, abs=1e-3)
    # coefficient 1.572 by Efron's ties (R: coxph)
    ratio, low, high = hazard_ratio(placebo, treated)
    assert np.log(ratio) == pytest.approx(1.572, abs=1e-3)
    assert 1 < low < ratio < high


def test_variance_of_a_survival_is_greenwoods(freireich):
    # standard error 0.0963 at week 10, Kalbfleisch and Prentice, table 1.1
    assert share_at(freireich[0], 10).variance ** 0.5 == pytest.approx(0.0963, abs=1e-4)


def test_bounds_of_a_survival_are_those_of_the_complementary_logarithm(freireich):
    """S^exp(+-1.96 w), w = standard error / (S |log S|); of what is reached before, the same of one minus the share."""
    found = freireich[0]
    estimate, curve = share_at(found, 10), survival_curve(found)
    s = estimate.value
    w = estimate.variance**0.5 / (s * abs(np.log(s)))
    at_ten = np.searchsorted(curve.days, 10.0)
    bounds = [curve.low[at_ten], curve.share[at_ten], curve.high[at_ten]]
    assert bounds == pytest.approx([s ** np.exp(1.96 * w), s, s ** np.exp(-1.96 * w)], abs=1e-4)
    curve = incidence_curve(course(np.arange(1, 31), np.tile([1, 2, 0], 10), "relapse"))
    assert (curve.low[1:] < curve.share[1:]).all() and (curve.share[1:] < curve.high[1:]).all()


# ------------------------------------------------------------------ closed forms


def by_hand(found, day):
    """Aalen and Johansen's sum, ties and all."""
    free, share = 1.0, 0.0
    for time in np.unique(found.times_d[found.times_d <= day]):
        n = (found.times_d >= time).sum()
        now = found.times_d == time
        share += free * (now & (found.causes == HAPPENED)).sum() / n
        free *= 1 - (now & (found.causes != CENSORED)).sum() / n
    return share


@pytest.mark.parametrize("seed", range(5))
def test_tied_days_give_the_incidence_of_the_sum(seed):
    draw = np.random.default_rng(seed)
    found = course(draw.integers(1, 12, 60), draw.integers(0, 3, 60), "relapse")
    for day in (1.0, 4.0, 7.0, 11.0):
        assert share_at(found, day).value == pytest.approx(by_hand(found, day), abs=1e-12)
    before = np.random.get_state()[1].copy()
    incidence_curve(found)
    assert (np.random.get_state()[1] == before).all()  # nor does it touch anybody's random numbers


def test_without_censoring_a_curve_is_the_share_of_patients():
    causes = np.repeat([HAPPENED, RULED_OUT, HAPPENED], [3, 4, 3])
    found = course(np.arange(1, 11), causes, "relapse")
    for day, reached in ((3.5, 3), (7.0, 3), (9.0, 5), (10.0, 6)):
        estimate = share_at(found, day)
        assert estimate.value == pytest.approx(reached / 10)
        assert estimate.patients == pytest.approx(10)
    alive = survival_curve(course(np.arange(1, 11), np.ones(10)))
    assert np.allclose(alive.share, 1 - np.arange(11) / 10)
    assert at_risk(found, [0.0, 4.0, 4.5]).tolist() == [10, 7, 6]


def test_a_day_nobody_was_followed_to_has_no_share():
    found = course([10.0, 20.0, 30.0], [1, 0, 0])
    assert share_at(found, 25.0).value == pytest.approx(2 / 3)
    assert np.isnan(share_at(found, 40.0).value)
    assert share_at(course([10.0, 20.0], [1, 1]), 40.0).value == 0.0
    assert np.isnan(share_at(course([], []), 1.0).value)


def test_what_never_happened_has_incidence_none():
    found = course([10.0, 20.0], [2, 0], "relapse")
    assert share_at(found, 15.0).value == 0.0
    assert not incidence_curve(found).share.any()
    assert np.isnan(hazard_ratio(found, found)).all()


# ------------------------------------------------------------------ from endpoints


COLUMNS = {
    "os_time": np.array([60.0, 20.0, 50.0, 60.0]),
    "os_event": np.array([0.0, 1.0, 1.0, 0.0]),
    "dfs_time": np.array([30.0, NEVER, 20.0, 5.0]),
    "dfs_event": np.array([0.0, NEVER, 1.0, 1.0]),
    "relapse": np.array([NEVER, NEVER, NEVER, 35.0]),
    "non_relapse_death": np.array([NEVER, NEVER, 50.0, NEVER]),
    "platelet_recovery": np.array([16.0, NEVER, 14.0, NEVER]),
}


def test_endpoints_become_times_and_causes():
    alive = outcome(COLUMNS, "os")
    assert alive.causes.tolist() == [0, 1, 1, 0]
    free = outcome(COLUMNS, "dfs")
    assert (free.patients.tolist(), free.causes.tolist()) == ([0, 2, 3], [0, 1, 1])
    relapse, other = outcome(COLUMNS, "relapse"), outcome(COLUMNS, "non_relapse_death")
    assert relapse.times_d.tolist() == other.times_d.tolist() == [30.0, 20.0, 5.0]
    assert (relapse.causes.tolist(), other.causes.tolist()) == ([0, 2, 1], [0, 1, 2])
    back = outcome(COLUMNS, "platelet_recovery", origin_d=7.0)
    assert back.times_d.tolist() == [16.0, 13.0, 14.0, 53.0]
    assert back.causes.tolist() == [1, 2, 1, 0]
    assert columns_of("true_relapse") == ("true_dfs_time", "true_dfs_event", "true_relapse")


# ------------------------------------------------------------------ targets


def test_a_survival_without_censoring_is_judged_as_a_share():
    found = course(np.arange(1, 31), np.ones(30))
    over_time = Target("T", "a", "os", "survival", 8, 28, at_d=20.0)
    share = Target("T", "a", "x", "share", 8, 28, above=20.5)
    one, other = compare_over_time(over_time, found), compare(share, found.times_d)
    assert one.simulated == pytest.approx(other.simulated)
    assert (one.low, one.high) == pytest.approx((other.low, other.high))
    assert one.tail == pytest.approx(other.tail)
    censored = course(np.arange(1, 31), np.tile([1, 0], 15))
    known_less_well = compare_over_time(over_time, censored)
    assert known_less_well.high - known_less_well.low > one.high - one.low


def test_a_survival_is_judged_at_the_size_of_its_trial():
    found = course(np.arange(1, 41), np.ones(40))
    at = lambda value, of: compare_over_time(  # noqa: E731
        Target("T", "a", "os", "survival", value, of, at_d=20.0), found
    )
    assert at(15, 30).is_met
    assert not at(2, 30).is_met


# ------------------------------------------------------------------ a trial of nothing


def p_values(ratio, trials, n=NULL_TRIALS["patients"]):
    """p of the log-rank test in trials of two arms, hazards in the ratio, a third censored."""
    draw = np.random.default_rng(31)
    found = []
    for _ in range(trials):
        arms = []
        for scale in (1.0, 1.0 / ratio):
            dies, lost = draw.exponential(scale, n), draw.exponential(2.0, n)
            arms.append(course(np.minimum(dies, lost), dies < lost))
        found.append(log_rank(*arms)[1])
    return np.array(found)


def test_of_two_arms_that_are_one_p_is_uniform():
    size = NULL_TRIALS
    p = p_values(1.0, size["trials"])
    assert stats.kstest(p, "uniform").pvalue > size["alarm"]
    # negative control: arms that differ by the smallest ratio these sizes can see
    assert stats.kstest(p_values(size["ratio"], size["trials"]), "uniform").pvalue < size["alarm"]


def extinctions(rate, seed, n):
    """Hours to the death of the last of three cells in ``n`` simulated replicates, every other one lost sight of early."""
    rules = [rule("die", "cell", rate)]
    scenario = world(
        rules, {"dish": mixed()}, {"dish": {"cell": 3}}, types=plain("cell"), until=6.0
    )
    simulation = Simulation(scenario, seed=seed, replicates=n)
    found = np.full(n, np.inf)
    hours = np.arange(0.05, 6.0, 0.05)
    for hour in hours:
        simulation.advance(hour)
        gone = column(simulation, "dish", "cell") == 0
        found = np.minimum(found, np.where(gone, hour, np.inf))
    until = np.where(np.arange(n) % 2, 6.0, 2.5)
    return course(np.minimum(found, until), found <= until)


def parts(found, n):
    return [course(found.times_d[i : i + n], found.causes[i : i + n]) for i in range(0, found.n, n)]


def test_simulated_survival_is_that_of_its_law():
    found = extinctions(1.0, 41, 2000)
    for hour in (1.0, 2.0, 3.0):
        exact = 1 - (1 - np.exp(-hour)) ** 3
        estimate = share_at(found, hour + 1e-9)
        assert abs(estimate.value - exact) < FOUR * estimate.variance**0.5
    # negative control: those lost sight of taken for those who live on
    known = np.mean(found.times_d > 3.0)
    assert abs(known - (1 - (1 - np.exp(-3.0)) ** 3)) > FOUR * estimate.variance**0.5


def test_an_arm_simulated_twice_with_other_streams_gives_uniform_p():
    n, trials = NULL_TRIALS["patients"], NULL_TRIALS["simulated"]
    one, again, faster = (
        parts(extinctions(rate, seed, n * trials), n)
        for rate, seed in ((1.0, 51), (1.0, 52), (NULL_TRIALS["ratio"], 53))
    )
    p = [log_rank(a, b)[1] for a, b in zip(one, again, strict=True)]
    assert stats.kstest(p, "uniform").pvalue > NULL_TRIALS["alarm"]
    p = [log_rank(a, b)[1] for a, b in zip(one, faster, strict=True)]
    assert stats.kstest(p, "uniform").pvalue < NULL_TRIALS["alarm"]


def test_without_the_library_there_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "lifelines", None)
    with pytest.raises(MissingPackageError, match=r"install 'mst-abm\[statistics\]'") as error:
        share_at(course([1.0], [1]), 1.0)
    assert len(str(error.value).splitlines()) == 1
