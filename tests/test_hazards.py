"""What befalls patients: hazards whose answers can be counted, draws with an address, and the section of the model."""

from __future__ import annotations

import math
import zlib
from dataclasses import replace

import numpy as np
import pytest
from plain_random import block
from proof import holds, is_caught
from thresholds import BEFALLEN
from worlds import seed_of

from mst_abm.clinic.draws import uniforms
from mst_abm.clinic.hazards import (
    bearable_of,
    befall,
    burden_of,
    crossing,
    grade,
    probability,
)
from mst_abm.errors import ScenarioError
from mst_abm.model.definition import Hazard, Risk, Shape
from mst_abm.model.english import describe
from mst_abm.scenario import load_scenario, load_scenario_text

DAYS_H = np.arange(0.0, 41.0) * 24.0
BEFALLING = 15


def below(at: float) -> Shape:
    return Shape("step", (("at", at), ("below", 1.0), ("above", 0.0)))


#: The shipped hazard, by its published numbers.
APLASIA = Hazard(
    "aplasia",
    risks=(
        Risk("anc", below(0.5), 0.003 / 24, "0.003 /day"),
        Risk("anc", below(0.1), 0.0045 / 24, "0.0045 /day"),
        Risk("platelets", below(10.0), 0.002 / 24, "0.002 /day"),
    ),
    is_fatal=True,
)
ILL = Hazard(
    "ill", exposure="exposure", log10_median=10.2, log10_sd=0.56,
    grades=(("I", 0.0), ("II", 0.2), ("III", 0.6), ("IV", 1.0)),
)  # fmt: skip


def valley(low_from: int, low_to: int, low: float, high: float) -> np.ndarray:
    series = np.full(len(DAYS_H), high)
    series[low_from:low_to] = low
    return series


def patient(anc: np.ndarray, platelets: np.ndarray) -> dict[str, np.ndarray]:
    return {"anc": anc[None], "platelets": platelets[None]}


def bearing(limit: float):
    """Uniforms by which patients bear so much of a cumulative hazard."""
    return lambda name: np.array([-math.expm1(-limit)])


# ---------------------------------------------------------------------- by hand


def test_the_shipped_hazard_is_the_published_one():
    (shipped,) = (h for h in load_scenario("marrow").model.hazards if h.name == "aplastic_death")
    assert shipped.is_fatal
    for anc, platelets, a_day in (
        (0.6, 50, 0.0), (0.5, 10, 0.0), (0.4, 50, 0.003), (0.09, 50, 0.0075), (0.09, 9, 0.0095), (2, 9, 0.002),
    ):  # fmt: skip
        series = patient(np.full(41, anc), np.full(41, platelets))
        for hazard in (shipped, APLASIA):
            burden = burden_of(hazard, DAYS_H, series)
            assert np.allclose(np.diff(burden), a_day, atol=1e-15), (anc, platelets)


def test_hazard_of_days_in_aplasia():
    """12 days below 0.5, six of them below 0.1; 4 days below 10 platelets."""
    anc = valley(8, 20, 0.3, 2.0)
    anc[10:16] = 0.05
    series = patient(anc, valley(12, 16, 5.0, 150.0))
    burden = burden_of(APLASIA, DAYS_H, series)
    total = 12 * 0.003 + 6 * 0.0045 + 4 * 0.002
    assert burden[0, -1] == pytest.approx(total)
    assert burden[0, 8] == 0
    assert probability(APLASIA, burden[:, -1])[0] == pytest.approx(1 - math.exp(-total))
    # he bears the first two days and half of the third, which is worth 0.0075
    fates = befall([APLASIA], DAYS_H, series, bearing(2 * 0.003 + 0.00375))
    assert fates["aplasia"].at_h[0] / 24 == pytest.approx(10.5)
    assert np.isnan(befall([APLASIA], DAYS_H, series, bearing(total * 1.001))["aplasia"].at_h[0])


def test_nobody_dies_of_counts_that_never_fell():
    series = patient(np.full(41, 3.0), np.full(41, 200.0))
    assert burden_of(APLASIA, DAYS_H, series)[0, -1] == 0
    assert np.isnan(befall([APLASIA], DAYS_H, series, bearing(1e-12))["aplasia"].at_h[0])


