"""Endpoints from made-up laboratory series whose answers can be counted on fingers."""

from __future__ import annotations

import numpy as np
import pytest

from mst_abm.clinic.course import Course, first_run
from mst_abm.clinic.endpoints import ENDPOINTS, endpoints_for
from mst_abm.clinic.given import acts_of, chemotherapy, first_course_end_h, infused_h
from mst_abm.clinic.hazards import Fate
from mst_abm.clinic.laboratory import Laboratory, lacking
from mst_abm.clinic.protocol import Acts, Dose, Infusion
from mst_abm.clinic.reaction import Decision, Reaction
from mst_abm.model.definition import (
    Compartment,
    CountReference,
    Hazard,
    Observable,
    Pattern,
    PatternTerm,
    Product,
)
from mst_abm.model.species import EMPTY, Species
from mst_abm.runs.follow_up import Samples, read_endpoints
from mst_abm.scenario import load_scenario_text

DAYS = np.arange(0.0, 31.0) * 24.0
END_H = 7 * 24.0
RULES = {rule.name: rule for rule in endpoints_for((), (Hazard("end", is_fatal=True),))}
RULES |= {rule.name: rule for rule in ENDPOINTS}


def course(
    *,
    death_d: float = np.nan,
    gvhd_d: float = np.nan,
    transfused_d: tuple[float, ...] = (),
    **series,
) -> Course:
    """One patient with these daily values."""
    rows = {key: np.asarray(values, float)[None] for key, values in series.items()}
    n = len(next(iter(series.values())))
    fates = {
        hazard.name: Fate(hazard, np.zeros((1, n)), np.ones(1), np.array([day * 24.0]))
        for hazard, day in ((Hazard("end", is_fatal=True), death_d), (Hazard("gvhd"), gvhd_d))
    }
    given = [tuple(24.0 * day for day in transfused_d)]
    return Course(DAYS[:n], rows, np.array([END_H]), [(8 * 24.0,)], given, fates, DAYS[:n], rows)


def value(name: str, **known) -> float:
    return float(RULES[name].evaluate(course(**known))[0])


def word(name: str, **known) -> str:
    place = value(name, **known)
    return "" if np.isnan(place) else RULES[name].categories[int(place)]


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


def test_given_platelets_are_no_recovery():
    platelets = valley(10, 20, 5.0, 90.0)
    assert value("platelet_recovery", platelets=platelets, transfused_d=(12.0,)) == 13
    assert value("platelet_recovery", platelets=platelets, transfused_d=(12.0, 16.5)) == 24 - 7
    assert np.isnan(value("platelet_recovery", platelets=platelets, transfused_d=(18.5,)))
    # neutrophils are not given
    anc = valley(8, 23, 0.1, 2.0)
    assert value("neutrophil_recovery", anc=anc, transfused_d=(22.5,)) == 16


def test_log_kill():
    assert value("leukaemia_log_kill", blast_cells=[1e12, 1e10, 1e9, 1e11]) == pytest.approx(3)
    assert value("leukaemia_log_kill", blast_cells=[1e12, 0.0, 0.0]) == np.inf
    assert value("leukaemia_log_kill", blast_cells=[0.0, 0.0]) == 0


def test_remission_needs_all_three_after_chemotherapy():
    good = {"marrow_blasts": np.full(31, 0.01), "anc": np.full(31, 2.0)}
    platelets = valley(0, 25, 50.0, 150.0)
    assert value("remission", platelets=platelets, **good) == 25
    # not before two weeks after chemotherapy
    assert value("remission", platelets=np.full(31, 150.0), **good) == 21
    assert np.isnan(value("remission", platelets=np.full(31, 99.0), **good))


def test_donor_share():
    share = np.zeros(31)
    share[9:15] = [0.08, 0.05, 0.03, 0.02, 0.012, 0.009]
    assert value("donor_cells_below_1_percent", donor_cells=share) == 14
    assert value("donor_cells_peak", donor_cells=share) == 0.08
    assert np.isnan(value("donor_cells_below_1_percent", donor_cells=np.zeros(31)))


