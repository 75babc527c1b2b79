"""Systemic release of cytokines (switch `crs`): hours after an infusion, in proportion to its dose."""

from __future__ import annotations

import numpy as np
import pytest
from infused import MATCHED, dosed, infused
from thresholds import CYTOKINES

from mst_abm.clinic.endpoints import endpoints_for
from mst_abm.runs.simulation import Simulation

SYMPTOMS = 10.0  # fold over rest: the rise of the ten cytokines that rose


def index(*overrides: str) -> np.ndarray:
    """Level of the index at every hour of four days, mean of the replicates."""
    simulation = Simulation(
        infused("switches.crs=on", *overrides), replicates=CYTOKINES.replicates, seed=1
    )
    place = simulation.compiled.signal_names.index("cytokine_index")
    levels = []
    for hour in range(97):
        simulation.advance(float(hour))
        levels.append(simulation.signals[:, place].mean())
    return np.array(levels)


@pytest.fixture(scope="module")
def levels() -> dict[float, np.ndarray]:
    return {dose: index(*dosed(dose)) for dose in (3e7, 1e8, 1.5e8)}


def test_the_release_scales_with_the_dose(levels: dict[float, np.ndarray]):
    low, _, high = (levels[dose].max() - 1.0 for dose in sorted(levels))
    slope = np.log10(high / low) / np.log10(1.5e8 / 3e7)
    assert CYTOKINES.least_slope < slope < CYTOKINES.greatest_slope
    assert levels[3e7].max() < SYMPTOMS < levels[1e8].max()


def test_it_begins_within_a_day_and_settles_in_three(levels: dict[float, np.ndarray]):
    of_trial = levels[1.5e8]
    onset = int((of_trial >= SYMPTOMS).argmax())
    assert CYTOKINES.earliest_h <= onset <= CYTOKINES.latest_h
    assert of_trial[72] < SYMPTOMS
    assert of_trial[:5].max() < 1.1  # earliest in the trial: four hours


def test_it_does_not_wait_for_divisions(levels: dict[float, np.ndarray]):
    rules = (
        f"{who} {kind} divide {how}"
        for who in ("host", "donor")
        for kind in ("CD8", "CD4")
        for how in ("as programmed", "with help")
    )
    undivided = index(*dosed(1.5e8), *(f"override.rules.{name}.rate=0 /h" for name in rules))
    assert undivided.max() == pytest.approx(levels[1.5e8].max(), rel=CYTOKINES.alike)


@pytest.mark.parametrize("overrides", [("protocol=[]",), MATCHED])
def test_without_foreign_antigen_there_is_none(overrides: tuple[str, ...]):
    """Negative control: no donor cells, or donor cells that see nothing foreign."""
    assert index(*overrides) == pytest.approx(1.0)


def test_off_there_is_no_index():
    scenario = infused()
    assert not [s for s in Simulation(scenario).compiled.species if s.type == "macrophage"]
    assert "cytokine_peak" not in [e.name for e in endpoints_for(scenario.observables)]
    is_on = infused("switches.crs=on")
    assert "cytokine_peak" in [e.name for e in endpoints_for(is_on.observables)]
