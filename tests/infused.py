"""A small patient on the day of an infusion, for the mechanisms that donor cells set going."""

from __future__ import annotations

from mini_patient import ALL_OFF

from mst_abm.scenario import load_scenario_text
from mst_abm.scenario.definition import Scenario

# The patient of the shipped microtransplantation on the day of the infusion: 15 % of the lymphocytes are left, an empty marrow.
WORLD = """
model: marrow
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
  cd34_per_kg: 1.8e6
protocol: [{at: 0 h, infuse: donor}]
run: {until: 28 d, seed: 1, exchange: 30 min, record: {counts: 1 d}}
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
    - {cells: "macrophage[state=ready]", density: 50000 /mm^3, switch: crs}
"""
#: Overrides by which donor and host see nothing foreign in each other.
MATCHED = (
    "donor.hla=[A*02:01, A*24:02, B*40:01, B*15:01, DRB1*09:01, DRB1*15:01]",
    "immunology.minor_antigen_share=0",
)


def infused(*overrides: str) -> Scenario:
    """The patient with what a test wants to be different, as ``"a.b=value"``; mechanisms of ``ON_REQUEST`` only where it says so."""
    return load_scenario_text(WORLD, overrides=(*ALL_OFF, *overrides))


def dosed(cd3_per_kg: float) -> tuple[str, ...]:
    """Overrides by which every kind of donor cell goes with the dose of T cells."""
    f = cd3_per_kg / 1.1e8
    doses = {"cd3_per_kg": cd3_per_kg, "nk_per_kg": 1.1e7 * f, "apc_per_kg": 3.5e6 * f}
    return tuple(f"donor.{name}={number}" for name, number in doses.items())
