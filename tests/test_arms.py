"""Arms of a trial: intervals against published and closed forms, pairs against different patients, what an interval needs."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from click.testing import CliRunner
from dishes import DISH, TRIAL, trial_written
from thresholds import PAIRS, PRECISION

from mst_abm.cli import main
from mst_abm.clinic.arms import (
    Endpoint,
    Summary,
    differences,
    saved_by_pairs,
    summaries,
)
from mst_abm.clinic.cohort import Cohort
from mst_abm.clinic.intervals import mean_interval, median_interval, share_interval
from mst_abm.clinic.precision import need_of, need_of_difference, patch_for, share_by_chance
from mst_abm.errors import MissingPackageError, RecordError
from mst_abm.records.arms import ArmRecords
from mst_abm.records.places import is_ours
from mst_abm.report.arms import Findings, findings_text
from mst_abm.report.trial_figures import ArmToDraw, draw_trial
from mst_abm.scenario.trial import Trial

pytest.importorskip("lifelines", reason="needs the extra statistics")
NEVER = np.nan

# ------------------------------------------------------------------ intervals


@pytest.mark.parametrize(
    ("reached", "of", "low", "high"), [(24, 30, 62.7, 90.5), (12, 28, 26.5, 60.9), (0, 30, 0, 11.4)]
)
def test_shares_have_wilsons_interval(reached, of, low, high):
    assert np.round(100 * np.array(share_interval(reached, of)), 1).tolist() == [low, high]


def test_a_median_has_the_interval_of_order_statistics():
    # of ten the second and the ninth: 1 - 22 / 1024 = 97.9 % (Conover 1999, table A3)
    assert median_interval(np.arange(10.0)) == (1.0, 8.0)
    late = np.array([10.0, 11.0, 12.0, 13.0, 14.0, *[np.inf] * 5])
    assert median_interval(late) == (11.0, np.inf)
    assert median_interval(np.arange(4.0)) == (-np.inf, np.inf)  # too few for any


def test_a_mean_has_the_same_interval_each_time():
    values = np.random.default_rng(2).normal(5.0, 2.0, 400)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    error = values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03
    )


# ------------------------------------------------------------------ one arm

COLUMNS = {
    "response": np.array([3.0, 3.0, 0.0, 4.0, NEVER]),
    "remission": np.array([28.0, 35.0, NEVER, NEVER, NEVER]),
    "gvhd_probability": np.array([0.0, 0.1, 0.2, 0.3, 0.4]),
    "donor_cells_peak": np.array([0.1, 0.2, NEVER, 0.4, 0.5]),
    "os_time": np.array([60.0, 60.0, 60.0, 20.0, 60.0]),
    "os_event": np.array([0.0, 0.0, 0.0, 1.0, 0.0]),
}
ENDPOINTS = [
    Endpoint("response", "1", ("persistent disease", "aplasia", "CRi", "CR", "death in aplasia")),
    Endpoint("remission", "d"),
    Endpoint("gvhd_probability"),
    Endpoint("donor_cells_peak"),
    Endpoint("os_time", "d"),
    Endpoint("os_event", "1", ("censored", "died")),
]


def test_every_endpoint_is_summed_up_as_what_it_is():
    rows = {(row.endpoint, row.statistic): row for row in summaries("a", COLUMNS, ENDPOINTS)}
    assert (rows["response", "share CR"].value, rows["response", "share CR"].n) == (0.5, 4)
    assert rows["remission", "share reached"].value == 0.4
    assert math.isinf(rows["remission", "median"].value)
    assert rows["gvhd_probability", "mean chance"].value == pytest.approx(0.2)
    peak = rows["donor_cells_peak", "median"]
    assert (peak.value, peak.n, peak.of) == (pytest.approx(0.3), 4, 5)
    assert rows["os", "survival at day 28"].value == pytest.approx(0.8)
    assert not [key for key in rows if key[0] in ("os_time", "os_event")]
    assert all(row.low <= row.value <= row.high for row in rows.values())


def test_where_nothing_happened_survival_is_not_certain():
    alive = {"os_time": np.full(8, 60.0), "os_event": np.zeros(8)}
    row = next(row for row in summaries("a", alive, []) if row.statistic == "survival at day 60")
    assert (row.value, row.low) == (1.0, pytest.approx(share_interval(8, 8)[0]))
    # three lost sight of before tell nothing of that day
    alive["os_time"][:3] = 20.0
    row = next(row for row in summaries("a", alive, []) if row.statistic == "survival at day 60")
    assert (row.value, row.low) == (1.0, pytest.approx(share_interval(5, 5)[0]))


@pytest.mark.parametrize(
    ("name", "unit", "is_reached"),
    [
        ("neutrophil_recovery", "d", True),
        ("gvhd_day", "d", True),
        ("cytokine_onset", "h", True),
        ("donor_t_pcr_days", "d", False),
        ("days_anc_below_0.5", "d", False),
        ("twist", "d", False),
        ("platelet_nadir", "1e9/L", False),
    ],
)
def test_what_may_never_come_is_told_from_a_number_of_days(name, unit, is_reached):
    assert Endpoint(name, unit).is_reached is is_reached


# ------------------------------------------------------------------ two arms, the same patients


def pairs(rho, n, seed=5):
    """Values of an arm and its control, correlated over patients; the arm is one lower."""
    draw = np.random.default_rng(seed)
    common, own = draw.normal(size=n), draw.normal(size=(2, n))
    one, other = math.sqrt(rho) * common + math.sqrt(1 - rho) * own
    return one - 1.0, other


def test_pairs_save_what_patients_have_in_common():
    size = PAIRS
    # variance 2 between different patients, 2 (1 - rho) in pairs
    saved = saved_by_pairs(*pairs(size["rho"], size["n"]))
    assert abs(math.log(saved * (1 - size["rho"]))) < size["log"]
    # negative control: the patients of the two arms are different ones
    one, other = pairs(size["rho"], size["n"])
    apart = saved_by_pairs(one, np.roll(other, 1))
    assert abs(math.log(apart)) < size["log"] < abs(math.log(apart * (1 - size["rho"])))
    assert saved_by_pairs(np.arange(5.0), np.arange(5.0) + 1) == np.inf


def test_a_difference_in_pairs_is_narrower_than_between_patients():
    one, other = pairs(0.8, 200)
    endpoint = [Endpoint("x")]
    (paired,) = differences(("a", "b"), ({"x": one}, {"x": other}), endpoint, 60.0)
    (unpaired,) = differences(("a", "b"), ({"x": one}, {"x": np.roll(other, 1)}), endpoint, 60.0)
    assert paired.low < -1.0 < paired.high < 0
    # standard errors sqrt(0.4 / 200) and sqrt(2 / 200)
    ratio = (unpaired.high - unpaired.low) / (paired.high - paired.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.15)


def test_who_is_never_reached_counts_as_reached_at_the_end_and_arms_may_be_of_different_size():
    arms = {"remission": np.array([28.0, NEVER, 30.0])}, {"remission": np.array([NEVER, NEVER])}
    rows = differences(("a", "b"), arms, [Endpoint("remission", "d")], 60.0)
    share, days = {row.measure: row for row in rows}.values()
    assert (share.value, share.n, share.of) == (0.5, 2, 2)
    assert days.value == pytest.approx(-16.0)


def test_what_comes_after_the_end_counts_as_the_end_in_the_unit_of_the_endpoint():
    late = {"x": np.array([70.0, 10.0])}, {"x": np.array([NEVER, 40.0])}
    for unit, expected in (("d", -15.0), ("h", ((70.0 - 60 * 24) + (10.0 - 40.0)) / 2)):
        _, mean = differences(("a", "b"), late, [Endpoint("x", unit)], 60.0)
        assert (mean.value, mean.unit) == (pytest.approx(expected), unit)


def test_pairs_that_never_differ_in_whether_it_came_do_not_say_what_they_save():
    trial = Trial("t", Cohort(()), 4, (), (), ())

    def saved(one, other):
        arms = {"relapse": np.array(one)}, {"relapse": np.array(other)}
        rows = differences(("a", "b"), arms, [Endpoint("relapse", "d")], 850.0)
        return {row.measure: row.saved for row in rows}, findings_text(
            trial, Findings([], rows, [], [])
        )

    # days 20 to 30 beside 850: some thousand times, all of it in who never relapses
    found, text = saved([20.0, NEVER, 30.0, NEVER], [21.0, NEVER, 28.0, NEVER])
    assert all(map(math.isnan, found.values()))
    assert "times" not in text
    assert "inf" not in text
    # negative control: one pair that differs; and where it came to all
    found, text = saved([20.0, NEVER, 30.0, NEVER], [21.0, 40.0, 28.0, NEVER])
    assert all(1.0 < value < 10.0 for value in found.values())
    assert text.count(" times ") == 2
    found, _ = saved([20.0, 40.0, 30.0], [21.0, 44.0, 28.0])
    assert math.isnan(found["share reached"])
    assert found["mean, by the end at most"] == pytest.approx(
        saved_by_pairs(np.array([20.0, 40, 30]), np.array([21.0, 44, 28]))
    )


# ------------------------------------------------------------------ what an interval needs


def half_widths(n, times, seed):
    draw = np.random.default_rng(seed)
    found = np.array([mean_interval(draw.exponential(3.0, n)) for _ in range(times)])
    return (found[:, 1] - found[:, 0]) / 2, np.mean((found[:, 0] < 3.0) & (found[:, 1] > 3.0))


def test_as_many_patients_as_were_foretold_give_the_interval():
    size = PRECISION
    low, high = mean_interval(np.random.default_rng(8).exponential(3.0, size["pilot"]))
    pilot = Summary("a", "x", "mean chance", 3.0, low, high, size["pilot"], size["pilot"])
    n = int(need_of(pilot, size["half"]).patients)
    assert n > size["pilot"]
    widths, covered = half_widths(n, size["times"], 9)
    assert abs(np.log(np.median(widths) / size["half"])) < size["log"]
    assert covered > size["coverage"]
    # negative control: half as many are too few
    widths, _ = half_widths(n // 2, size["times"], 9)
    assert np.log(np.median(widths) / size["half"]) > size["log"]


@pytest.mark.parametrize("share", [0.0, 0.43, 0.5, 0.8])
def test_a_share_needs_the_fewest_patients_that_do(share):
    row = Summary("a", "remission", "share reached", share, 0.0, 1.0, 28, 28)
    n = int(need_of(row, 0.1).patients)
    low, high = share_interval(round(share * n), n)
    assert high - low <= 0.2
    low, high = share_interval(round(share * (n - 1)), n - 1)
    assert high - low > 0.2


def test_a_larger_patch_narrows_what_is_chance_alone():
    # of a variance of 1 a half is chance: patches k times as large leave 0.5 + 0.5 / k
    assert patch_for(1.0, math.sqrt(0.75), 0.5) == pytest.approx(2.0)
    assert patch_for(1.0, 0.7, 0.5) == np.inf  # patients differ by more than that
    assert patch_for(1.0, 2.0, 0.5) == 1.0
    assert np.isnan(patch_for(1.0, 0.9, np.nan))


def test_chance_within_a_patient_is_seen_in_the_same_patients_twice():
    one, other = pairs(0.7, 4000)
    assert share_by_chance(one + 1.0, other) == pytest.approx(0.3, abs=0.03)
    assert share_by_chance(one + 1.0, np.roll(other, 1)) == pytest.approx(1.0, abs=0.05)
    assert np.isnan(share_by_chance(np.ones(3), np.ones(3)))


def test_pairs_that_an_interval_of_a_difference_needs():
    one, other = pairs(0.8, 100)
    (row,) = differences(("a", "b"), ({"x": one}, {"x": other}), [Endpoint("x")], 60.0)
    need = need_of_difference(row, (row.high - row.low) / 4)
    assert need.patients == 400


# ------------------------------------------------------------------ figures


def arm_to_draw(name, seed):
    draw = np.random.default_rng(seed)
    n = 20
    dies = draw.exponential(60.0, n)
    columns = {
        "os_time": np.minimum(dies, 60.0), "os_event": (dies < 60.0).astype(float),
        "remission": np.where(draw.random(n) < 0.6, draw.integers(28, 40, n), NEVER),
        "neutrophil_recovery": np.where(draw.random(n) < 0.8, draw.integers(9, 20, n), NEVER),
    }  # fmt: skip
    days = np.arange(61.0)
    share = np.exp(-days / 5) * draw.lognormal(0, 0.5, (n, 1))
    share[0, 30:] = np.nan
    lost = {"drug kills blasts": draw.random(n), "never": np.zeros(n)}
    return ArmToDraw(name, columns, ArmRecords((), days, share, lost), 7.0)


def test_figures_are_drawn_replaced_and_leave_others_alone(tmp_path):
    arms = [arm_to_draw("one", 1), arm_to_draw("other", 2)]
    files = draw_trial(arms, tmp_path, {("one", "neutrophil_recovery"): 16.0})
    names = ["survival", "incidence", "recovery", "donor_cells", "leukaemia_lost"]
    assert [file.stem for file in files] == names
    assert all(is_ours(file) and file.stat().st_size > 10_000 for file in files)
    assert draw_trial(arms, tmp_path, {}) == files
    files[0].write_bytes(b"a picture of somebody else")
    with pytest.raises(RecordError, match="expected a figure of this package"):
        draw_trial(arms, tmp_path, {})
    assert files[0].read_bytes() == b"a picture of somebody else"
    assert not list(tmp_path.glob("*.part"))


# ------------------------------------------------------------------ the command

#: Four patients, an arm with fewer killers, and the first arm twice.
ARMS = """
  more: {like: usual, set: {initial.box.killer: 3}}
  usual_again: {like: usual, seed: 6}
