"""Donor NK cells kill leukaemia that lacks a ligand of their receptors; few of them do most of it; they spare tissue."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mini_patient import cells, events, mini_patient, number
from thresholds import NK

from mst_abm.runs.mean_field import MeanField
from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario, load_scenario_text

HEALTHY = Path(__file__).parent.parent / "configs" / "healthy_marrow.yaml"
LYMPHOID_NK = 6  # its line among the cells of lymphoid tissue
KILL = "donor NK cells kill leukaemia"
#: HLA-C of group 1 alone, and of both groups: who has both has a ligand that the other lacks.
C1 = ["A*02:01", "B*07:02", "C*07:02", "C*03:04"]
BOTH = ["A*02:01", "B*07:02", "C*07:02", "C*06:02"]
#: No rejection, and no T cells: what a transplant leaves to NK cells.
ALONE = {"hvg_t": "off", "hvg_nk": "off", "gvt_t": "off"}


@cache
def course(
    host: tuple[str, ...], donor: tuple[str, ...], gvt_nk: str = "on", hvg_nk: str = "off"
) -> Simulation:
    """Leukaemia a fortnight after many donor NK cells (ten times the dose of a trial of haploidentical NK cells)."""
    simulation = mini_patient(
        {
            "marrow": [cells("blast[phase=g1]", 1500)],
            "tissue": [cells("host_tissue[state=sound]", 2000, switch="gvhd")],
            "lymphoid": [cells("nk[origin=host,status=ready]", 6000)] if hvg_nk == "on" else [],
        },
        switches={**ALONE, "gvt_nk": gvt_nk, "hvg_nk": hvg_nk, "gvhd": "on"},
        patient={"weight": "62 kg", "hla": list(host)},
        donor={"hla": list(donor), "cd3_per_kg": 0, "nk_per_kg": 2.9e8, "apc_per_kg": 0},
        protocol=[{"at": "0 d", "infuse": "donor"}],
    )
    simulation.advance(24.0 * 14)
    return simulation


def test_leukaemia_falls_where_a_ligand_is_missing_and_nowhere_else():
    """Pattern of Ruggeri 2002: relapse of AML in none of the mismatched, in three of four others."""
    missing, matched = course(tuple(C1), tuple(BOTH)), course(tuple(C1), tuple(C1))
    reverse, off = course(tuple(BOTH), tuple(C1)), course(tuple(C1), tuple(BOTH), "off")
    assert number(missing, "blast") < 0.2 * number(matched, "blast")
    # negative controls: the donor's ligands all there; missing in the other direction; mechanism off
    for control in (matched, reverse):
        assert events(control, KILL) == 0
    assert number(off, "blast") > 0.7 * number(matched, "blast")
    lost = events(missing, KILL) + events(missing, "blasts die")
    assert lost == 1500 + events(missing, "blasts divide") - number(missing, "blast")


def test_they_spare_tissue_and_blood_formation():
    simulation = course(tuple(C1), tuple(BOTH))
    assert number(simulation, "host_tissue[state=sound]") == 2000
    targets = {
        t.partner.partition("[")[0] for t in simulation.compiled.tallies if t.actor.startswith("nk[") and t.partner
    }  # fmt: skip
    assert targets == {"blast"}


def test_half_die_in_ten_days_and_the_host_kills_more():
    n = NK["alive"].n
    lymphoid = [cells("nk[origin=donor,status=ready]", n)]

    def left(rate: float, host: int = 0) -> int:
        simulation = mini_patient(
            {"lymphoid": [*lymphoid, cells("nk[origin=host,status=ready]", host)]},
            switches={},
            rates={"donor NK cells die": f"{rate} /day"},
        )
        simulation.advance(24.0 * 10)
        return number(simulation, "nk[origin=donor]")

    def z(alive: int) -> float:
        p = math.exp(-0.7)
        return (alive - n * p) / math.sqrt(n * p * (1 - p))

    assert abs(z(left(0.07))) < NK["alive"].z
    assert abs(z(left(0.084))) > NK["alive"].z  # negative control
    assert left(0.07, host=20_000) < 0.5 * left(0.07)


def test_a_minority_kills_most_and_half_kill_nothing():
    """Three kills a day in the mean over all NK cells, as many by one in ten as by the other killers."""
    nk = "nk[origin=donor,status=ready,missing_ligand=yes"
    marrow = [
        cells("blast[phase=g1]", 8000),
        cells(f"{nk},ability=killer]", 80),
        cells(f"{nk},ability=serial]", 20),
        cells(f"{nk},ability=idle]", 100),
    ]
    simulation = mini_patient(
        {"marrow": marrow},
        switches=ALONE,
        rates={"NK cells leave the marrow": "0 /day", "donor NK cells die": "0 /day"},
    )
    simulation.advance(24.0)
    start = events(simulation, KILL)
    by = _kills_by_ability(simulation)
    simulation.advance(24.0 * 4)
    later = _kills_by_ability(simulation)
    a_day = {ability: (later[ability] - by[ability]) / 3 for ability in by}
    assert 2.4 < (events(simulation, KILL) - start) / 3 / 200 < 3.2
    assert a_day["idle"] == 0
    assert 0.8 < a_day["serial"] / a_day["killer"] < 1.4


def _kills_by_ability(simulation: Simulation) -> dict[str, int]:
    found = {"idle": 0, "killer": 0, "serial": 0}
    for tally, n in zip(simulation.compiled.tallies, simulation.tally[0], strict=True):
        if tally.rule == KILL:
            ability = next((a for a in ("idle", "serial") if a in tally.actor), "killer")
            found[ability] += int(n)
    return found


@pytest.mark.parametrize(
    ("host", "donor", "share"), [(C1, BOTH, 0.1), (C1, C1, 0.0), (BOTH, C1, 0.0)]
)
def test_share_of_the_graft_that_can_kill(host: list[str], donor: list[str], share: float):
    scenario = load_scenario_text(
        f"model: marrow\npatient: {{weight: 60 kg, hla: {host}}}\n"
        f"donor: {{hla: {donor}, cd3_per_kg: 0, nk_per_kg: 1e7, apc_per_kg: 0, cd34_per_kg: 0}}\n"
        "protocol: [{at: 0 h, infuse: donor}]\n"
    )
    found: dict[bool, float] = {True: 0.0, False: 0.0}
    idle = 0.0
    for _, product, count in scenario.infusions[0].cells:
        if dict(product.values).get("ability") == "idle":
            idle += count
        else:
            found[dict(product.values).get("missing_ligand") == "yes"] += count
    assert found[True] + found[False] + idle == pytest.approx(0.85 * 6e8)
    assert found[True] / (found[True] + found[False]) == pytest.approx(share)
    assert idle == pytest.approx(0.75 * 0.85 * 6e8)  # half, and half of the killers by G-CSF


def test_host_nk_reject_a_fifth_as_fast_where_no_ligand_is_missing():
    def killed(host: list[str]) -> int:
        simulation = mini_patient(
            {
                "lymphoid": [
                    cells("nk[origin=host,status=ready]", 3000),
                    cells("nk[origin=donor,status=ready]", 4000),
                ]
            },
            switches={},
            patient={"hla": host},
            donor={"hla": C1, "cd3_per_kg": 0, "nk_per_kg": 0, "apc_per_kg": 0},
        )
        simulation.advance("6 h")
        return events(simulation, "host NK cells reject donor NK and antigen-presenting cells")

    missing, matched = killed(BOTH), killed(C1)
    assert matched > 50
    assert 3.5 < missing / matched < 6.5


def share_after(days: float, *overrides: str) -> float:
    """Host NK cells of lymphoid tissue relative to a healthy adult's, who begins with a tenth of them."""
    few = f"override.states.healthy_adult.initial.lymphoid.{LYMPHOID_NK}.density=3902 /mm^3"
    scenario = load_scenario(HEALTHY, overrides=(f"run.until={days} d", few, *overrides))
    course = MeanField(scenario, replicates=1)
    course.advance(24.0 * days)
    is_nk = np.array([s.type == "nk" for s in course.compiled.species])
    lymphoid = float(np.asarray(course.counts["lymphoid"])[0, is_nk].sum())
    return lymphoid / 16000.0


def test_host_nk_cells_come_back():
    """Logistic growth, at the rate of the lymphoid share: of 24.5 NK cells 16 are there, 5, 2.5 and 1 elsewhere."""
    still = share_after(
        60, *(f"override.rules.host NK cells are {what}.rate=0 /day" for what in ("made", "lost"))
    )
    grown = 1.0 / (1.0 + (1.0 / still - 1.0) * math.exp(-0.043 * 16.0 / 24.5 * 60))
    assert share_after(60) == pytest.approx(grown, rel=0.01)
    # negative control: where none is made and none is lost, those of other tissue come in and that is all
    assert still == pytest.approx(1.0 - 0.9 * 16.0 / 24.5, rel=0.01)
    assert abs(grown / still - 1.0) > 0.5
