"""Damage to host tissue by donor effectors (switch `gvhd`): an output of exposure, never of the infused dose."""

from __future__ import annotations

import numpy as np
import pytest
from infused import MATCHED, infused
from thresholds import GVHD

from mst_abm.clinic.hazards import burden_of, probability
from mst_abm.clinic.laboratory import Laboratory
from mst_abm.runs.simulation import Simulation


class Exposed:
    """Exposure (cell-days), greatest damage and the rules that did it."""

    def __init__(self, *overrides: str) -> None:
        scenario = infused("switches.gvhd=on", *overrides)
        simulation = Simulation(scenario, replicates=GVHD.replicates, seed=1)
        compiled = simulation.compiled
        laboratory = Laboratory(
            scenario.observables,
            compiled.species,
            scenario.model.compartments,
            compiled.signal_names,
        )
        (self.hazard,) = (h for h in scenario.model.hazards if h.name == "gvhd")
        rows = []
        for day in range(15):
            simulation.advance(day * 24.0)
            rows.append(laboratory.read(simulation.counts, simulation.signals))
        self.series = {name: np.stack([r[name] for r in rows], axis=1) for name in rows[0]}
        tally = simulation.tally.sum(axis=0)
        self.hits = sum(
            int(n)
            for t, n in zip(compiled.tallies, tally, strict=True)
            if t.rule.endswith("damage host tissue")
        )

    @property
    def exposure(self) -> float:
        return float(self.series["gvhd_exposure"][:, -1].mean())

    @property
    def probability(self) -> float:
        burden = burden_of(self.hazard, np.zeros(0), self.series)
        return float(probability(self.hazard, burden[:, -1]).mean())


@pytest.fixture(scope="module")
def rejected() -> Exposed:
    return Exposed()


def test_exposure_of_a_microtransplantation(rejected: Exposed):
    assert GVHD.lowest < np.log10(rejected.exposure) < GVHD.highest
    assert rejected.hits > 0
    assert rejected.series["tissue_damage"].max() > 0
    assert rejected.probability < 0.05  # 0 of 30 patients, Guo 2011


def test_without_rejection_exposure_is_higher(rejected: Exposed):
    tolerated = Exposed("switches.hvg_t=off", "switches.hvg_nk=off")
    assert np.log10(tolerated.exposure / rejected.exposure) > GVHD.gain
    assert tolerated.series["tissue_damage"].max() > rejected.series["tissue_damage"].max()


@pytest.mark.parametrize("overrides", [("protocol=[]",), MATCHED])
def test_the_dose_by_itself_does_nothing(overrides: tuple[str, ...]):
    """No donor cells, or the same dose of donor cells that see nothing foreign."""
    spared = Exposed(*overrides)
    assert spared.exposure == 0.0
    assert spared.probability == 0.0
    assert spared.hits == 0


def test_off_there_is_nothing_to_damage():
    scenario = infused()
    assert not [s for s in Simulation(scenario).compiled.species if s.type == "host_tissue"]
    assert not [o for o in scenario.observables if o.name in ("gvhd_exposure", "tissue_damage")]
