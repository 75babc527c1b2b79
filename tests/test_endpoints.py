"""Endpoints from made-up laboratory series whose answers can be counted on fingers."""

from __future__ import annotations

import numpy as np
import pytest

from mst_abm.clinic.endpoints import (
    ENDPOINTS,
    Laboratory,
    endpoints_for,
    first_run,
    is_lacking,
    lacking,
)
from mst_abm.model.definition import (
    Compartment,
    CountReference,
    Observable,
    Pattern,
    PatternTerm,
)
from mst_abm.model.species import EMPTY, Species
from mst_abm.runs.to_file import read_endpoints
from mst_abm.scenario import load_scenario_text

DAYS = np.arange(0.0, 31.0) * 24.0
END_H = 7 * 24.0
RULES = {rule.name: rule for rule in ENDPOINTS}


def value(name: str, **series: list[float] | np.ndarray) -> float:
    seen = {key: np.asarray(values, float)[None] for key, values in series.items()}
    n = len(next(iter(series.values())))
    return float(RULES[name].evaluate(DAYS[:n], seen, END_H)[0])


def valley(low_from: int, low_to: int, low: float, high: float) -> np.ndarray:
    series = np.full(len(DAYS), high)
    series[low_from:low_to] = low
    return series


def test_neutrophil_recovery_counts_from_the_end_of_chemotherapy():
    assert value("neutrophil_recovery", anc=valley(8, 23, 0.1, 2.0)) == 23 - 7
    assert value("days_anc_below_0.5", anc=valley(8, 23, 0.1, 2.0)) == 15


def test_a_single_good_day_is_no_recovery():
    anc = valley(8, 23, 0.1, 2.0)
    anc[12] = 0.9
    assert value("neutrophil_recovery", anc=anc) == 16


def test_no_fall_or_no_rise_gives_no_recovery():
    assert np.isnan(value("neutrophil_recovery", anc=np.full(31, 3.0)))
    assert np.isnan(value("neutrophil_recovery", anc=valley(8, 31, 0.1, 2.0)))
    # two good days at the end of the series are not three
    assert np.isnan(value("neutrophil_recovery", anc=valley(8, 29, 0.1, 2.0)))


def test_platelets_need_seven_days():
    platelets = valley(10, 20, 5.0, 90.0)
    assert value("platelet_recovery", platelets=platelets) == 13
    platelets[23] = 19.0
    assert value("platelet_recovery", platelets=platelets) == 24 - 7


def test_log_kill():
    assert value("leukaemia_log_kill", blast_cells=[1e12, 1e10, 1e9, 1e11]) == pytest.approx(3)
    assert value("leukaemia_log_kill", blast_cells=[1e12, 0.0, 0.0]) == np.inf
    assert value("leukaemia_log_kill", blast_cells=[0.0, 0.0]) == 0


def test_remission_needs_all_three_after_chemotherapy():
    good = {"marrow_blasts": np.full(31, 0.01), "anc": np.full(31, 2.0)}
    platelets = valley(0, 20, 50.0, 150.0)
    assert value("remission", platelets=platelets, **good) == 20
    assert value("remission", platelets=np.full(31, 150.0), **good) == 8
    assert np.isnan(value("remission", platelets=np.full(31, 99.0), **good))


def test_donor_share():
    share = np.zeros(31)
    share[9:15] = [0.08, 0.05, 0.03, 0.02, 0.012, 0.009]
    assert value("donor_cells_below_1_percent", donor_cells=share) == 14
    assert value("donor_cells_peak", donor_cells=share) == 0.08
    assert np.isnan(value("donor_cells_below_1_percent", donor_cells=np.zeros(31)))


def test_first_run_of_a_condition():
    is_met = np.array([[0, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0]], bool)
    assert first_run(is_met, 3).tolist() == [3, -1, -1]


def test_laboratory_scales_a_sample_to_the_body():
    pattern = Pattern((PatternTerm("cell"),), "cell")
    blood = Compartment("blood", "mixed", volume=5e15, share=1e-6)
    per_litre = CountReference("blood", pattern, "density", 1e9 / 1e15)
    items = (
        Observable("half", "1e9/L", per_litre, times=0.5),
        Observable("share", "1", CountReference("blood", pattern, "cells", 1.0), 1.0, pattern),
    )
    laboratory = Laboratory(items, (EMPTY, Species("cell"), Species("other")), (blood,))
    seen = laboratory.read({"blood": np.array([[0, 20_000, 5]])})
    # 20,000 cells of a millionth: 2e10 in 5 L are 4e9 per litre, half of them counted
    assert seen["half"] == pytest.approx([2.0])
    assert seen["share"] == pytest.approx([1.0])


def test_levels_of_signals_are_reported_too():
    items = (Observable("twice", "1", None, times=2.0, signal="second"),)
    laboratory = Laboratory(items, (EMPTY,), (), ("first", "second"))
    seen = laboratory.read({}, np.array([[1.0, 3.0], [1.0, 4.0]]))
    assert seen["twice"].tolist() == [6.0, 8.0]


def test_what_was_never_there_has_no_endpoints():
    scenario = load_scenario_text(
        """
types: {blast: {}, neutrophil: {}}
rules: [{name: d, die: blast, rate: 1 /h, source: test}]
compartments: {blood: {mixed: {}, stands_for: 1 L}}
initial: {blood: {blast: 10}}
observables:
  anc: {of: blood.neutrophil, relative_to: 1e9 /L, source: test}
  blast_cells: {of: blood.blast, relative_to: 1 cell, source: test}
"""
    )
    none, gone = np.zeros((2, 1)), np.array([[1e9, 0.0], [1e9, 0.0]])
    days = [(0.0, 0), (24.0, 1)]
    dish = [(t, {"anc": none[:, 0], "blast_cells": gone[:, i]}) for t, i in days]
    values, observed = read_endpoints(scenario, dish)
    assert set(values) == {"leukaemia_log_kill"}
    assert observed is not None and set(observed.values) == {"anc", "blast_cells"}
    assert lacking(observed.values) == {"anc"}
    assert is_lacking("neutrophil_nadir", {"anc"}) and is_lacking("remission", {"anc"})
    assert not is_lacking("leukaemia_log_kill", {"anc"})
    # cells that were there and died are not lacking
    patient = [(t, {"anc": gone[:, i], "blast_cells": gone[:, i]}) for t, i in days]
    assert read_endpoints(scenario, patient)[0]["neutrophil_nadir"].tolist() == [0.0, 0.0]


def test_a_model_without_observables_has_no_endpoints():
    assert endpoints_for(()) == ()


def test_observables_are_read_and_checked():
    text = """
types: {a: {}, b: {}}
rules: [{name: d, die: a, rate: 1 /h, source: test}]
compartments: {pot: {mixed: {}, stands_for: 1 L}}
initial: {pot: {a: 10, b: 5}}
observables:
  anc: {of: pot.a, relative_to: 1e9 /L, source: test}
  share: {of: pot.a, share_of: "*", source: test}
"""
    scenario = load_scenario_text(text)
    assert [(o.name, o.unit) for o in scenario.observables] == [("anc", "1e9/L"), ("share", "1")]
    broken = text.replace("share_of", "share_off").replace("pot.a, rel", "pott.a, rel")
    with pytest.raises(ValueError) as error:
        load_scenario_text(broken)
    assert "did you mean 'share_of'" in str(error.value)
    assert "pott" in str(error.value)