def test_samples_may_be_further_apart():
    times = np.array([0.0, 48.0, 120.0])
    series = {"anc": np.array([[0.3, 2.0, 0.05]]), "platelets": np.full((1, 3), 100.0)}
    assert burden_of(APLASIA, times, series)[0].tolist() == pytest.approx([0, 0.006, 0.006])


def test_crossing_is_linear_between_samples():
    times = np.array([0.0, 24.0, 48.0])
    burden = np.array([[0.0, 1.0, 4.0]] * 5)
    limits = np.array([0.0, 0.5, 1.0, 2.5, 4.1])
    assert crossing(times, burden, limits)[:4].tolist() == [0.0, 12.0, 24.0, 36.0]
    assert np.isnan(crossing(times, burden, limits)[4])


def test_illness_comes_when_the_exposure_passes_what_is_borne():
    exposure = np.zeros((1, 41))
    exposure[0, 10:] = np.linspace(0.0, 2e10, 31)
    series = {"exposure": exposure}
    fates = befall([ILL], DAYS_H, series, lambda name: np.array([0.5]))
    fate = fates["ill"]
    assert fate.bearable[0] == pytest.approx(10**10.2)
    assert fate.at_h[0] / 24 == pytest.approx(10 + 30 * 10**10.2 / 2e10)
    assert probability(ILL, exposure[:, -1])[0] == pytest.approx(0.5718, abs=1e-3)
    hardy = befall([ILL], DAYS_H, series, lambda name: np.array([0.7]))["ill"]
    assert np.isnan(hardy.at_h[0])
    none = befall([ILL], DAYS_H, {"exposure": np.zeros((1, 41))}, lambda name: np.array([1e-9]))
    assert np.isnan(none["ill"].at_h[0])
    assert probability(ILL, np.zeros(1))[0] == 0


def test_grades_by_how_far_above():
    limit = np.full(6, 1e10)
    burden = 1e10 * 10 ** np.array([-0.01, 0.01, 0.21, 0.59, 0.61, 1.01])
    assert grade(ILL, burden, limit).tolist() == [0, 1, 2, 2, 3, 4]


def test_the_dead_fall_ill_no_more():
    series = patient(valley(8, 20, 0.05, 2.0), np.full(41, 100.0))
    series["exposure"] = np.linspace(0, 4e10, 41)[None]
    even = {"aplasia": np.array([0.03]), "ill": np.array([0.5])}
    fates = befall([ILL, APLASIA], DAYS_H, series, even.__getitem__)
    assert fates["aplasia"].at_h[0] < 13 * 24
    assert np.isnan(fates["ill"].at_h[0])
    alive = befall([ILL, replace(APLASIA, is_fatal=False)], DAYS_H, series, even.__getitem__)
    assert alive["ill"].at_h[0] / 24 == pytest.approx(10**10.2 / 1e9)


# ---------------------------------------------------------------------- draws


def test_a_draw_has_an_address():
    """The same alone and among others, and from the paper's algorithm; others differ."""
    several = uniforms(2**40 + 7, np.arange(5, 9), "aplasia")
    assert uniforms(2**40 + 7, np.array([7]), "aplasia")[0] == several[2]
    which = zlib.crc32(b"aplasia")
    w0, w1, *_ = block(2**40 + 7, 7, 0, 2**28 - 1, which, BEFALLING)
    assert several[2] == ((w0 >> 6) * 2**26 + (w1 >> 6) + 0.5) / 2**52
    others = {
        float(uniforms(seed, np.array([replicate]), name)[0])
        for seed in (1, 2**32 + 1)
        for replicate in (0, 1)
        for name in ("aplasia", "ill")
    }
    assert len(others) == 8


def drawn(hazard: Hazard, n: int) -> np.ndarray:
    """Z of the number befallen against probabilities of 0.2 (a rate) and 0.5 (an exposure)."""
    p = 0.5 if hazard.exposure else 0.2
    burden = 10**10.2 if hazard.exposure else -math.log(1 - p)
    limits = bearable_of(hazard, uniforms(seed_of(11), np.arange(n), hazard.name))
    return np.array([(np.mean(limits <= burden) - p) / math.sqrt(p * (1 - p) / n)])


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["rate", "exposure"])
def test_as_many_are_befallen_as_the_probability_says(kind: str):
    hazard, size = {"rate": APLASIA, "exposure": ILL}[kind], BEFALLEN[kind]
    holds(f"befallen by {kind}", drawn(hazard, size.n), size.z, size.n)


