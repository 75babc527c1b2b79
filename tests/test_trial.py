"""Virtual patients, arms and targets: draws hang on the patient alone, results on nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dishes import DISH, TRIAL, trial_written
from scipy import stats

from mst_abm.cli import main
from mst_abm.clinic.cohort import Cohort, Distribution, Parameter
from mst_abm.clinic.readings import Reading
from mst_abm.clinic.targets import Target, compare
from mst_abm.errors import ModelError, RecordError, ScenarioError
from mst_abm.report.targets import comparisons
from mst_abm.runs.gathering import until_death
from mst_abm.runs.locks import owner_of
from mst_abm.runs.trial import TABLE, run_trial
from mst_abm.scenario import load_scenario
from mst_abm.scenario.trial import load_trial

SPREAD = Distribution("lognormal", median=2.0, sd_log=0.5)


def cohort(*parameters, **options):
    return Cohort(tuple(Parameter(name, d) for name, d in parameters), **options)


def drawn(cohort, name, n=2000):
    return np.array([cohort.draw(patient)[name] for patient in range(n)])


# ------------------------------------------------------------------ patients


def test_a_patient_is_his_number_and_not_who_came_before():
    one = cohort(("a", SPREAD), ("b", SPREAD))
    assert one.draw(7) == cohort(("a", SPREAD), ("b", SPREAD)).draw(7)
    assert one.draw(7) != one.draw(8)
    assert one.draw(7)["a"] == cohort(("a", SPREAD)).draw(7)["a"]
    assert one.draw(7) != cohort(("a", SPREAD), ("b", SPREAD), seed=2).draw(7)


@pytest.mark.parametrize(
    ("distribution", "law"),
    [
        (Distribution("normal", mean=3.0, sd=2.0), stats.norm(3.0, 2.0)),
        (SPREAD, stats.lognorm(0.5, scale=2.0)),
        (Distribution("uniform", low=1.0, high=4.0), stats.uniform(1.0, 3.0)),
        (
            Distribution("normal", mean=3.0, sd=2.0, low=2.0, high=4.0),
            stats.truncnorm(-0.5, 0.5, 3.0, 2.0),
        ),
    ],
    ids=["normal", "lognormal", "uniform", "cut off"],
)
def test_patients_follow_the_stated_distribution(distribution, law):
    values = drawn(cohort(("a", distribution)), "a")
    assert stats.kstest(values, law.cdf).pvalue > 1e-3
    assert stats.kstest(values * 1.2, law.cdf).pvalue < 1e-6  # the test sees a shift


def test_a_choice_is_made_by_weight():
    values = drawn(cohort(("a", Distribution("choice", values=(1, 5), weights=(3, 1)))), "a")
    assert set(values) == {1, 5}
    assert stats.binomtest(int((values == 5).sum()), len(values), 0.25).pvalue > 1e-3


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.8])
def test_parameters_are_correlated_as_stated(rho):
    pair = cohort(("a", SPREAD), ("b", SPREAD), correlations=(("a", "b", rho),))
    seen = np.corrcoef(np.log(drawn(pair, "a")), np.log(drawn(pair, "b")))[0, 1]
    assert abs(np.arctanh(seen) - np.arctanh(rho)) < 4 / np.sqrt(2000)


def test_correlations_that_contradict_each_other_are_refused():
    strong = (("a", "b", 0.9), ("b", "c", 0.9), ("a", "c", -0.9))
    group = cohort(("a", SPREAD), ("b", SPREAD), ("c", SPREAD), correlations=strong)
    with pytest.raises(ModelError, match="contradict each other"):
        group.draw(0)


def test_a_value_sets_and_multiplies_numbers_where_they_stand():
    parameter = Parameter(
        "a",
        Distribution("choice", values=(4.0,), weights=(1.0,)),
        times={"rules.killer kills.rate": 0.5},
        sets={"run.until": "h"},
    )
    overrides = Cohort((parameter,)).overrides(0)
    scenario = load_scenario("box", overrides=overrides)
    usual = load_scenario("box")
    kills = [
        next(r.rate for r in s.model.rules if r.name == "killer kills") for s in (usual, scenario)
    ]
    assert kills[1] == pytest.approx(2.0 * kills[0])
    assert scenario.run.until_h == 4.0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules.killer kills.rate*=2 /h", "expected a plain factor"),
        ("rules.killer kills.name*=2", "expected a number to multiply"),
        ("rules.killer kills.nothing*=2", "got nothing"),
    ],
)
def test_a_factor_needs_a_number_to_multiply(text, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        load_scenario("box", overrides=[text])


# ------------------------------------------------------------------ targets


def share(value, of, **options):
    return Target("T", "arm", "remission", "share", value, of, **options)


def test_tail_of_a_share_is_that_of_the_beta_binomial():
    days = np.where(np.arange(50) < 20, 30.0, np.nan)
    found = compare(share(12, 28), days)
    law = stats.betabinom(28, 20.5, 30.5)
    expected = 2 * min(sum(law.pmf(range(13))), sum(law.pmf(range(12, 29))))
    assert found.simulated == pytest.approx(0.4)
    assert found.tail == pytest.approx(min(1.0, expected))
    assert found.is_met
    assert not compare(share(26, 28), days).is_met


def test_a_share_can_be_of_values_within_bounds_or_of_chances():
    values = np.array([1.0, 2.0, 3.0, np.nan])
    assert compare(share(1, 4, above=2.0), values).simulated == 0.5
    assert compare(share(1, 4, below=2.0), values).simulated == 0.25
    chances = compare(Target("T", "arm", "gvhd", "chance", 0, 30), np.full(40, 0.01))
    assert chances.simulated == pytest.approx(0.01)
    assert chances.is_met
    assert not compare(Target("T", "arm", "gvhd", "chance", 0, 30), np.full(40, 0.5)).is_met


def test_a_value_without_end_is_a_value():
    kills = np.array([2.0, np.inf, -np.inf, np.nan])
    assert compare(share(1, 4, above=3.0), kills).simulated == 0.25
    assert compare(share(1, 4, below=3.0), kills).simulated == 0.5


def test_chances_of_patients_are_known_better_than_who_falls_ill():
    chances = np.linspace(0.4, 0.6, 10)
    found = compare(Target("T", "arm", "gvhd", "chance", 18, 84), chances)
    assert 0.45 < found.low < found.simulated < found.high < 0.55
    assert found.tail < 1e-4
    assert compare(Target("T", "arm", "gvhd", "chance", 42, 84), chances).tail > 0.9


def test_a_median_is_judged_at_the_size_of_its_trial():
    rng = np.random.default_rng(3)
    days = rng.normal(16.0, 3.0, 200)
    at = lambda value, of: compare(Target("T", "a", "e", "median", value, of), days)  # noqa: E731
    assert at(16.0, 28).tail > 0.3
    assert at(18.0, 8).is_met  # a small series may well be two days off
    assert not at(18.0, 100).is_met
    assert at(16.0, 28).low < np.median(days) < at(16.0, 28).high


@pytest.mark.parametrize("n", [400, 8])
def test_the_tail_of_a_mean_holds_the_error_of_both_samples(n):
    days = stats.norm(16.0, 3.0).ppf((np.arange(n) + 0.5) / n)
    found = compare(Target("T", "a", "e", "mean", 17.5, 28), days)
    # patients drawn with replacement, and of those as many as were observed
    error = days.std() * np.sqrt(1 / n + (1 - 1 / n) / 28)
    side = stats.norm.sf(1.5 / error)
    noise = 2 * np.sqrt(side / 4000)
    assert abs(found.tail - 2 * side) < 4 * noise
    if n == 8:  # the error of those observed alone would be seen to be too small
        assert abs(2 * stats.norm.sf(1.5 / (days.std() / np.sqrt(28))) - 2 * side) > 8 * noise


def test_who_never_recovers_ranks_last():
    days = np.array([10.0, 12.0, np.nan, np.nan, np.nan])
    assert np.isinf(compare(Target("T", "a", "e", "median", 12, 5), days).simulated)
    days = np.array([10.0, 12.0, 14.0, np.nan])
    assert compare(Target("T", "a", "e", "median", low=11, high=14, value=np.nan), days).is_met


def test_a_reading_is_what_a_paper_states():
    days = np.arange(6) * 24.0
    series = {"a": np.array([[8.0, 1.0, 2.0, 10.0, 4.0, 0.0], [0.0] * 6])}
    peak = Reading("p", "a", "max", 48.0, 96.0)
    assert peak.value(days, series).tolist() == [10.0, 0.0]
    low = Reading("l", "a", "min", 24.0, 48.0)
    rebound = Reading("r", "a", "max", 48.0, 96.0, over=low, is_log10=True)
    found = rebound.value(days, series)
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert np.isnan(Reading("n", "a", "max", 240.0, 260.0).value(days, series)).all()
    assert rebound.needs == {"a"}


def test_nothing_is_read_off_a_patient_who_died():
    times = np.arange(4) * 24.0
    series = {"a": np.array([[1.0, 2.0, 3.0, 4.0]] * 2)}
    ends = {"true_os_event": np.array([1.0, 0.0]), "true_os_time": np.array([1.5, 3.0])}
    dead, alive = until_death(times, series, ends)["a"][:, None]
    assert np.array_equal(dead, [[1.0, 2.0, np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(alive, series["a"][1:])
    assert until_death(times, series, {}) is series
    assert Reading("r", "a", "max", 0.0, 96.0).value(times, {"a": dead})[0] == 2.0
    assert np.isnan(Reading("r", "a", "max", 72.0, 72.0).value(times, {"a": dead})[0])


def test_a_reading_not_taken_is_left_out_and_an_endpoint_not_reached_ranks_last(dish):
    trial = load_trial(dish / "trial.yaml")
    targets = tuple(
        Target(name, "usual", name, "median", np.nan, low=0, high=9)
        for name in ("prey_left", "day")
    )
    values = np.array([1.0, 2.0, np.nan, np.nan, np.nan])
    found = {"usual": {"prey_left": values, "day": values}}
    left, day = comparisons(replace(trial, targets=targets), found)
    assert (left.simulated, left.patients) == (1.5, 2)
    assert np.isinf(day.simulated)


# ------------------------------------------------------------------ the trial


@pytest.fixture
def dish(tmp_path):
    return trial_written(tmp_path).parent


def test_a_trial_is_the_same_for_any_number_of_workers(dish):
    trial = load_trial(dish / "trial.yaml")
    one = run_trial(trial, dish / "one", workers=1)
    run_trial(trial, dish / "two", workers=2)
    assert (dish / "one" / TABLE).read_bytes() == (dish / "two" / TABLE).read_bytes()
    kills = [one[arm]["leukaemia_log_kill"] for arm in ("usual", "none")]
    assert len(kills[0]) == 3
    assert not np.array_equal(*kills)
    assert np.isfinite(one["none"]["prey_left"]).all()


def test_run_again_a_trial_does_only_what_is_missing(dish):
    trial = load_trial(dish / "trial.yaml")
    run_trial(trial, dish / "out")
    files = sorted((dish / "out").rglob("*.h5"))
    assert len(files) == 6
    before = {f: f.stat().st_mtime_ns for f in files}
    table = (dish / "out" / TABLE).read_bytes()
    files[2].unlink()
    run_trial(trial, dish / "out")
    after = {f: f.stat().st_mtime_ns for f in files}
    assert [f for f in files if after[f] != before[f]] == [files[2]]
    assert (dish / "out" / TABLE).read_bytes() == table


def test_an_arm_may_have_fewer_patients(dish):
    (dish / "trial.yaml").write_text(TRIAL.replace("{like: usual,", "{like: usual, patients: 2,"))
    found = run_trial(load_trial(dish / "trial.yaml"), dish / "out")
    assert [len(found[arm]["prey_left"]) for arm in ("usual", "none")] == [3, 2]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for a process in /proc")
def test_killed_a_trial_leaves_no_process_and_goes_on_where_it_was(dish):
    long = DISH.replace("until: 3 d", "until: 3000 d")
    (dish / "dish.yaml").write_text(long)
    command = [sys.executable, "-m", "mst_abm", "trial", str(dish / "trial.yaml"), "-o", "out"]
    parent = subprocess.Popen(command, cwd=dish, stderr=subprocess.DEVNULL)
    while not list((dish / "out").rglob("*.part")):
        assert parent.poll() is None
        time.sleep(0.1)
    (part,) = (dish / "out").rglob("*.part")
    owner = owner_of(part.with_suffix(""))
    assert owner is not None
    worker = owner.pid
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
    (dish / "dish.yaml").write_text(DISH)
    run_trial(load_trial(dish / "trial.yaml"), dish / "out")
    assert not list((dish / "out").rglob("*.part"))


def test_a_changed_scenario_is_run_anew(dish):
    trial = load_trial(dish / "trial.yaml")
    run_trial(trial, dish / "out", patients=1, arms=("usual",))
    (dish / "dish.yaml").write_text(DISH.replace("killer: 8", "killer: 9"))
    run_trial(trial, dish / "out", patients=1, arms=("usual",))
    assert len(list((dish / "out" / "usual").glob("*.h5"))) == 2


def test_a_folder_that_cannot_be_made_is_one_sentence(dish):
    (dish / "file").write_text("")
    with pytest.raises(RecordError, match="expected a folder that can be made"):
        run_trial(load_trial(dish / "trial.yaml"), dish / "file")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("arm: usual", "arm: usuall", "did you mean 'usual'"),
        ("lognormal", "lognormall", "lognormal"),
        ("scenario: dish.yaml}", "scenario: fish.yaml}", "no such file"),
        ("like: usual", "like: usuall", "did you mean 'usual'"),
        ("like: usual, ", "", "missing 'scenario'"),
        ("low: 0, high: 5", "value: 2", "expected either 'of'"),
        ("sd_log: 0.4", "sd_log: -1", "sd_log"),
        ("at: 2 d", "to: 2 d, at: 2 d", "either 'at' or 'from'"),
        (', times: ["rules.killer kills.rate"]', "", "expected 'times', 'sets' or 'adds_to'"),
        ("statistic: mean", "statistic: survival", "expected 'at' with a survival"),
        ("statistic: mean", "at: 2 d, statistic: mean", "and only there"),
        ("statistic: mean", "at: 2 d, statistic: survival", "expected one of os, dfs"),
        ("prey_left, statistic: mean", "dfs, at: 2 d, statistic: incidence", "is a survival"),
    ],
)
def test_mistakes_in_a_trial_are_said_where_they_are(dish, old, new, sentence):
    (dish / "trial.yaml").write_text(TRIAL.replace(old, new))
    with pytest.raises(ScenarioError, match=sentence) as error:
        load_trial(dish / "trial.yaml")
    assert f"{dish / 'trial.yaml'}:" in str(error.value)


def test_a_scenario_is_not_a_trial_nor_the_other_way_round(dish):
    with pytest.raises(ScenarioError, match="got a scenario; use mst-abm run") as error:
        load_trial(dish / "dish.yaml")
    assert len(str(error.value).splitlines()) == 1
    with pytest.raises(ScenarioError, match="got a trial .*; use mst-abm trial"):
        load_scenario(dish / "trial.yaml")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("endpoint: leukaemia_log_kill", "endpoint: leukemia_log_kil", "'leukaemia_log_kill'"),
        ("of: blast_cells, at: 2 d", "of: blast_cell, at: 2 d", "'blast_cells'"),
        (
            "endpoint: leukaemia_log_kill, statistic: median",
            "endpoint: leukaemia_log_kil, at: 2 d, statistic: incidence",
            "'leukaemia_log_kill'",
        ),
    ],
)
def test_a_misspelt_name_is_told_before_anything_runs(dish, old, new, sentence):
    (dish / "trial.yaml").write_text(TRIAL.replace(old, new))
    with pytest.raises(ScenarioError, match=f"did you mean {sentence}"):
        run_trial(load_trial(dish / "trial.yaml"), dish / "out")
    assert not (dish / "out").exists()


def test_a_mistake_in_the_scenario_of_an_arm_is_said_as_everywhere(dish):
    (dish / "dish.yaml").write_text(DISH.replace("prey: 60", "pray: 60"))
    with pytest.raises(ScenarioError, match="did you mean 'prey'") as error:
        run_trial(load_trial(dish / "trial.yaml"), dish / "out", patients=1)
    assert len(str(error.value).splitlines()) == 1


def test_command_line_shows_targets_and_where_the_table_is(dish):
    out = dish / "out"
    command = ["trial", str(dish / "trial.yaml"), "-o", str(out), "--patients", "2"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "| T1 " in result.output
    assert str(out / TABLE) in result.output
    wrong = CliRunner().invoke(main, [*command, "--arm", "nobody"])
    assert wrong.exit_code == 2
    assert "expected one of usual, none" in wrong.output
