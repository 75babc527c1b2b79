"""Cohorts shared by trial files: the same patients with more said of each, texts drawn by frequency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mst_abm.clinic.cohort import Cohort, Distribution, Parameter
from mst_abm.clinic.hla import mismatch
from mst_abm.errors import ScenarioError
from mst_abm.scenario import load_scenario
from mst_abm.scenario.trial import load_trial

TRIALS = Path(__file__).parent.parent / "configs" / "trials"
BASE = """
cohort:
  seed: 5
  patients: 7
  parameters:
    - {name: speed, lognormal: {sd_log: 0.4}, times: ["rules.killer kills.rate"], source: test}
    - {name: room, normal: {mean: 3, sd: 1}, times: [rules.prey divide.rate], source: test}
arms: {usual: {scenario: dish.yaml}}
"""
OWN = """
cohort:
  from: base.yaml
  parameters:
    - name: first
      choice: {values: ["A*01:01 B*07:02", "A*02:01 B*08:01"], weights: [3, 1]}
      adds_to: [patient.hla, donor.hla]
      source: test
    - {name: second, like: first, adds_to: [patient.hla]}
    - {name: third, like: first, adds_to: [donor.hla]}
    - {name: growth, lognormal: {sd_log: 0.2}, times: [rules.prey divide.rate], source: test}
  correlated:
    - {of: [speed, growth], rho: 0.5}
arms: {usual: {scenario: dish.yaml}}
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "dish.yaml").write_text("model: box\n")
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path


def test_patients_of_another_file_are_the_same_to_the_bit_with_more_said_of_each(files):
    base, own = (load_trial(files / name).cohort for name in ("base.yaml", "own.yaml"))
    assert (own.seed, load_trial(files / "own.yaml").patients) == (5, 7)
    for patient in range(20):
        before, after = base.draw(patient), own.draw(patient)
        assert {name: after[name] for name in before} == before
        assert len(after) == 6
    drawn = [own.draw(patient) for patient in range(1500)]
    scores = np.log([[d["speed"], d["growth"]] for d in drawn]).T
    assert abs(np.corrcoef(scores)[0, 1] - 0.5) < 0.1  # standard error 0.02


def test_texts_are_drawn_by_their_weights_and_make_up_lists(files):
    own = load_trial(files / "own.yaml").cohort
    drawn = [own.draw(patient) for patient in range(1200)]
    share = np.mean([d["second"] == "A*01:01 B*07:02" for d in drawn])
    assert abs(share - 0.75) < 5 * 0.0125
    assert any(d["second"] != d["third"] for d in drawn)
    one = own.draw(0)
    texts = [text for text in own.overrides(0) if ".hla=" in text]
    hla = {name: list for name, _, list in (text.partition("=") for text in texts)}
    words = (str(one["first"]) + " " + str(one["second"])).split()
    assert hla["patient.hla"] == "[" + ", ".join(f'"{word}"' for word in words) + "]"
    assert set(hla) == {"patient.hla", "donor.hla"}


@pytest.mark.parametrize(
    ("law", "share", "value"),
    [
        (Distribution("uniform", low=1, high=5), 0.25, 2.0),
        (Distribution("loguniform", low=1, high=16), 0.25, 2.0),
        (Distribution("normal", mean=3, sd=2), 0.97724987, 7.0),
        (Distribution("lognormal", median=3, sd_log=0.5), 0.15865525, 3 * np.exp(-0.5)),
        # of the upper half the median is the upper quartile
        (Distribution("normal", mean=3, sd=2, low=3), 0.5, 3 + 2 * 0.67448975),
        (Distribution("lognormal", median=3, sd_log=1, high=3), 0.5, 3 * np.exp(-0.67448975)),
        (Distribution("choice", values=(7, 8, 9), weights=(1, 2, 1)), 0.3, 8),
    ],
)
def test_a_share_of_patients_lies_below_its_value(law, share, value):
    assert law.quantile(share) == pytest.approx(value)


def test_who_follows_nobody_keeps_his_draw():
    parts = tuple(Parameter(name, Distribution("lognormal", sd_log=0.5)) for name in "abc")
    free, tied = Cohort(parts), Cohort(parts, (("a", "c", 0.9),))
    for patient in range(10):
        one, other = free.draw(patient), tied.draw(patient)
        assert (one["a"], one["b"]) == (other["a"], other["b"])
        assert one["c"] != other["c"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("from: base.yaml", "from: bass.yaml", "no such file"),
        ("from: base.yaml", "from: own.yaml", "expected another file"),
        ("from: base.yaml", "from: dish.yaml", "expected a trial file with a 'cohort'"),
        ("name: growth", "name: speed", "'speed' is already given"),
        ("like: first, adds_to: [patient.hla]", "like: fist, adds_to: [patient.hla]", "'first'"),
        ("times: [rules.prey divide.rate]", "adds_to: [patient.hla]", "expected texts to add"),
        ("adds_to: [patient.hla, donor.hla]", "sets: {patient.age: y}", "expected numbers"),
        (', "A*02:01 B*08:01"]', ", 2]", "all numbers, or all texts"),
        ("sd_log: 0.2}, times: [rules.prey divide.rate], source: test", "sd_log: 0.2}, times: [a]", "missing 'source'"),
    ],
)  # fmt: skip
def test_mistakes_are_said_where_they_are(files, old, new, sentence):
    assert old in OWN
    (files / "own.yaml").write_text(OWN.replace(old, new))
    with pytest.raises(ScenarioError, match=sentence) as error:
        load_trial(files / "own.yaml")
    assert str(files) in str(error.value)


def test_elderly_patients_are_those_of_the_one_population():
    base, elderly = (
        load_trial(TRIALS / name) for name in ("one_population.yaml", "elderly_aml.yaml")
    )
    known = {p.name for p in base.cohort.parameters}
    for patient in range(elderly.patients):
        one, other = base.cohort.draw(patient), elderly.cohort.draw(patient)
        assert {name: other[name] for name in known} == one
        assert 60 <= other["age"] <= 88
        assert 0.05 <= other["burden"] <= 1.3
        assert 0.5e8 <= other["donor_cd3"] <= 2.6e8


def test_an_elderly_patient_has_a_body_a_burden_and_a_donor_of_his_own():
    trial = load_trial(TRIALS / "elderly_aml.yaml")
    (arm,) = [arm for arm in trial.arms if arm.name == "microtransplantation"]
    overrides = (*arm.overrides, *trial.cohort.overrides(3))
    found, drawn = load_scenario(arm.scenario, overrides=overrides), trial.cohort.draw(3)
    assert found.patient.bsa_m2 == pytest.approx(np.sqrt(drawn["height"] * drawn["weight"] / 3600))
    assert found.donor.cells_per_kg["cd3_per_kg"] == pytest.approx(drawn["donor_cd3"])
    assert len(found.patient.hla) == len(found.donor.hla) == 8
    # a child shares a haplotype, so that at most half of the alleles differ
    assert mismatch(found.patient.hla, found.donor.hla).hvg_fraction <= 0.5
    dose = {dose.drug: dose.amount_mg for dose in found.doses}["mitoxantrone"]
    assert dose == pytest.approx(8 * found.patient.bsa_m2)
