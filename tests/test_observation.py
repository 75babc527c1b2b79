"""What a clinic sees: the error of counting, days without a sample, the limit of an assay, and addresses."""

from __future__ import annotations

import numpy as np
import pytest
from thresholds import OBSERVATION
from worlds import seed_of

from mst_abm.clinic.observation import Observation, day_of, latest
from mst_abm.errors import ScenarioError
from mst_abm.model.definition import Observable
from mst_abm.records.reader import open_run
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario import load_scenario_text

TEXT = """
types: {cell: {}, blast: {}}
signals: {level: {unit: pg/mL, initial: 3, source: test}}
rules: [{name: die, die: cell, rate: 0.01 /h, source: test}]
compartments: {blood: {mixed: {}, stands_for: 1 mm^3}}
initial: {blood: {cell: 4000, blast: 1000}}
observables:
  count: {of: blood.cell, relative_to: 1e9 /L, source: test, observed: {volume_counted: 0.2 uL, source: test}}
  share: {of: blood.blast, share_of: "*", source: test, observed: {every: 2 d, cells_counted: 500, source: test}}
  assay: {of: blood.blast, share_of: "*", times: 0.01, source: test, observed: {cells_counted: 10000, limit: 0.2 %, source: test}}
  plain: {of: blood.cell, relative_to: 1 cell, source: test}
  hidden: {of: blood.cell, relative_to: 1 cell, source: test, observed: {every: never, source: test}}
  level: {signal: level, source: test, observed: {limit: 4 pg/mL, source: test}}
run: {until: 5 d, exchange: 12 h, record: {counts: 12 h}}
"""
SIZE = OBSERVATION["counting error"]


@pytest.fixture(scope="module")
def items() -> dict[str, Observable]:
    return {item.name: item for item in load_scenario_text(TEXT).observables}


def seen(item: Observable, value: float, day: int = 0) -> np.ndarray:
    """Reports of one value in many replicates."""
    observation = Observation([item], seed_of(31), range(SIZE.n))
    return observation.report(day, {item.name: np.full(SIZE.n, value)})[item.name]


def scores(values: np.ndarray, mean: float, variance: float) -> np.ndarray:
    """Standard scores of mean and variance."""
    n = len(values)
    return np.array(
        [
            (values.mean() - mean) / np.sqrt(variance / n),
            (((values - mean) ** 2).mean() / variance - 1.0) / np.sqrt(2.0 / n),
        ]
    )


def test_counting_errs_as_counting_does(items: dict[str, Observable]) -> None:
    share, count = seen(items["share"], 0.2), seen(items["count"], 4.0)
    # 4e9 per litre are 800 cells in 0.2 microlitres
    for values, mean, variance, scale in (
        (share, 0.2, 0.2 * 0.8 / 500, 500),
        (count, 4.0, 4.0**2 / 800, 200),
    ):
        assert np.abs(scores(values, mean, variance)).max() < SIZE.z
        assert np.allclose(values * scale, np.round(values * scale))
        # negative control: as if a quarter more cells had been counted
        assert abs(scores(values, mean, variance * (1 - SIZE.error))[1]) > SIZE.z


def test_below_the_limit_nothing_is_detected(items: dict[str, Observable]) -> None:
    values = seen(items["assay"], 0.002)
    low = values == 0.0
    assert 0.3 < low.mean() < 0.7
    assert values[~low].min() >= 0.002
    unlimited = Observation([items["level"]], 1, [0])
    assert unlimited.report(0, {"level": np.array([3.9])})["level"] == 0.0
    assert unlimited.report(0, {"level": np.array([4.1])})["level"] == 4.1


def test_days_without_a_sample(items: dict[str, Observable]) -> None:
    observation = Observation(list(items.values()), 1, [0])
    truth = {name: np.array([0.3]) for name in items}
    days = [observation.report(day, truth) for day in range(5)]
    assert "hidden" not in days[0]
    assert [bool(np.isnan(d["share"][0])) for d in days] == [False, True, False, True, False]
    assert all(d["plain"][0] == 0.3 for d in days)
    series = np.array([[1.0, np.nan, np.nan, 2.0, np.nan]])
    assert latest(series).tolist() == [[1.0, 1.0, 1.0, 2.0, 2.0]]


def test_addresses(items: dict[str, Observable]) -> None:
    """A replicate sees the same alone and among others, whatever else is looked at, in any order."""
    truth = {name: np.full(4, 0.3) for name in items}
    batch = Observation(list(items.values()), 7, range(4)).report(2, truth)
    backwards = Observation(list(items.values())[::-1], 7, range(4))
    backwards.report(4, truth)
    again = backwards.report(2, truth)
    for name in ("share", "count"):
        alone = Observation([items[name]], 7, [3]).report(2, {name: truth[name][3:]})[name]
        assert alone[0] == batch[name][3] == again[name][3]
        others = [
            Observation([items[name]], 8, [3]).report(2, {name: truth[name][3:]})[name],
            Observation([items[name]], 7, [3]).report(4, {name: truth[name][3:]})[name],
            batch[name][:1],
        ]
        assert len({float(x[0]) for x in (*others, alone)}) > 2
    assert not np.array_equal(batch["share"], batch["count"])


def test_the_file_holds_truth_and_report(tmp_path) -> None:
    scenario = load_scenario_text(TEXT)
    run_to_file(scenario, tmp_path / "run.h5", replicates=2, first_replicate=5, seed=9)
    with open_run(tmp_path / "run.h5") as run:
        truth, reported = run.observed, run.reported
        days = [day_of(t) for t in run.observed_times_h]
        assert days == list(range(6))
        assert set(truth) - set(reported) == {"hidden"}
        assert np.array_equal(truth["plain"], reported["plain"])
        assert np.all(truth["count"] != reported["count"])
        assert np.abs(reported["count"] / truth["count"] - 1).max() < 0.3
        observation = Observation(scenario.observables, 9, run.replicates)
        for i, day in enumerate(days):
            now = observation.report(day, {name: values[:, i] for name, values in truth.items()})
            for name, values in now.items():
                assert np.array_equal(values, reported[name][:, i], equal_nan=True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("every: 2 d", "every: 30 h", 'expected whole days or never, as "7 d", got 1.25 d'),
        ("every: 2 d", "every: 2", "expected a duration such as"),
        ("cells_counted: 500", "volume_counted: 1 uL", "only where the observable is a density"),
        ("volume_counted: 0.2 uL", "cells_counted: 9", "only where the observable is a share"),
        ("volume_counted: 0.2 uL", "volume_counted: 0 uL", "expected a volume above 0"),
        ("limit: 0.2 %", "limit: 120 %", "between 0 and 1"),
        ("limit: 4 pg/mL", "limit: 4", 'a quantity with its unit as "2 pg/mL"'),
        ("cells_counted: 500, source: test", "cells_counted: 500", "missing 'source'"),
    ],
)
def test_mistakes(old: str, new: str, words: str) -> None:
    assert old in TEXT
    with pytest.raises(ScenarioError) as error:
        load_scenario_text(TEXT.replace(old, new, 1))
    assert len(error.value.problems) == 1
    assert words in str(error.value)
