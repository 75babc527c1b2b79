"""Hypotheses: which pass is known, those that do the same are not told apart, and power is that of exact binomials."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import betabinom, binom
from sweeps import LINE

from mst_abm.cli import main
from mst_abm.clinic.identification import outcomes, power
from mst_abm.clinic.targets import Target
from mst_abm.errors import RecordError, ScenarioError
from mst_abm.report.identification import identification_text, write_identification
from mst_abm.runs import calibrate as room
from mst_abm.runs.identify import Identified, identify
from mst_abm.runs.pools import LocalPool
from mst_abm.scenario.identification import load_identification
from mst_abm.scenario.trial import load_trial

TRIAL = """
cohort: {patients: 1, seed: 3}
arms: {pot: {scenario: line.yaml}}
readings: {left: {of: blast_cells, at: 1 d}, end: {of: level, at: 10 d}}
targets:
  - {name: left, arm: pot, endpoint: left, statistic: median, low: 10, high: 20, source: test}
  - {name: end, arm: pot, endpoint: end, statistic: median, low: 0, high: 9, source: test}
"""
#: `one` and `two` kill all cells within hours, `three` kills nobody; the level rises whatever is on.
ASKED = """
trial: trial.yaml
mechanisms: [one, two, three]
fit: [left]
measurements:
  cells: {arm: pot, endpoint: left, statistic: median}
  level: {arm: pot, endpoint: end, statistic: median}
"""


def question(folder: Path, text: str = ASKED) -> Path:
    (folder / "line.yaml").write_text(LINE, encoding="utf-8")
    (folder / "trial.yaml").write_text(TRIAL, encoding="utf-8")
    path = folder / "causes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def identified(path: Path, folder: Path, workers: int = 1) -> Identified:
    with LocalPool(workers) as pool:
        return identify(load_identification(path), folder, pool)


def test_hypotheses_pass_where_their_mechanisms_meet_the_targets(tmp_path, monkeypatch):
    found = identified(question(tmp_path), tmp_path / "out", workers=2)
    assert len(found.verdicts) == 8
    for verdict in found.verdicts:
        assert verdict.passes == (not {"one", "two"} & set(verdict.on),), verdict.name
    # the two that pass do the same, so that nothing tells them apart
    assert [s.power for s in found.separations] == [
        {("three", "none"): 0.0, ("none", "three"): 0.0}
    ] * 2
    text = identification_text(found)
    assert "2 of 8 hypotheses pass" in text and "three v none 0%" in text
    assert all(f.stat().st_size for f in write_identification(found, tmp_path / "out"))
    monkeypatch.setattr(room, "run_trial", None)  # nothing is run again
    assert identification_text(identified(question(tmp_path), tmp_path / "out")) == text
    with pytest.raises(RecordError, match="another one than these hypotheses"):
        identified(
            question(tmp_path, ASKED.replace("[one, two, three]", "[one, two]")), tmp_path / "out"
        )


def test_what_differs_between_those_that_pass_is_the_best_measurement(tmp_path):
    text = ASKED.replace("fit: [left]", "fit: [end]\nsets: sets.csv")
    text += "hypotheses: {all: [one, two, three], nothing: []}\nengine: cells\n"
    (tmp_path / "sets.csv").write_text("signals.level.initial\n0\n100\n", encoding="utf-8")
    found = identified(question(tmp_path, text), tmp_path / "out")
    # the second set takes the level out of its range
    assert [v.passes for v in found.verdicts] == [(True, False)] * 2
    assert [(s.measurement, s.mean) for s in found.separations] == [("cells", 1.0), ("level", 0.0)]


def test_the_command_tells_what_passes(tmp_path):
    text = ASKED.replace("[one, two, three]", "[one]")
    result = CliRunner().invoke(
        main, ["identify", str(question(tmp_path, text)), "-o", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "1 of 2 hypotheses pass 1 targets" in result.output
    assert "fewer than two hypotheses pass" in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fit: [left]", "fit: [lift]", "got 'lift'; did you mean 'left'?"),
        (
            "fit: [left]",
            "fit: [left]\nhypotheses: {x: [on]}",
            "unknown mechanism 'on'; did you mean 'one'?",
        ),
        (
            "mechanisms: [one, two, three]",
            "mechanisms: [a, b, c, d, e, f, g]",
            "7 mechanisms are too many",
        ),
        ("trial: trial.yaml", "trial: line.yaml", "expected a trial"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, old, new, message):
    with pytest.raises(ScenarioError) as error:
        load_identification(question(tmp_path, ASKED.replace(old, new)))
    assert message in str(error.value)


def test_an_unknown_switch_is_told_before_anything_runs(tmp_path):
    with pytest.raises(ScenarioError, match="arm 'pot' has no switch 'four'"):
        identified(question(tmp_path, ASKED.replace("three", "four")), tmp_path / "out")


def test_files_of_another_kind_are_told(tmp_path):
    path = question(tmp_path)
    with pytest.raises(ScenarioError, match="use mst-abm identify"):
        load_trial(path)


# ------------------------------------------------------------------ statistics

SHARE = Target("remission", "arm", "remission", "share", value=0)


def patients(reached: int, n: int) -> np.ndarray:
    return np.where(np.arange(n) < reached, 20.0, np.nan)


def test_outcomes_of_a_share_are_beta_binomial():
    shown = 30 * outcomes(SHARE, patients(12, 40), 30)
    law = betabinom(30, 12.5, 28.5)
    assert shown.mean() == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(len(shown)))
    assert shown.std() == pytest.approx(law.std(), rel=0.05)


@pytest.mark.parametrize(("one", "other"), [(0.2, 0.6), (0.4, 0.5), (0.5, 0.5)])
def test_power_is_that_of_binomials(one, other):
    n, m = 30, 100_000
    a, b = (outcomes(SHARE, patients(round(p * m), m), n) for p in (one, other))
    x = np.arange(n + 1)
    law = binom(n, other)
    refuted = 2.0 * np.minimum(law.cdf(x), law.sf(x - 1)) < 0.05
    exact = float(binom(n, one).pmf(x)[refuted].sum())
    assert power(a, b) == pytest.approx(exact, abs=0.03)
    if one == other:
        assert power(a, b) < 0.05  # the same is not told apart


def test_outcomes_of_a_median_hold_those_who_never_get_there():
    never = Target("anc", "arm", "anc", "median", value=0)
    half = np.where(np.arange(10) < 3, 12.0, np.nan)
    assert np.isinf(outcomes(never, half, 30)).mean() > 0.8
    chance = Target("gvhd", "arm", "gvhd", "chance", value=0)
    assert outcomes(chance, np.full(10, 0.3), 30).mean() == pytest.approx(0.3, abs=0.01)
