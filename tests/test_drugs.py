"""The drugs of the shipped patient: their levels, what they act on, and that they leave the rest alone."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from mini_patient import ALL_OFF
from scipy.integrate import solve_ivp
from thresholds import DRUGS, threshold

from mst_abm.model.definition import Rule
from mst_abm.model.laws import evaluate
from mst_abm.model.species import Species, matches
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.timetable import drug_level, given_levels
from mst_abm.scenario import load_scenario
from mst_abm.scenario.definition import Scenario

WEIGHT, SURFACE = 70.0, math.sqrt(170.0 * 70.0 / 3600.0)
PATIENT = (*ALL_OFF, "patient={height: 170 cm, weight: 70 kg}")
T_AND_NK = ("cd8", "cd4", "nk")
LINES = ("precursor", "other")


class Case(NamedTuple):
    """A drug with its usual dose, and what sources say of it apart from the model file."""

    dose: str
    over_h: float
    mg: float
    molar_mass: float
    clearance: float  # L/h, of this patient
    half_life: float  # h
    kills: tuple[str, ...] = ()
    in_s_phase: tuple[str, ...] = ()  # of these, only cells in S
    late: tuple[str, float] = ("", 0.0)  # a level with a half-life of its own, h


def _volume(per_kg: float, half_life: float) -> float:
    """The clearance that goes with a volume of distribution."""
    return per_kg * WEIGHT * math.log(2.0) / half_life


EVERY_LINE = ("stem", *LINES, "mk_progenitor")
ANTHRACYCLINE = ("blast", *EVERY_LINE, "megakaryocyte", *T_AND_NK, "apc")
CASES = {
    "daunorubicin": Case(
        "60 mg/m^2", 0.5, 60 * SURFACE, 527.5, _volume(39.0, 19.0), 19.0, ANTHRACYCLINE, (), ("daunorubicinol", 27.0)
    ),
    "idarubicin": Case(
        "12 mg/m^2", 0.5, 12 * SURFACE, 497.5, 0.679 * 60 * SURFACE, 17.6, ANTHRACYCLINE, (), ("idarubicinol", 56.8)
    ),
    "decitabine": Case(
        "20 mg/m^2", 1.0, 20 * SURFACE, 228.2, 128 * SURFACE, 0.7, ("blast", *EVERY_LINE, *T_AND_NK),
        ("blast", *EVERY_LINE), ("decitabine_in_dna", 72.0),
    ),
    "azacitidine": Case(
        "75 mg/m^2", 0.5, 75 * SURFACE, 244.2, 191.0, math.log(2.0) * 110 / 191, ("blast", *EVERY_LINE, *T_AND_NK),
        ("blast", *EVERY_LINE), ("azacitidine_in_dna", 72.0),
    ),
    "venetoclax": Case("400 mg", 0.0, 400.0, 868.4, 18.0, 26.0, ("blast", "precursor", *T_AND_NK)),
    "fludarabine": Case(
        "30 mg/m^2", 0.5, 30 * SURFACE, 365.2, 15.3, 20.0, (*T_AND_NK, "blast", *LINES), ("blast", *LINES)
    ),
    "cyclophosphamide": Case(
        "50 mg/kg", 1.0, 50 * WEIGHT, 261.1, 4.0, 7.0, ("blast", *LINES, "mk_progenitor", *T_AND_NK)
    ),
    "busulfan": Case("0.8 mg/kg", 2.0, 0.8 * WEIGHT, 246.3, 10.5, 2.5, ("blast", *EVERY_LINE, *T_AND_NK)),
    "anti_thymocyte_globulin": Case("2.5 mg/kg", 6.0, 2.5 * WEIGHT, 150000, _volume(0.12, 96.0), 96.0, T_AND_NK),
    "calcineurin_inhibitor": Case("3 mg/kg", 24.0, 3 * WEIGHT, 1202.6, 20.0, 8.0),
    "thiotepa": Case("5 mg/kg", 2.0, 5 * WEIGHT, 189.2, 15.0, 5.0, ("blast", *EVERY_LINE, *T_AND_NK)),
    "filgrastim": Case("5 ug/kg", 0.0, 5e-3 * WEIGHT, 18800, _volume(0.15, 3.5), 3.5),
}  # fmt: skip
#: Three doses, a day apart.
COURSE_H = 72.0
LEVEL_TOLERANCE = 5e-3  # numbers of the file are rounded to three places


def course(drug: str, *more: str, dose: str | None = None, times: int = 3) -> Scenario:
    case = CASES[drug]
    over = f", over: {case.over_h} h" if case.over_h else ""
    line = f"{{at: 0 h, give: {drug}, dose: {dose or case.dose}{over}, every: 1 d, times: {times}}}"
    return load_scenario(
        "marrow", overrides=[*PATIENT, f"protocol=[{line}]", f"run.until={times + 1} d", *more]
    )


@cache
def undosed(*more: str) -> Scenario:
    return load_scenario("marrow", overrides=[*PATIENT, *more])


# ------------------------------------------------------------------ levels


def mass_balance(case: Case, late_half_life: float, hours: np.ndarray) -> tuple[np.ndarray, ...]:
    """Plasma level and the level that follows it, umol/L, by stepping through a mass balance."""
    k = math.log(2.0) / case.half_life
    volume, per_mg = case.clearance / k, 1e3 / case.molar_mass
    k_late = math.log(2.0) / late_half_life
    edges = sorted(
        {0.0, *hours, *(24.0 * i for i in range(3)), *(24.0 * i + case.over_h for i in range(3))}
    )
    state, found = np.zeros(2), {}
    for begin, end in zip(edges, [*edges[1:], math.inf], strict=True):
        if case.over_h == 0 and begin in (0.0, 24.0, 48.0):
            state = state + [case.mg * per_mg / volume, 0.0]
        found[begin] = state
        if math.isinf(end):
            break
        runs = case.over_h > 0 and begin < COURSE_H and begin % 24.0 < case.over_h - 1e-9
        inflow = case.mg * per_mg / volume / case.over_h if runs else 0.0

        def slope(_: float, s: np.ndarray, inflow: float = inflow) -> list[float]:
            return [inflow - k * s[0], k_late * (s[0] - s[1])]

        state = solve_ivp(slope, (begin, end), state, rtol=1e-9, atol=1e-13).y[:, -1]
    return tuple(np.array([found[t][i] for t in hours]) for i in (0, 1))


@pytest.mark.parametrize("drug", CASES)
def test_levels_are_those_of_a_mass_balance(drug: str) -> None:
    case, scenario = CASES[drug], course(drug)
    hours = np.array([0.25, 0.9, 2.0, 5.0, 23.0, 24.5, 40.0, 49.0, 72.0, 90.0])
    plasma, late = mass_balance(case, case.late[1] or 1.0, hours)
    found = drug_level(scenario, drug, hours)
    assert np.abs(found - plasma).max() < LEVEL_TOLERANCE * plasma.max()
    # negative control: a hundredth of the dose too much is noticed
    assert np.abs(1.01 * found - plasma).max() > LEVEL_TOLERANCE * plasma.max()
    if case.late[0]:
        signals = tuple(s for s in scenario.model.signals if s.name == case.late[0])
        edges = np.union1d(np.arange(0.0, 96.0, 0.5), hours)
        levels = given_levels(scenario, signals, edges)[:, 0, -1]
        found = levels[np.searchsorted(edges[1:], hours)]
        assert np.abs(found - late).max() < LEVEL_TOLERANCE * late.max()


def test_levels_reported_by_others() -> None:
    # ng/mL at the end of 20 mg/m^2 of decitabine over 1 h (DAC_Cmax_20), and
    # ug h/mL of F-ara-A after 30 mg/m^2 of fludarabine (FLU_AUC): their ranges
    peak = drug_level(course("decitabine", times=2), "decitabine", np.array([1.0]))[0] * 228.2
    assert 88.5 < peak < 129
    hours = np.linspace(0.0, 400.0, 400001)
    scenario = load_scenario(
        "marrow", overrides=[*PATIENT, "protocol=[{at: 0 h, give: fludarabine, dose: 30 mg/m^2}]"]
    )
    area = np.trapezoid(drug_level(scenario, "fludarabine", hours), hours) * 285.2e-3
    assert 2.0 < area < 11.0


# ------------------------------------------------------------------ what a course does in all


def logs_killed(drug: str, cells: str, doses: str, until: str) -> float:
    """log10 of cells that a rule of a drug kills in a course, if nothing else happened to them."""
    scenario = load_scenario(
        "marrow", overrides=[*PATIENT, f"protocol=[{doses}]", f"run.until={until}"]
    )
    (rule,) = (r for r in scenario.model.rules if r.name == f"{drug} kills {cells}")
    (law,) = (m for m in rule.modifiers if m.source == "signal")
    signals = tuple(s for s in scenario.model.signals if s.name == law.target)
    edges = np.arange(0.0, scenario.run.until_h + 0.1, 0.25)
    levels = given_levels(scenario, signals, edges)[:, 0]
    weights = [evaluate(law.shape, x) for x in levels[:, :-1].ravel()]
    return rule.rate * float(np.mean(weights)) * edges[-1] / math.log(10.0)


@pytest.mark.parametrize(
    ("drug", "cells", "doses", "until", "logs"),
    [
        ("daunorubicin", "stem", "dose: 60 mg/m^2, every: 1 d, times: 3", "30 d", 0.1),
        ("idarubicin", "t_and_nk", "dose: 12 mg/m^2, every: 1 d, times: 3", "60 d", 0.65),
        ("busulfan", "stem", "dose: 0.8 mg/kg, every: 6 h, times: 16", "8 d", 3.0),
        ("thiotepa", "t_and_nk", "dose: 5 mg/kg, every: 1 d, times: 2", "8 d", 1.0),
        ("busulfan", "leukaemia", "dose: 0.8 mg/kg, every: 6 h, times: 16", "8 d", 2.0),
        ("fludarabine", "cd4", "dose: 30 mg/m^2, every: 1 d, times: 5", "20 d", math.log10(5)),
        ("cyclophosphamide", "cd8[status=resting]", "dose: 50 mg/kg, every: 1 d, times: 2", "10 d", 2 * 0.4 / math.log(10)),
    ],
)  # fmt: skip
def test_courses_kill_what_the_file_says(
    drug: str, cells: str, doses: str, until: str, logs: float
) -> None:
    found = logs_killed(drug, cells, f"{{at: 0 h, give: {drug}, {doses}}}", until)
    assert found == pytest.approx(logs, rel=0.03)


# ------------------------------------------------------------------ on what they act

_CELLS = {
    "stem": {"phase": ("g1", "s_early", "s_late", "g2m")},
    "precursor": {"phase": ("g1", "s_early", "s_late", "g2m")},
    "other": {"phase": ("g1", "s_early", "s_late", "g2m")},
    "mk_progenitor": {"phase": ("g1", "s_early", "s_late", "g2m")},
    "megakaryocyte": {"stage": ("m1", "m2", "shedding")},
    "neutrophil": {"stage": ("m1", "storage")},
    "blast": {"phase": ("g0", "g1", "s_early", "s_mid", "s_late", "g2m", "protected")},
}
_STATUS = (
    "resting",
    "activated",
    "primed",
    "dividing",
    "effector",
    "refractory",
    "memory",
    "exhausted",
)
_MARROW = [f"{t}[{a}={v}]" for t, axes in _CELLS.items() for a, vs in axes.items() for v in vs]
_LYMPHOID = [
    *(f"{t}[origin={o},target=allo,status={s}]" for t in ("cd8", "cd4") for o in ("host", "donor") for s in _STATUS),
    "nk[origin=host,status=ready]", "nk[origin=donor,status=ready]",
    "apc[origin=host,antigen=self]", "apc[origin=donor,antigen=donor]",
]  # fmt: skip


def _mix(cells: list[str], amount: str) -> str:
    weights = ", ".join(f'"{c}": 1' for c in cells)
    return f"{{mix: {{{weights}}}, {amount}}}"


SMALL = (
    "compartments.marrow.lattice.shape=[24, 24, 24]",
    "compartments.marrow.patches=1",
    "compartments.lymphoid.share=1e-8",
    f"initial.marrow=[{_mix([*_MARROW, 'maturing'], 'fraction: 0.6')}]",
    f"initial.lymphoid=[{_mix(_LYMPHOID, 'number: 20000')}]",
    'initial.blood=[{cells: "neutrophil[stage=mature]", number: 50}, {cells: "platelet[age=a1]", number: 50}]',
    "initial.tissue=[]",
)


def events(simulation: Simulation, word: str) -> dict[tuple[str, str], int]:
    """Events of rules whose name starts with a word, by rule and actor."""
    found: dict[tuple[str, str], int] = {}
    for tally, n in zip(simulation.compiled.tallies, simulation.tally[0], strict=True):
        if tally.rule.startswith(word):
            key = tally.rule, tally.actor
            found[key] = found.get(key, 0) + int(n)
    return found


@cache
def still() -> tuple[str, ...]:
    """Overrides that stop every rule but the kills of drugs that are blocks."""
    return tuple(f"rules.{rule.name}.rate=0 /h" for rule in undosed().model.rules)


@pytest.mark.parametrize("drug", [drug for drug, case in CASES.items() if case.kills])
def test_drugs_kill_what_they_should_and_nothing_else(drug: str) -> None:
    case = CASES[drug]
    simulation = Simulation(course(drug, *SMALL, *still()))
    before = simulation.counts
    simulation.advance("3 d")
    kills = events(simulation, f"{drug} kills")
    killed = {actor for (_, actor), n in kills.items() if n}
    assert {actor.partition("[")[0] for actor in killed} == set(case.kills)
    for actor in killed:
        assert "phase=s_" in actor or actor.partition("[")[0] not in case.in_s_phase, actor
    for rule in {rule for rule, _ in kills}:
        assert sum(n for (name, _), n in kills.items() if name == rule) > 0, rule
    after = simulation.counts
    lost = sum(int((cells - after[place])[0, 1:].sum()) for place, cells in before.items())
    assert lost == sum(kills.values()) == simulation.tally.sum()
    # negative control: a dose of nothing
    nothing = Simulation(
        course(drug, *SMALL, *still(), dose=case.dose.replace(case.dose.split()[0], "0"))
    )
    nothing.advance("3 d")
    assert set(events(nothing, f"{drug} kills")) == set(kills)
    assert nothing.tally.sum() == 0


@pytest.mark.parametrize("drug", [drug for drug, case in CASES.items() if case.kills])
def test_the_rest_of_the_model_is_as_without_the_drug(drug: str) -> None:
    before, after = undosed().model, course(drug).model
    others = [rule for rule in after.rules if not rule.name.startswith(f"{drug} kills ")]
    assert tuple(others) == before.rules and len(others) < len(after.rules)
    assert tuple(s for s in after.signals if s.drug != drug) == before.signals


def test_all_drugs_together_compile_and_run() -> None:
    lines = ", ".join(f"{{at: 0 h, give: {d}, dose: {c.dose}}}" for d, c in CASES.items())
    scenario = load_scenario(
        "marrow", overrides=[*PATIENT, f"protocol=[{lines}]", "run.until=1 d", *SMALL]
    )
    simulation = Simulation(scenario)
    simulation.advance("3 h")
    assert sum(events(simulation, "busulfan kills").values()) > 0


# ------------------------------------------------------------------ activation of T cells

ALONE = (
    *SMALL,
    "initial.marrow=[]",
    'initial.lymphoid=[{cells: "cd8[origin=donor,target=allo,status=resting]", number: 4000}, {cells: "apc[origin=host,antigen=self]", number: 200}]',
    "initial.blood=[]",
    "rules.resting T cells leave lymphoid tissue.rate=0 /day",
    "rules.resting donor T cells die.rate=0 /day",
)  # fmt: skip


def activated(dose: str) -> int:
    scenario = course("calcineurin_inhibitor", *ALONE, dose=dose)
    simulation = Simulation(scenario)
    # the step of the law is passed within the first hours: count from there
    simulation.advance("12 h")
    before = sum(events(simulation, "donor CD8 meet host antigen").values())
    resting = simulation.counts["lymphoid"][0].sum() - before - 200
    simulation.advance("36 h")
    after = sum(events(simulation, "donor CD8 meet host antigen").values())
    assert resting > 0
    return after - before


def test_calcineurin_inhibitor_multiplies_activation_by_a_tenth() -> None:
    rate = 1.5 / 24.0 / 1.016  # all antigen-presenting cells are of the host
    case = CASES["calcineurin_inhibitor"]
    level = drug_level(
        course("calcineurin_inhibitor"), "calcineurin_inhibitor", np.array([12.0, 36.0])
    )
    assert level.min() > 0.15 and case.dose == "3 mg/kg"
    start = drug_level(
        course("calcineurin_inhibitor"), "calcineurin_inhibitor", np.linspace(0, 12, 1201)
    )
    free = float((start < 0.1).mean()) * 12.0
    resting = 4000 * math.exp(-rate * (free + 0.1 * (12.0 - free)))

    def z(found: int, factor: float) -> float:
        p = 1.0 - math.exp(-24.0 * rate * factor)
        # resting cells at 12 h are a draw as well: thinned binomials are binomial in 4000
        q = resting / 4000 * p
        return (found - 4000 * q) / math.sqrt(4000 * q * (1.0 - q))

    found = activated("3 mg/kg")
    limit = threshold(DRUGS["activation"].statistics)
    assert abs(z(found, 0.1)) < limit
    assert abs(z(found, 0.1 * (1 + DRUGS["activation"].error))) > limit
    # negative control: none given
    assert activated("0 mg/kg") > 3 * found


def test_calcineurin_inhibitor_changes_six_rules_and_nothing_else() -> None:
    def others(rule: Rule) -> Rule | str:
        return rule.name if rule.name in changed else rule

    changed = {
        f"{a} {t} meet {b} antigen"
        for a, b in (("host", "donor"), ("donor", "host"))
        for t in ("CD8", "CD4")
    } | {"host memory is recalled", "donor memory is recalled"}
    before, after = undosed().model, course("calcineurin_inhibitor").model
    assert [others(r) for r in after.rules] == [others(r) for r in before.rules]
    pairs = zip(before.rules, after.rules, strict=True)
    assert {b.name for b, a in pairs if a != b} == changed
    assert after.signals[:-1] == before.signals


# ------------------------------------------------------------------ G-CSF

EMPTY = (
    *SMALL[:3],
    "initial.marrow=[{cells: stroma, number: 100}]",
    "initial.lymphoid=[]",
    "initial.blood=[]",
    "initial.tissue=[]",
)


def g_csf(*more: str, dose: str = "5 ug/kg", stops: tuple[float, ...] = ()) -> np.ndarray:
    """The level of G-CSF every three hours, in a body without neutrophils."""
    simulation = Simulation(course("filgrastim", *EMPTY, *more, dose=dose))
    place = simulation.compiled.signal_names.index("g_csf")
    found = []
    for hour in sorted({*np.arange(0.0, 72.1, 3.0), *stops}):
        simulation.advance(hour)
        if hour not in stops:
            found.append(simulation.signals[0, place])
    return np.array(found)


def expected_g_csf(dose_mg: float) -> np.ndarray:
    k, clearance = math.log(2.0) / 3.5, 0.03
    units = 0.6 * dose_mg * 1e3 / 18800 / (0.15 * WEIGHT) / (25e-6 / 18.8)  # 25 pg/mL, 18.8 kDa
    hours = np.arange(0.0, 72.1, 3.0)
    level = 10.0 - 9.0 * np.exp(-clearance * hours)
    for start in (0.0, 24.0, 48.0):
        since = np.maximum(hours - start, 0.0)
        level += units * k / (k - clearance) * (np.exp(-clearance * since) - np.exp(-k * since))
    return level


def test_filgrastim_adds_to_the_signal_of_the_body() -> None:
    expected = expected_g_csf(5e-3 * WEIGHT)
    found = g_csf()
    assert np.abs(found - expected).max() < 0.02 * expected.max()
    # given in portions at the edges of intervals: an error that shrinks with them
    finer = g_csf("run.exchange=5 min")
    assert np.abs(finer - expected).max() < 0.4 * np.abs(found - expected).max()
    # negative control: none given
    assert np.abs(g_csf(dose="0 ug/kg") - expected_g_csf(0.0)).max() < 1e-9
    assert np.abs(g_csf(dose="0 ug/kg") - expected).max() > 0.5 * expected.max()


def test_portions_are_given_once_however_a_run_is_stopped() -> None:
    whole = g_csf()
    assert np.array_equal(g_csf(stops=(0.5, 24.5)), whole)
    cut = g_csf(stops=(0.1, 1.23, 24.05, 24.4, 50.77))
    assert np.abs(cut - whole).max() < 2e-3 * whole.max()


def test_filgrastim_calls_neutrophils_into_the_blood() -> None:
    released = []
    for dose in ("5 ug/kg", "0 ug/kg"):
        simulation = Simulation(course("filgrastim", *SMALL, "initial.lymphoid=[]", dose=dose))
        simulation.advance("12 h")
        released.append(sum(events(simulation, "neutrophils leave for the blood").values()))
        assert simulation.scenario.model.rules == undosed().model.rules
    assert released[0] > 1.5 * released[1] > 0


# ------------------------------------------------------------------ mechanisms on request

SWITCHED = ("switches.rvt=on", "switches.ifng=on", "switches.treg=on")


@pytest.mark.parametrize("drug", [*CASES, "mitoxantrone"])
def test_cells_of_optional_mechanisms_are_hit_as_their_likes(drug: str) -> None:
    """Blasts arrested in G1 as those in G1 where the cycle does not matter; regulatory T cells as resting CD4; memory as
    resting T cells, exhausted ones as effectors."""
    # rules of mitoxantrone are there whether it is given or not
    model = (course(drug, *SWITCHED) if drug in CASES else undosed(*SWITCHED)).model
    blast = {phase: Species("blast", (("phase", phase),)) for phase in ("g1", "arrested")}
    resting = Species("cd4", (("origin", "host"), ("target", "none"), ("status", "resting")))
    regulatory = Species("treg", (("origin", "host"),))
    killers = [r for r in model.rules if r.name.startswith(f"{drug} kills")]
    likes = [(blast["g1"], blast["arrested"]), (resting, regulatory)]
    for kind in ("cd8", "cd4"):
        for one, other in (("resting", "memory"), ("effector", "exhausted")):
            values = [(("origin", "host"), ("target", "allo"), ("status", s)) for s in (one, other)]
            likes.append((Species(kind, values[0]), Species(kind, values[1])))
    for one, other in likes:
        hazards = [sum(r.rate for r in killers if matches(r.actor, s)) for s in (one, other)]
        assert hazards[0] == hazards[1]


def test_calcineurin_inhibitor_changes_every_rule_that_wakes_t_cells() -> None:
    """Whatever turns a cell that waits for antigen into one that acts is multiplied."""
    plain, treated = undosed(*SWITCHED).model, course("calcineurin_inhibitor", *SWITCHED).model
    pairs = zip(plain.rules, treated.rules, strict=True)
    changed = {b.name for b, a in pairs if a != b}
    wakes = {r.name for r in plain.rules if any(m.target == "treg_ratio" for m in r.modifiers)}
    assert wakes < changed and changed - wakes == {"anti-leukaemia memory is recalled"}
