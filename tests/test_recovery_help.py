"""Growth factors made by the alloresponse (switch `recovery_help`): blood counts return earlier."""

from __future__ import annotations

import numpy as np
import pytest
from mini_patient import ALL_OFF
from thresholds import HELPED

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario_text

# A marrow of stem-like cells alone, fewer than at rest as after chemotherapy, and lymphoid tissue in which host T cells can meet
# donor antigen. The run ends when both counts are back.
WORLD = """
model: marrow
override:
  compartments.marrow.lattice.shape: [80, 80, 80]
  compartments.marrow.patches: 1
  compartments.lymphoid.share: 1e-7
run: {until: 22 d, seed: 1, exchange: 1 h, record: {counts: 1 d}}
initial:
  marrow:
    - {cells: sinusoid, place: {tubes: {spacing: 80 um, radius: 8 um}}}
    - {cells: "stem[phase=g1]", density: 500 /mm^3}
  blood: []
  lymphoid:
    - {cells: "cd8[origin=host,target=allo,status=resting]", number: 40}
    - {cells: "cd4[origin=host,target=allo,status=resting]", number: 60}
    - {cells: "apc[origin=host,antigen=self]", number: 400}
    - {cells: "apc[origin=donor,antigen=donor]", number: 40}
  tissue: []
"""


class Return:
    """Days after which counts are back (0.5 and 20e9/L), one number per replicate."""

    def __init__(self, *overrides: str, replicates: int = HELPED.ci) -> None:
        scenario = load_scenario_text(
            WORLD, overrides=(*ALL_OFF, "switches.recovery_help=on", *overrides)
        )
        simulation = Simulation(scenario, replicates=replicates, seed=1)
        compiled = simulation.compiled
        self.species = compiled.species_names
        laboratory = Laboratory(scenario.observables, compiled.species, scenario.model.compartments)
        self.g_csf = 0.0
        self.anc, self.platelets = np.full((2, replicates), np.inf)
        for day in np.arange(6.0, 22.0, 0.25):
            simulation.advance(day * 24.0)
            seen = laboratory.read(simulation.counts)
            self.anc[(seen["anc"] >= 0.5) & np.isinf(self.anc)] = day
            self.platelets[(seen["platelets"] >= 20.0) & np.isinf(self.platelets)] = day
            level = simulation.signals[:, compiled.signal_names.index("g_csf")].max()
            self.g_csf = max(self.g_csf, float(level))
            if np.isfinite(self.anc + self.platelets).all():
                break


def later(one: np.ndarray, other: np.ndarray) -> float:
    """Z of the difference of two means, above 0 if ``one`` is later."""
    error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    return float((one.mean() - other.mean()) / error)


@pytest.fixture(scope="module")
def helped() -> Return:
    return Return()


@pytest.fixture(scope="module")
def unhelped() -> Return:
    return Return("switches.recovery_help=off")


def test_counts_return_earlier(helped: Return, unhelped: Return):
    assert later(unhelped.anc, helped.anc) > HELPED.z
    assert later(unhelped.platelets, helped.platelets) > HELPED.z


def test_help_comes_from_cells_that_met_antigen(unhelped: Return):
    """Negative control: the switch without donor antigen does nothing."""
    alone = Return("initial.lymphoid.3.number=0")
    assert alone.g_csf <= 10.0 + 1e-6  # production over the clearance by the kidney alone
    assert abs(later(unhelped.anc, alone.anc)) < HELPED.z
    assert abs(later(unhelped.platelets, alone.platelets)) < HELPED.z


def test_new_neutrophils_are_the_hosts(helped: Return):
    assert not [s for s in helped.species if s.startswith("neutrophil") and "origin=donor" in s]
