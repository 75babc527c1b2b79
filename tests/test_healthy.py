"""A healthy adult stays as he is, with every mechanism of health on: levels and drift of all cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from thresholds import HEALTHY_MONTH, HEALTHY_YEAR, Stationary

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario

CONFIG = Path(__file__).parent.parent / "configs" / "healthy_marrow.yaml"
ALL_ON = ("switches.niches=on", "switches.fat_dynamics=on", "switches.treg=on")
ANATOMY = {"sinusoid", "stroma", "endosteum"}
#: A rule that is faster, by a fifth in the controls of the year and twice in that of the month: a shift of levels.
FASTER = "override.rules.maturing cells leave.rate={} /day"


class Adult:
    """Cells of the marrow by type, neutrophils and platelets, relative to the start, every second day."""

    def __init__(self, size: Stationary, *overrides: str, days: int = 0, seed: int = 5) -> None:
        days = days or size.days
        scenario = load_scenario(
            CONFIG, overrides=(f"run.until={days} d", *size.world, *ALL_ON, *overrides)
        )
        simulation = Simulation(scenario, replicates=size.replicates, seed=seed)
        species = simulation.compiled.species
        signals = simulation.compiled.signal_names
        laboratory = Laboratory(scenario.observables, species, scenario.model.compartments, signals)
        kinds = {s.type for s in species[1:]} - ANATOMY
        masks = {kind: np.array([s.type == kind for s in species]) for kind in sorted(kinds)}
        self.days = np.arange(0, days + 1, 2)
        rows = []
        for day in self.days:
            simulation.advance(day * 24.0)
            seen = laboratory.read(simulation.counts, simulation.signals)
            row = {name: float(seen[name].mean()) for name in ("anc", "platelets")}
            marrow = simulation.counts["marrow"].sum(axis=0)
            rows.append(row | {kind: float(marrow[mask].sum()) for kind, mask in masks.items()})
        self.series = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        self.size = size

    def relative(self) -> dict[str, np.ndarray]:
        """Series of what there was enough of at the start to be counted."""
        few = self.size.fewest
        return {
            name: series / series[0]
            for name, series in self.series.items()
            if series[0] >= few or name in ("anc", "platelets")
        }

    def levels(self) -> dict[str, float]:
        """How far the mean after the first days is from the start."""
        late = self.days >= self.size.from_day
        return {name: series[late].mean() - 1.0 for name, series in self.relative().items()}

    def slopes(self) -> dict[str, float]:
        """Drift per year."""
        return {
            name: float(np.polyfit(self.days / 365.0, series, 1)[0])
            for name, series in self.relative().items()
        }


def beyond(found: dict[str, float], limit: float) -> dict[str, float]:
    return {name: round(value, 3) for name, value in found.items() if abs(value) > limit}


def test_healthy_marrow_keeps_its_levels_for_a_month():
    adult = Adult(HEALTHY_MONTH)
    assert {"stem", "precursor", "neutrophil", "maturing", "fat"} <= set(adult.relative())
    assert not beyond(adult.levels(), HEALTHY_MONTH.level)
    # negative control: maturing cells leave twice as fast
    control = Adult(HEALTHY_MONTH, FASTER.format(0.5))
    assert "maturing" in beyond(control.levels(), HEALTHY_MONTH.level)


@pytest.mark.verify
def test_healthy_marrow_is_stationary_for_a_year():
    adult = Adult(HEALTHY_YEAR)
    assert not beyond(adult.levels(), HEALTHY_YEAR.level), adult.levels()
    assert not beyond(adult.slopes(), HEALTHY_YEAR.slope), adult.slopes()
    late = adult.days >= HEALTHY_YEAR.from_day
    assert adult.series["anc"][late].min() > 1.8 and adult.series["anc"][late].max() < 7.5
    assert adult.series["platelets"][late].min() > 150
    assert adult.series["platelets"][late].max() < 400


@pytest.mark.verify
def test_a_shift_and_a_drift_of_the_healthy_marrow_are_seen():
    """Negative controls of the year: one rate a fifth faster, and stem-like cells that enter S half as often."""
    shifted = Adult(HEALTHY_YEAR, FASTER.format(0.3), days=120)
    assert "maturing" in beyond(shifted.levels(), HEALTHY_YEAR.level)
    fewer = Adult(HEALTHY_YEAR, "override.rules.stem-like cells enter S.rate=0.054 /day", days=120)
    assert "precursor" in beyond(fewer.slopes(), HEALTHY_YEAR.slope)
