"""Blood formation by infused donor progenitors (switch `donor_haematopoiesis`), until they are rejected."""

from __future__ import annotations

import numpy as np
import pytest
from infused import MATCHED, infused
from thresholds import DONOR_BLOOD

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.runs.simulation import Simulation

# A marrow after chemotherapy, and so many donor progenitors (thirty times a real graft) that they hold their own beside the host's.
MARROW = (
    "override.compartments.marrow.lattice.shape=[64, 64, 64]",
    "override.compartments.marrow.patches=1",
    "donor.cd34_per_kg=5.4e7",
    "initial.marrow=[{cells: sinusoid, place: {tubes: {spacing: 80 um, radius: 8 um}}},"
    ' {cells: "stem[phase=g1]", density: 300 /mm^3}, {cells: "nk[origin=host,status=ready]", density: 658 /mm^3}]',
)


class Mixed:
    """Donor shares of stem-like cells and of blood neutrophils once a day, mean of the replicates."""

    def __init__(self, *overrides: str) -> None:
        scenario = infused("switches.donor_haematopoiesis=on", *MARROW, *overrides)
        simulation = Simulation(scenario, replicates=DONOR_BLOOD.replicates, seed=1)
        species = simulation.compiled.species
        laboratory = Laboratory(scenario.observables, species, scenario.model.compartments)
        stem = np.array([s.type == "stem" for s in species])
        donor = np.array([("origin", "donor") in s.values for s in species])
        platelet = np.array([s.type == "platelet" for s in species])
        self.stem, self.neutrophils = np.zeros((2, 29))
        for day in range(29):
            simulation.advance(day * 24.0)
            marrow = simulation.counts["marrow"].sum(axis=0)
            self.stem[day] = marrow[stem & donor].sum() / max(marrow[stem].sum(), 1)
            seen = laboratory.read(simulation.counts)
            self.neutrophils[day] = seen["donor_neutrophils"].mean()
            assert np.isfinite(seen["anc"]).all()
        self.donor_platelets = simulation.counts["blood"][:, platelet & donor].sum()
        self.kills = {
            t.rule: int(n)
            for t, n in zip(simulation.compiled.tallies, simulation.tally.sum(axis=0), strict=True)
            if t.partner.startswith("stem") and "origin=donor" in t.partner and n
        }


def test_donor_progenitors_make_neutrophils_while_nobody_rejects_them():
    tolerated = Mixed(*MATCHED, "switches.hvg_nk=off")
    assert (tolerated.neutrophils[:4] == 0).all()
    assert tolerated.stem[28] > DONOR_BLOOD.lasting
    assert tolerated.neutrophils[28] > DONOR_BLOOD.lasting
    assert tolerated.donor_platelets > 0
    assert not tolerated.kills


def test_their_share_rises_until_they_are_rejected():
    rejected = Mixed()
    assert rejected.stem[3] > DONOR_BLOOD.lasting
    assert rejected.neutrophils.max() > DONOR_BLOOD.seen
    assert rejected.stem[28] < DONOR_BLOOD.rejected
    assert rejected.neutrophils[28] < DONOR_BLOOD.rejected
    assert any("reject donor" in rule for rule in rejected.kills)


def test_off_every_neutrophil_is_the_hosts():
    """Negative control: the same graft, but no species of donor blood formation."""
    scenario = infused(*MARROW)
    compiled = Simulation(scenario).compiled
    types = {s.type for s in compiled.species if ("origin", "donor") in s.values}
    assert types == {"cd8", "cd4", "nk", "apc"}
    assert "stem[phase=g1]" in compiled.species_names
    assert "donor_neutrophils" not in [o.name for o in scenario.observables]


def test_drugs_and_rules_act_on_both_origins():
    scenario = infused("switches.donor_haematopoiesis=on", *MARROW)
    compiled = Simulation(scenario).compiled
    actors = {(t.rule, t.actor) for t in compiled.tallies}
    for rule in ("cytarabine kills stem-like cells", "stem-like cells pass early S"):
        assert (rule, "stem[phase=s_early]") in actors
        assert (rule, "stem[phase=s_early, origin=donor]") in actors


@pytest.mark.parametrize(
    ("type_", "origins"), [("platelet", {"host", "donor"}), ("maturing", {"host", "donor"})]
)
def test_what_a_donor_cell_becomes_stays_the_donors(type_: str, origins: set[str]):
    compiled = Simulation(infused("switches.donor_haematopoiesis=on", *MARROW)).compiled
    assert {dict(s.values)["origin"] for s in compiled.species if s.type == type_} == origins
