"""Closed-form drug levels against numerical integration of compartment models.

The integrated models know nothing of exponentials: they are mass balances with rate constants. Their
half-lives and fractions come from the eigenvalues of the same matrix by a separate route.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from mst_abm.clinic.patient import Patient, body_surface
from mst_abm.clinic.pharmacokinetics import Drug, concentration
from mst_abm.clinic.protocol import Dose, Order, ProtocolError, expand

pytestmark = pytest.mark.proof

MOLAR_MASS = 243.2
VOLUME = 20.0  # L, central
RATES = {  # 1/h: elimination, then to and from each peripheral compartment
    1: (0.7,),
    2: (1.2, 0.9, 0.3),
    3: (2.0, 1.5, 0.6, 0.4, 0.05),
}
TOLERANCE = 1e-7


def _matrix(rates: tuple[float, ...]) -> np.ndarray:
    n = 1 + (len(rates) - 1) // 2
    matrix = np.zeros((n, n))
    matrix[0, 0] = -rates[0]
    for i in range(1, n):
        there, back = rates[2 * i - 1], rates[2 * i]
        matrix[0, 0] -= there
        matrix[i, 0] += there
        matrix[0, i] += back
        matrix[i, i] -= back
    return matrix


def _drug(rates: tuple[float, ...]) -> Drug:
    values, vectors = np.linalg.eig(_matrix(rates))
    start = np.zeros(len(values))
    start[0] = 1.0
    weights = vectors[0] * np.linalg.solve(vectors, start)
    k = -values.real
    area = weights.real / k
    return Drug(
        "drug",
        MOLAR_MASS,
        clearance=rates[0] * VOLUME,
        is_per_area=False,
        half_lives_h=tuple(math.log(2) / k),
        fractions=tuple(area / area.sum()),
    )


def _integrated(rates: tuple[float, ...], doses: list[Dose], times: np.ndarray) -> np.ndarray:
    """umol/L in the central compartment, by stepping from one change of input to the next."""
    matrix = _matrix(rates)
    ends = [d.start_h + d.duration_h for d in doses]
    edges = sorted({0.0, *times, *(d.start_h for d in doses), *ends})
    state = np.zeros(len(matrix))
    levels = {}
    for i, edge in enumerate(edges):
        state[0] += sum(d.amount_mg for d in doses if d.duration_h == 0 and d.start_h == edge)
        levels[edge] = state[0]
        if i + 1 == len(edges):
            break
        inflow = np.zeros(len(matrix))
        for d in doses:
            if d.duration_h > 0 and d.start_h <= edge < d.start_h + d.duration_h:
                inflow[0] += d.amount_mg / d.duration_h
        solution = solve_ivp(
            lambda _, x, inflow=inflow: matrix @ x + inflow,
            (edge, edges[i + 1]),
            state,
            rtol=1e-11,
            atol=1e-12,
        )
        state = solution.y[:, -1]
    return np.array([levels[t] for t in times]) / VOLUME * 1e3 / MOLAR_MASS


COURSES = {
    "bolus": [Dose("drug", 1.0, 0.0, 100.0)],
    "infusion": [Dose("drug", 0.5, 3.0, 100.0)],
    "repeated": [Dose("drug", 4.0 * i, 0.0, 30.0) for i in range(4)]
    + [Dose("drug", 1.0 + 6.0 * i, 2.0, 50.0) for i in range(3)],
}
TIMES = np.linspace(0.0, 30.0, 61)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("course", COURSES)
def test_matches_integration(n: int, course: str) -> None:
    expected = _integrated(RATES[n], COURSES[course], TIMES)
    found = concentration(_drug(RATES[n]), COURSES[course], TIMES)
    assert np.abs(found - expected).max() <= TOLERANCE * expected.max()


def test_negative_control_a_wrong_rate_is_noticed() -> None:
    wrong = (RATES[2][0], RATES[2][1] * 1.01, RATES[2][2])
    expected = _integrated(RATES[2], COURSES["infusion"], TIMES)
    found = concentration(_drug(wrong), COURSES["infusion"], TIMES)
    assert np.abs(found - expected).max() > 100 * TOLERANCE * expected.max()


def test_area_is_dose_over_clearance_and_shape_is_kept() -> None:
    drug = _drug(RATES[3])
    times = np.linspace(0, 400, 400001)
    level = concentration(drug, COURSES["infusion"], times)
    area = np.trapezoid(level, times)
    assert area == pytest.approx(100.0 * 1e3 / MOLAR_MASS / drug.clearance, rel=1e-5)
    grid = concentration(drug, COURSES["infusion"], times[:6].reshape(2, 3))
    assert grid.shape == (2, 3)
    assert np.array_equal(grid.ravel(), level[:6])


def test_nothing_before_the_dose_and_other_drugs_are_skipped() -> None:
    drug = _drug(RATES[1])
    assert concentration(drug, [Dose("drug", 5.0, 0.0, 1.0)], 4.999) == 0.0
    assert concentration(drug, [Dose("other", 0.0, 0.0, 1.0)], 1.0) == 0.0


def test_clearance_per_area_uses_the_body_surface() -> None:
    patient = Patient(height_cm=165.0, weight_kg=62.0)
    drug = Drug("drug", 100.0, 10.0, True, (1.0,), (1.0,))
    fixed = Drug("drug", 100.0, 10.0 * patient.bsa_m2, False, (1.0,), (1.0,))
    doses = [Dose("drug", 0.0, 0.0, 5.0)]
    level = concentration(drug, doses, 2.0, patient=patient)
    assert level == pytest.approx(float(concentration(fixed, doses, 2.0)))
    with pytest.raises(ValueError, match="body surface"):
        concentration(drug, doses, 2.0)


def test_body_surface_formulas() -> None:
    assert body_surface(180.0, 80.0) == pytest.approx(2.0)  # sqrt(180 * 80 / 3600)
    assert body_surface(180.0, 80.0, "dubois") == pytest.approx(1.996, abs=1e-3)


def test_orders_become_doses() -> None:
    patient = Patient(height_cm=180.0, weight_kg=80.0)
    continuous = Order("d", 24.0, "150 mg/m^2/day", "continuous infusion", for_h=168.0)
    assert expand(continuous, "mg/m^2", patient, 1000.0) == [Dose("d", 24.0, 168.0, 2100.0)]
    repeated = Order("d", 0.0, "8 mg/m^2", over_h=0.5, every_h=24.0, times=3)
    doses = expand(repeated, "mg/m^2", patient, 1000.0)
    assert doses == [Dose("d", 24.0 * i, 0.5, 16.0) for i in range(3)]
    assert expand(Order("d", 0.0, "2 mg/kg"), "mg/kg", patient, 1.0) == [Dose("d", 0.0, 0.0, 160.0)]


@pytest.mark.parametrize(
    ("order", "key"),
    [
        (Order("d", 0.0, "8 mg/kg"), "dose"),
        (Order("d", 0.0, 8), "dose"),
        (Order("d", 0.0, "-8 mg/m^2"), "dose"),
        (Order("d", 0.0, "8 mg/m^2/day"), "dose"),
        (Order("d", 0.0, "8 mg/m^2", for_h=24.0), "dose"),
        (Order("d", 0.0, "8 mg/m^2", by="continuous infusion"), "by"),
        (Order("d", 0.0, "8 mg/m^2", times=3), "times"),
        (Order("d", 0.0, "8 mg/m^2", every_h=24.0), "every"),
        (Order("d", 100.0, "8 mg/m^2"), "at"),
        (Order("d", 0.0, "8 mg/m^2", every_h=24.0, times=9), "times"),
    ],
)
def test_orders_that_cannot_be_meant(order: Order, key: str) -> None:
    with pytest.raises(ProtocolError) as error:
        expand(order, "mg/m^2", Patient(height_cm=180.0, weight_kg=80.0), 100.0)
    assert error.value.key == key