# ---------------------------------------------------------------------- response and survival

#: A marrow that recovers: blasts go, neutrophils and platelets fall and return.
CURED = {
    "marrow_blasts": [0.8] * 8 + [0.01] * 23,
    "anc": valley(8, 20, 0.2, 2.0),
    "platelets": valley(5, 24, 8.0, 150.0),
}


def with_(**changed) -> dict:
    return CURED | changed


def relapsing(day: int, until: int = 31) -> list[float]:
    blasts = list(CURED["marrow_blasts"])
    blasts[day:until] = [0.2] * (until - day)
    return blasts


def test_complete_remission_is_censored_at_the_end_of_the_run():
    assert word("response", **CURED) == "CR"
    assert value("remission", **CURED) == 24
    assert (value("dfs_time", **CURED), word("dfs_event", **CURED)) == (30 - 24, "censored")
    assert (value("os_time", **CURED), word("os_event", **CURED)) == (30, "censored")
    assert np.isnan(value("relapse", **CURED))
    assert np.isnan(value("non_relapse_death", **CURED))


def test_without_full_counts_it_is_incomplete():
    few = with_(platelets=valley(5, 31, 60.0, 150.0))
    assert word("response", **few) == "CRi"
    assert np.isnan(value("remission", **few))
    # neutrophils are back on day 20, and counts are looked at from day 21 on
    assert value("dfs_time", **few) == 30 - 21
    # neither returns: nobody knows yet
    none = with_(platelets=valley(5, 31, 60.0, 150.0), anc=valley(8, 31, 0.2, 2.0))
    assert word("response", **none) == "aplasia"


def test_counts_that_still_fall_are_no_recovery():
    """Day 8 has few blasts and full counts, because blood cells have not died yet."""
    falling = with_(anc=valley(12, 31, 0.2, 2.0), platelets=valley(9, 31, 60.0, 150.0))
    assert word("response", **falling) == "aplasia"


def test_persistent_disease():
    many = with_(marrow_blasts=[0.8] * 31)
    assert word("response", **many) == "persistent disease"
    assert np.isnan(value("dfs_time", **many)) and np.isnan(value("dfs_event", **many))


def test_who_died_before_remission_has_none():
    assert word("response", death_d=18.5, **CURED) == "death in aplasia"
    for name in ("remission", "dfs_time", "dfs_event", "relapse", "non_relapse_death"):
        assert np.isnan(value(name, death_d=18.5, **CURED)), name
    assert np.isnan(value("neutrophil_recovery", death_d=18.5, **CURED))
    assert (value("os_time", death_d=18.5, **CURED), word("os_event", death_d=18.5, **CURED)) == (
        18.5, "died",
    )  # fmt: skip
    # the last sample alive holds until death: days 8 to 18.5
    assert value("days_anc_below_0.5", death_d=18.5, **CURED) == 10.5


def test_death_in_remission():
    late = dict(death_d=27.5, **CURED)
    assert word("response", **late) == "CR"
    assert value("non_relapse_death", **late) == 27.5
    assert (value("dfs_time", **late), word("dfs_event", **late)) == (3.5, "relapse or death")


def test_relapse_ends_remission_and_death_after_it_is_no_death_in_remission():
    back = with_(marrow_blasts=relapsing(27))
    assert value("relapse", **back) == 27
    assert (value("dfs_time", **back), word("dfs_event", **back)) == (3, "relapse or death")
    assert (value("os_time", **back), word("os_event", **back)) == (30, "censored")
    assert word("response", **back) == "CR"
    assert np.isnan(value("non_relapse_death", death_d=29.0, **back))
    assert value("dfs_time", death_d=29.0, **back) == 3
    assert value("os_time", death_d=29.0, **back) == 29
    # dead before the second marrow with blasts: never a relapse
    assert np.isnan(value("relapse", death_d=27.5, **back))


