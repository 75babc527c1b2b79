"""How many T cells are alloreactive: from the HLA of both, in both directions, with minor antigens as a floor."""

from __future__ import annotations

import pytest

from mst_abm.scenario.loading import load_scenario_text

PATIENT = ["A*02:01", "A*24:02", "B*40:01", "B*15:01", "DRB1*09:01", "DRB1*15:01"]
CHILD = ["A*02:01", "A*11:01", "B*40:01", "B*46:01", "DRB1*09:01", "DRB1*08:03"]
STRANGER = ["A*01:01", "A*03:01", "B*08:01", "B*07:02", "DRB1*03:01", "DRB1*04:01"]
#: Homozygous at every locus for what the patient has: nothing foreign to the patient, much to the donor.
NARROW = ["A*02:01", "B*40:01", "DRB1*09:01"]
FULL, MINOR = 0.05, 3.6e-5


def shares(donor: list[str]) -> tuple[float, float]:
    """Of the host's T cells that see the donor, and of the graft's that see the host."""
    scenario = load_scenario_text(
        f"model: marrow\npatient: {{weight: 60 kg, hla: {PATIENT}}}\n"
        f"donor: {{hla: {donor}, cd3_per_kg: 1e8, nk_per_kg: 0, apc_per_kg: 0, cd34_per_kg: 0}}\n"
        "protocol: [{at: 0 h, infuse: donor}]\n"
        "initial:\n"
        "  lymphoid:\n"
        '    - {cells: "cd8[origin=host,target=allo,status=resting]", density: 1e5 /mm^3, fraction_of: hvg}\n'
        '    - {cells: "cd8[origin=host,target=none,status=resting]", density: 1e5 /mm^3, fraction_of: rest_hvg}\n'
    )

    def share(cells: list[tuple[dict, float]]) -> float:
        allo = sum(n for values, n in cells if values["target"] == "allo")
        return allo / sum(n for _, n in cells)

    host = [
        (dict(i.species[0][0].values), i.amount)
        for i in scenario.model.initial
        if i.compartment == "lymphoid"
    ]
    graft = [
        (dict(p.values), n) for _, p, n in scenario.infusions[0].cells if p.type in ("cd8", "cd4")
    ]
    return share(host), share(graft)


@pytest.mark.parametrize(
    ("donor", "hvg", "gvh"),
    [
        (PATIENT, MINOR, MINOR),  # a matched sibling differs in minor antigens only
        (CHILD, FULL / 2, FULL / 2),
        (STRANGER, FULL, FULL),
        (NARROW, MINOR, FULL / 2),
    ],
    ids=["matched sibling", "child", "stranger", "homozygous"],
)
def test_share_of_alloreactive_cells(donor: list[str], hvg: float, gvh: float):
    assert shares(donor) == pytest.approx((hvg, gvh))


def test_directions_are_not_the_same():
    """Negative control."""
    hvg, gvh = shares(NARROW)
    assert gvh > 100 * hvg
