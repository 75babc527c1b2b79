"""Plasma levels of drugs in closed form: one to three exponentials, doses added up.

A bolus D gives C(t) = D / CL * sum_i f_i k_i exp(-k_i t), with k_i = ln 2 / half-life i and
sum f_i = 1: f_i is the share of the area under the curve that phase i contributes, and the area is
D / CL. An infusion over T is the running mean of boluses; repeats add up, for the system is linear.
Active metabolites are signals of the model and not computed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mst_abm.clinic.patient import Patient
from mst_abm.clinic.protocol import Dose


@dataclass(frozen=True)
class Drug:
    """A drug's disposition. ``clearance``: L/h, or L/h per m^2 where ``is_per_area``."""

    name: str
    molar_mass: float  # g/mol
    clearance: float
    is_per_area: bool
    half_lives_h: tuple[float, ...]
    fractions: tuple[float, ...]
    dosing: str = "mg/m^2"
    highest_a_day: float | None = None  # in dosing; None: the bound of all drugs
    reference: str = ""

    def clearance_l_per_h(self, bsa_m2: float) -> float:
        if self.is_per_area and bsa_m2 <= 0.0:
            raise ValueError(f"the clearance of {self.name} needs a body surface above 0")
        return self.clearance * bsa_m2 if self.is_per_area else self.clearance


def concentration(
    drug: Drug,
    doses: Iterable[Dose],
    times_h: ArrayLike,
    *,
    patient: Patient | None = None,
    bsa_m2: float | None = None,
) -> NDArray[np.float64]:
    """Plasma concentration, umol/L, at ``times_h`` (any shape); doses of other drugs are skipped.

    A dose given at t counts from t on: at the moment of a bolus its peak is already there.
    """
    times = np.asarray(times_h, dtype=np.float64)
    level = np.zeros(times.shape)
    doses = [dose for dose in doses if dose.drug == drug.name]
    if not doses:
        return level
    if bsa_m2 is None:
        bsa_m2 = patient.bsa_m2 if patient is not None else 0.0
    # mg / (g/mol) is mmol; 1e3 makes umol
    scale = 1e3 / drug.molar_mass / drug.clearance_l_per_h(bsa_m2)
    for dose in doses:
        since = times - dose.start_h
        given = since >= 0.0
        since = np.where(given, since, 0.0)
        for half_life, share in zip(drug.half_lives_h, drug.fractions, strict=True):
            k = math.log(2.0) / half_life
            if dose.duration_h > 0.0:
                # -expm1 keeps the start of an infusion and fast phases exact
                during = np.minimum(since, dose.duration_h)
                phase = -np.expm1(-k * during) * np.exp(-k * (since - during)) / dose.duration_h
            else:
                phase = k * np.exp(-k * since)
            level += np.where(given, dose.amount_mg * scale * share * phase, 0.0)
    return level