compare: [usual, more]
"""
NONE = "\n  none: {like: usual, set: {initial.box.killer: 0}}\n"


@pytest.fixture
def dish(tmp_path):
    text = TRIAL.replace(NONE, ARMS).replace("patients: 3", "patients: 4")
    # in all of them some prey is left
    mild = DISH.replace("killer: 8", "killer: 6").replace("until: 3 d", "until: 2 d")
    return trial_written(tmp_path, text, mild).parent


def run(dish, *options):
    return CliRunner().invoke(
        main, ["trial", str(dish / "trial.yaml"), "-o", str(dish / "out"), *options]
    )


def test_the_command_writes_tables_and_says_what_is_needed(dish):
    result = run(dish, "--replicates-needed", "leukaemia_log_kill=0.01")
    assert result.exit_code == 0, result.output
    assert "| more - usual " in result.output
    assert "needs patients" in result.output
    with open(dish / "out" / "arms.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["endpoint"] == "leukaemia_log_kill"]
    assert {row["arm"]: row["n"] for row in rows} == {"usual": "4", "more": "4", "usual_again": "4"}
    with open(dish / "out" / "differences.csv", newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["endpoint"] == "leukaemia_log_kill"]
    assert (row["arm"], row["control"], row["n"]) == ("more", "usual", "4")
    # the same patients with other chances are another arm, not the same numbers
    with open(dish / "out" / "endpoints.csv", newline="") as file:
        kills = {(r["arm"], r["patient"]): r["leukaemia_log_kill"] for r in csv.DictReader(file)}
    assert kills["usual", "0"] != kills["usual_again", "0"]


def test_run_again_the_tables_are_the_same_and_nothing_is_simulated(dish):
    run(dish)
    tables = {path: path.read_bytes() for path in (dish / "out").glob("*.csv")}
    assert len(tables) == 6
    records = {path: path.stat().st_mtime_ns for path in (dish / "out").rglob("*.h5")}
    assert run(dish, "--workers", "2").exit_code == 0
    assert {path: path.read_bytes() for path in tables} == tables
    assert {path: path.stat().st_mtime_ns for path in records} == records


def test_without_the_library_targets_are_shown_and_one_sentence_says_what_to_install(
    dish, monkeypatch
):
    def missing(*_):
        raise MissingPackageError("survival analysis", "lifelines", "statistics")

    monkeypatch.setattr("mst_abm.report.arms.summaries", missing)
    result = run(dish, "--patients", "2")
    assert result.exit_code == 0, result.output
    assert "| T1 " in result.output
    assert "install 'mst-abm[statistics]'" in result.output
    assert not (dish / "out" / "arms.csv").exists()


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("leukaemia_log_kill", "expected ENDPOINT=HALF"),
        ("leukaemia_log_kill=-1", "expected ENDPOINT=HALF"),
        ("leukaemia_log_kill=nan", "expected ENDPOINT=HALF"),
        ("leukemia_log_kill=0.1", "did you mean 'leukaemia_log_kill'"),
        ("leukaemia_log_kill=1 d", "expected a half-width in"),
    ],
)
def test_a_wrong_half_width_is_one_sentence(dish, wanted, sentence):
    result = run(dish, "--patients", "2", "--replicates-needed", wanted)
    assert (result.exit_code, sentence in result.output) == (2, True), result.output