@pytest.mark.proof
@pytest.mark.parametrize("kind", ["rate", "exposure"])
def test_a_burden_wrong_by_a_tenth_is_caught(kind: str):
    hazard, size = {"rate": APLASIA, "exposure": ILL}[kind], BEFALLEN[kind]
    p = 0.5 if hazard.exposure else 0.2
    burden = 1.1 * (10**10.2 if hazard.exposure else -math.log(1 - p))
    limits = bearable_of(hazard, uniforms(seed_of(11), np.arange(size.n), hazard.name))
    z = (np.mean(limits <= burden) - p) / math.sqrt(p * (1 - p) / size.n)
    is_caught(f"befallen by {kind}", "burden 10 % higher", [z], size.z, size.n)


# ---------------------------------------------------------------------- the section

MODEL = """
types: {neutrophil: {}}
rules: [{name: d, die: neutrophil, rate: 1 /h, source: test}]
compartments: {blood: {mixed: {}, stands_for: 1 L}}
initial: {blood: {neutrophil: 10}}
signals: {level: {unit: pg/mL, clearance: 1 /h, source: test}}
switches: {optional: on, silent: off}
observables:
  anc: {of: blood.neutrophil, relative_to: 1e9 /L, source: test}
  level: {signal: level, source: test}
  hidden: {signal: level, switch: silent, source: test}
hazards:
  infection:
    fatal: on
    risks:
      - {observable: anc, rate: 0.024 /day, shape: {step: {at: 0.5, below: 1, above: 0}}, class: measured, source: test}
      - {observable: level, rate: 1 /day, shape: {linear: {slope: 1 mL/ng}}, switch: optional, source: assumption}
      - {observable: hidden, rate: 1 /day, shape: {linear: {slope: 1 mL/ng}}, source: assumption}
  rash: {exposure: level, log10_median: 2, log10_sd: 0.5, grades: {mild: 0, severe: 1}, source: assumption}
  unseen: {exposure: hidden, log10_median: 2, log10_sd: 0.5, source: assumption}
"""


def test_hazards_are_read():
    infection, rash = load_scenario_text(MODEL).model.hazards
    assert infection.is_fatal and infection.needs == ("anc", "level")
    assert infection.risks[0].rate == pytest.approx(0.001)
    assert dict(infection.risks[1].shape.parameters)["slope"] == pytest.approx(1e-3)
    assert (rash.exposure, rash.grades, rash.is_fatal) == (
        "level",
        (("mild", 0), ("severe", 1)),
        False,
    )
    text = "\n".join(describe(load_scenario_text(MODEL).model))
    assert "infection: the patient dies at 0.024 /day times a factor 1 below 0.5" in text
    assert "rash: it befalls the patient when log10 of level passes" in text
    off = load_scenario_text(MODEL, overrides=["switches.optional=off"]).model.hazards[0]
    assert off.needs == ("anc",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("observable: anc", "observable: ank", "did you mean 'anc'"),
        ("exposure: level, log10_median: 2,", "exposure: level,", "log10_median"),
        ("mild: 0, severe: 1", "mild: 1, severe: 0", "increasing"),
        ("    fatal: on\n", "    log10_sd: 1\n", "only beside 'exposure'"),
        ("at: 0.5, below", "at: 0.5 /L, below", "expected a number"),
        ("rash: {exposure: level", "rash: {risks: [], exposure: level", "risks"),
    ],
)
def test_mistakes_are_said(old: str, new: str, message: str):
    assert old in MODEL
    with pytest.raises(ScenarioError, match=message):
        load_scenario_text(MODEL.replace(old, new, 1))


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ((), ["aplastic_death", "gvhd"]),
        (("gvhd",), ["aplastic_death"]),
        (("aplastic_death",), ["gvhd"]),
        (("aplastic_death", "gvhd"), []),
    ],
)
def test_switches_turn_the_shipped_hazards_off(off: tuple[str, ...], left: list[str]):
    scenario = load_scenario("marrow", overrides=[f"switches.{name}=off" for name in off])
    assert [h.name for h in scenario.model.hazards] == left