def test_one_marrow_with_blasts_is_no_relapse():
    assert np.isnan(value("relapse", **with_(marrow_blasts=relapsing(26, 27))))
    assert np.isnan(value("relapse", **with_(marrow_blasts=relapsing(30))))


def test_as_many_blasts_as_at_the_start_are_a_relapse():
    burden = np.full(31, 1e8)
    burden[0] = burden[29] = 1e12
    assert value("relapse", **with_(blast_cells=burden)) == 29
    burden[29] = 9e11
    assert np.isnan(value("relapse", **with_(blast_cells=burden)))


def test_marrows_are_seen_on_some_days_only():
    """Weekly aspirates, on days 7, 14 ...: remission when one is seen, relapse by two in a row."""
    blasts = np.full(31, np.nan)
    blasts[[0, 7, 14, 21]] = [0.8, 0.01, 0.01, 0.01]
    blasts[28] = 0.02
    weekly = with_(marrow_blasts=blasts)
    assert value("remission", **weekly) == 28
    early = with_(marrow_blasts=blasts, platelets=valley(5, 20, 8.0, 150.0))
    assert value("remission", **early) == 21
    assert value("marrow_blasts_at_end", **weekly) == 0.02
    blasts[28] = 0.3
    assert np.isnan(value("relapse", **early))  # not seen twice
    blasts[30] = 0.3
    assert value("relapse", **early) == 28
    assert np.isnan(value("response", **with_(marrow_blasts=np.full(31, np.nan))))


def test_good_days_are_those_without_disease_or_toxicity():
    assert value("twist", **CURED) == 30 - 24
    assert value("twist", death_d=27.5, **CURED) == 3.5
    assert value("twist", gvhd_d=26.0, **CURED) == 2
    assert value("twist", **with_(marrow_blasts=relapsing(28))) == 4
    index = np.ones(31)
    index[25] = 12.0
    assert value("twist", cytokine_index=index, **CURED) == 5
    # a marrow holds until the next is seen
    blasts = np.full(31, np.nan)
    blasts[[0, 14, 28]] = [0.8, 0.01, 0.2]
    assert value("twist", **with_(marrow_blasts=blasts)) == 4


# ---------------------------------------------------------------------- donor cells, cytokines


def test_microchimerism_lasts_as_long_as_the_assay_sees_it():
    share = np.zeros(31)
    share[9:15] = [0.08, 0.02, 5e-3, 2e-4, 5e-5, 2e-4]
    assert value("donor_t_str_days", donor_t=share) == 2
    assert value("donor_t_pcr_days", donor_t=share) == 5
    assert value("rejection", donor_cells=share) == 15
    assert np.isnan(value("rejection", donor_cells=np.full(31, 1e-5)))
    share[30] = 0.01
    assert np.isnan(value("rejection", donor_cells=share))


def test_a_share_seen_weekly_holds_for_a_week():
    share = np.full(31, np.nan)
    share[[0, 7, 14, 21, 28]] = [0.0, 0.0, 0.02, 0.02, 0.0]
    assert value("donor_nk_str_days", donor_nk=share) == 14
    assert value("rejection", donor_cells=share) == 28


def test_cytokine_release_is_timed_from_the_infusion_before_it():
    index = np.ones(31)
    index[10:13] = [12.0, 30.0, 11.0]
    assert value("cytokine_peak", cytokine_index=index) == 30
    assert value("cytokine_onset", cytokine_index=index) == 48
    assert value("cytokine_end", cytokine_index=index) == 5 * 24
    assert np.isnan(value("cytokine_end", death_d=12.5, cytokine_index=index))
    assert np.isnan(value("cytokine_onset", cytokine_index=np.full(31, 9.9)))
    index[:8] = 20.0  # no infusion before it
    assert np.isnan(value("cytokine_onset", cytokine_index=index))


