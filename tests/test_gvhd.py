"""Damage to host tissue by donor effectors (switch `gvhd`): an output of exposure, never of the infused dose."""

from __future__ import annotations

import numpy as np
import pytest
from thresholds import GVHD

from mst_abm.clinic.endpoints import ENDPOINTS, Laboratory
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario_text

# The patient of the shipped microtransplantation on the day of the infusion: 15 % of the lymphocytes are left, an empty marrow.
WORLD = """
model: marrow
switches: {gvhd: on}
override:
  compartments.marrow.lattice.shape: [48, 48, 48]
  compartments.marrow.patches: 2
  compartments.lymphoid.share: 3e-7
  compartments.blood.share: 3e-7
  compartments.tissue.share: 3e-7
patient:
  weight: 62 kg
  hla: [A*02:01, A*24:02, B*40:01, B*15:01, DRB1*09:01, DRB1*15:01]
donor:
  hla: [A*02:01, A*11:01, B*40:01, B*46:01, DRB1*09:01, DRB1*08:03]
  cd3_per_kg: 1.1e8
  nk_per_kg: 1.1e7
  apc_per_kg: 3.5e6
protocol: [{at: 0 h, infuse: donor}]
run: {until: 14 d, seed: 1, exchange: 1 h, record: {counts: 1 d}}
initial:
  marrow: [{cells: sinusoid, place: {tubes: {spacing: 80 um, radius: 8 um}}}]
  blood: []
  lymphoid:
    - {cells: "cd8[origin=host,target=none,status=resting]", density: 46830 /mm^3, fraction_of: rest_hvg}
    - {cells: "cd8[origin=host,target=allo,status=resting]", density: 46830 /mm^3, fraction_of: hvg}
    - {cells: "cd4[origin=host,target=none,status=resting]", density: 70245 /mm^3, fraction_of: rest_hvg}
    - {cells: "cd4[origin=host,target=allo,status=resting]", density: 70245 /mm^3, fraction_of: hvg}
    - {cells: "nk[origin=host,status=ready]", density: 5853 /mm^3}
    - {cells: "apc[origin=host,antigen=self]", density: 2927 /mm^3}
  tissue:
    - {cells: "host_tissue[state=sound]", density: 1e6 /mm^3, switch: gvhd}
"""
MATCHED = (
    "donor.hla=[A*02:01, A*24:02, B*40:01, B*15:01, DRB1*09:01, DRB1*15:01]",
    "immunology.minor_antigen_share=0",
)
PROBABILITY = {rule.name: rule for rule in ENDPOINTS}["gvhd_probability"]


class Exposed:
    """Exposure (cell-days), greatest damage and the rules that did it."""

    def __init__(self, *overrides: str) -> None:
        scenario = load_scenario_text(WORLD, overrides=overrides)
        simulation = Simulation(scenario, replicates=GVHD.replicates, seed=1)
        compiled = simulation.compiled
        laboratory = Laboratory(
            scenario.observables,
            compiled.species,
            scenario.model.compartments,
            compiled.signal_names,
        )
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
        return float(PROBABILITY.evaluate(np.zeros(0), self.series, 0.0).mean())


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
    scenario = load_scenario_text(WORLD, overrides=["switches.gvhd=off"])
    assert not [s for s in Simulation(scenario).compiled.species if s.type == "host_tissue"]
    assert not [o for o in scenario.observables if o.name in ("gvhd_exposure", "tissue_damage")]
