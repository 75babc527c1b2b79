"""The studies ask what their runs can answer: names of readings and targets are there before hours of work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from studies.host_and_dose import plan
from studies.patches import CUTS, trial_of

from mst_abm.runs.trial import run_trial


@pytest.mark.parametrize(
    "trial", [plan(1), *(trial_of(cut, True) for cut in CUTS)], ids=lambda t: t.name
)
def test_a_study_asks_for_what_there_is(trial, tmp_path):
    run_trial(replace(trial, arms=trial.arms[:1]), tmp_path, patients=0)