# ---------------------------------------------------------------------- chemotherapy


def test_the_first_course_ends_before_a_pause():
    drugs = {"a", "b"}
    doses = [Dose("a", 0.0, 168.0, 1.0), *(Dose("b", 24.0 * i, 0.5, 1.0) for i in range(3))]
    assert first_course_end_h(doses, drugs) == 168
    later = [Dose("a", 60 * 24.0, 3.0, 1.0)]
    growth = [Dose("g_csf", 24.0 * i, 0.0, 1.0) for i in range(20)]
    assert first_course_end_h(doses + later + growth, drugs) == 168
    assert first_course_end_h([*doses, Dose("b", 13 * 24.0, 24.0, 1.0)], drugs) == 14 * 24
    assert first_course_end_h(growth, drugs) == 0


def test_patients_are_given_what_was_decided():
    """One is given a second course and platelets, one is stopped in the first, one nothing but the plan."""
    course_of = Acts((Dose("a", 0.0, 168.0, 7.0),))
    cells = Infusion(
        192.0, "donor", (("blood", Product("species", "cd8", (("origin", "donor"),)), 1e9),)
    )
    platelets = Infusion(0.0, "platelets", (("blood", Product("species", "platelet"), 1e11),))
    reactions = [
        Reaction("again", (), course_of, "the same"),
        Reaction("support", (), Acts(infusions=(platelets,)), "platelets"),
        Reaction("end", (), Acts(), "stop", stops=True),
    ]
    decisions = [
        Decision(0, 288.0, 0, ()), Decision(0, 300.0, 1, ()), Decision(1, 84.0, 2, ()),
    ]  # fmt: skip
    planned = course_of + Acts(infusions=(cells,))
    given = acts_of(planned, reactions, decisions, 3)
    assert [first_course_end_h(acts.doses, {"a"}) for acts in given] == [288 + 168, 84, 168]
    assert given[1].doses[0].amount_mg == pytest.approx(3.5)
    blood = [
        ("donor_cells", PatternTerm("cd8", (("origin", ("donor",)),))),
        ("platelets", PatternTerm("platelet")),
    ]
    items = [
        Observable(name, "1", CountReference("blood", Pattern((term,), ""), "cells", 1.0))
        for name, term in blood
    ]
    came = {n: [infused_h(acts.infusions, items, n) for acts in given] for n, _ in blood}
    assert came["donor_cells"] == [(192.0,), (), (192.0,)]
    assert came["platelets"] == [(300.0,), (), ()]


def test_chemotherapy_is_what_kills_leukaemia():
    given = "\n".join(
        f"  - {{at: 0 d, give: {name}, dose: 0.005 {unit}}}"
        for name, unit in (
            ("cytarabine", "mg/m^2"), ("mitoxantrone", "mg/m^2"), ("daunorubicin", "mg/m^2"),
            ("anti_thymocyte_globulin", "mg/kg"), ("filgrastim", "mg/kg"),
        )
    )  # fmt: skip
    text = f"model: marrow\npatient: {{height: 165 cm, weight: 62 kg}}\nprotocol:\n{given}\n"
    scenario = load_scenario_text(text)
    found = chemotherapy(scenario.model, scenario.observables)
    assert found == {"cytarabine", "mitoxantrone", "daunorubicin"}


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
    results = read_endpoints(scenario, Samples(dish), seed=1, replicates=np.arange(2))
    assert set(results.true) == set(results.reported) == {"leukaemia_log_kill"}
    assert results.observed is not None
    assert set(results.observed.values) == {"anc", "blast_cells"}
    assert lacking(results.observed.values) == {"anc"}
    # cells that were there and died are not lacking
    patient = [(t, {"anc": gone[:, i], "blast_cells": gone[:, i]}) for t, i in days]
    results = read_endpoints(scenario, Samples(patient), seed=1, replicates=np.arange(2))
    assert results.true["neutrophil_nadir"].tolist() == [0.0, 0.0]


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
