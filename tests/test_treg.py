"""Regulatory T cells suppress waking (switch ``treg``): by how much, in both directions, and what it does to a response."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from mini_patient import cells, events, mini_patient, number
from thresholds import TREG

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario

PATIENT = Path(__file__).resolve().parent.parent / "configs" / "mst_elderly_aml.yaml"
#: Nothing but waking: nobody divides, travels or dies.
STILL = {
    "CD8 prepare to divide": "0 /day",
    "CD4 prepare to divide": "0 /day",
    "host CD8 regrow": "0 /day",
    "host CD4 regrow": "0 /day",
    "resting T cells leave lymphoid tissue": "0 /day",
    "bystanders leave lymphoid tissue": "0 /day",
    "resting donor T cells die": "0 /day",
    "host antigen-presenting cells take up donor antigen": "0 /day",
}
#: Who is woken, by whose antigen, and whose regulatory cells suppress it.
CASES = {
    "host CD8, host Treg": ("cd8", "host", "host"),
    "host CD4, donor Treg": ("cd4", "host", "donor"),
    "donor CD8, host Treg": ("cd8", "donor", "host"),
    "donor CD4, donor Treg": ("cd4", "donor", "donor"),
}


def woken(kind: str, origin: str, regulators: str, half: float, treg: str = "on") -> float:
    """Z of the number woken in half a day among 0.3 regulatory cells each, against half suppression at 0.3."""
    n = TREG["woken"].n
    antigen = (
        "apc[origin=donor,antigen=donor]" if origin == "host" else "apc[origin=host,antigen=self]"
    )
    side, other = ("host", "donor") if origin == "host" else ("donor", "host")
    rule = f"{side} {kind.upper()} meet {other} antigen"
    rates = dict(STILL)
    if treg == "on":
        rates["host regulatory T cells regrow"] = "0 /day"
    simulation = mini_patient(
        {
            "lymphoid": [
                cells(f"{kind}[origin={origin},target=allo,status=resting]", n),
                cells(f"treg[origin={regulators}]", round(0.3 * n), switch="treg"),
                cells(antigen, 4000),
            ]
        },
        switches={"treg": treg},
        rates=rates,
        more={f"rules.{rule}.modifiers.1.shape.inverse_hill.half": half},
    )
    simulation.advance(12.0)
    chance = 1.5 / 24.0 * (1.0 / 1.016) * 0.5
    p = -math.expm1(-12.0 * chance)
    return (events(simulation, rule) - n * p) / math.sqrt(n * p * (1.0 - p))


@pytest.mark.parametrize("case", CASES)
def test_waking_is_halved_at_three_regulatory_cells_in_ten(case):
    assert abs(woken(*CASES[case], half=0.3)) < TREG["woken"].z


def test_negative_controls_are_noticed():
    case = CASES["host CD8, host Treg"]
    assert abs(woken(*case, half=0.36)) > TREG["woken"].z
    assert woken(*case, half=0.3, treg="off") > TREG["woken"].z


def tolerant_host(treg: str, regulators: int) -> Simulation:
    """Six days after an infusion into a host that cannot reject; donor cells meet host antigen."""
    simulation = mini_patient(
        {
            "lymphoid": [
                cells("cd8[origin=donor,target=allo,status=resting]", 300),
                cells("cd4[origin=donor,target=allo,status=resting]", 300),
                cells("apc[origin=host,antigen=self]", 4000),
                cells("treg[origin=donor]", regulators, switch="treg"),
            ]
        },
        switches={"treg": treg, "hvg_t": "off", "hvg_nk": "off"},
    )
    simulation.advance(24.0 * 6)
    return simulation


def responders(simulation: Simulation) -> int:
    active = "status=activated|primed|dividing|effector|refractory"
    return sum(number(simulation, f"{kind}[origin=donor,{active}]") for kind in ("cd8", "cd4"))


def test_fewer_donor_cells_respond_at_equal_dose():
    # ten regulatory cells each: waking at 3 % of its rate
    assert responders(tolerant_host("on", 6000)) < 0.5 * responders(tolerant_host("off", 6000))
    # as few as in a graft hardly matter
    assert responders(tolerant_host("on", 9)) > 0.7 * responders(tolerant_host("off", 9))


def test_patients_and_grafts_hold_as_many_as_stated():
    scenario = load_scenario(PATIENT, overrides=["switches.treg=on"])
    cells_of: dict[tuple[str, str], float] = {}
    for item in scenario.model.initial:
        if item.compartment == "lymphoid":
            for product, _ in item.species:
                cells_of[product.type, "host"] = (
                    cells_of.get((product.type, "host"), 0.0) + item.amount
                )
    for _, product, count in scenario.infusions[0].cells:
        origin = dict(product.values).get("origin", "")
        cells_of[product.type, origin] = cells_of.get((product.type, origin), 0.0) + count
    for origin, share in (("host", 0.05), ("donor", 0.0296)):
        all_cd4 = cells_of["cd4", origin] + cells_of["treg", origin]
        assert cells_of["treg", origin] / all_cd4 == pytest.approx(share, rel=0.01)
    without = load_scenario(PATIENT, overrides=["switches.treg=off"])
    assert all(p.type != "treg" for _, p, _ in without.infusions[0].cells)
