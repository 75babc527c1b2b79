"""Rejection wakes the host's anti-leukaemia CD8 (switch ``rvt``): licence, gain, killing, memory, and its absence."""

from __future__ import annotations

import math
from functools import cache

import pytest
from mini_patient import cells, events, mini_patient, number
from thresholds import RVT

from mst_abm.runs.simulation import Simulation

CLONE = "cd8[origin=host,target=leukaemia"
KILL = "anti-leukaemia CD8 kill leukaemia"
MEET = "anti-leukaemia CD8 meet antigen without licence"
#: Donor cells spare the leukaemia here, so that what dies beyond its own rate dies of this mechanism.
ALONE = {"gvt_t": "off", "gvt_nk": "off"}
GRAFT = {
    "patient": {"weight": "62 kg"},
    "donor": {"cd3_per_kg": 1.1e8, "nk_per_kg": 1.1e7, "apc_per_kg": 3.5e6},
}


def infused(rvt: str, *, is_infused: bool = True, cd4: int = 720, clone: int = 60) -> Simulation:
    """Leukaemia of 3e9 cells and a host that can reject; donor cells at once, or none."""
    lymphoid = [
        cells(f"{CLONE},status=tolerant]", clone, switch="rvt"),
        cells("cd8[origin=host,target=allo,status=resting]", 480),
        cells("cd4[origin=host,target=allo,status=resting]", cd4),
        cells("apc[origin=host,antigen=self]", 4000),
    ]
    return mini_patient(
        {"marrow": [cells("blast[phase=g1]", 3000)], "lymphoid": lymphoid},
        switches={**ALONE, "rvt": rvt},
        protocol=[{"at": "0 d", "infuse": "donor"}] if is_infused else [],
        **GRAFT,
    )


def donors(simulation: Simulation) -> int:
    return sum(number(simulation, f"{kind}[origin=donor]") for kind in ("cd8", "cd4", "nk", "apc"))


@cache
def course(
    rvt: str = "on", is_infused: bool = True, cd4: int = 720, clone: int = 60
) -> dict[str, list[int]]:
    """Every second day for 30 days."""
    simulation = infused(rvt, is_infused=is_infused, cd4=cd4, clone=clone)
    seen: dict[str, list[int]] = {
        "donors": [],
        "licensed": [],
        "dividing": [],
        "memory": [],
        "kills": [],
        "blasts": [],
    }
    for day in range(0, 31, 2):
        simulation.advance(24.0 * day)
        seen["donors"].append(donors(simulation))
        seen["licensed"].append(number(simulation, "apc[antigen=licensed]"))
        seen["dividing"].append(number(simulation, f"{CLONE},status=dividing]"))
        seen["memory"].append(number(simulation, f"{CLONE},status=memory]"))
        seen["kills"].append(events(simulation, KILL))
        seen["blasts"].append(number(simulation, "blast"))
    return seen


def test_response_rises_with_rejection_and_falls_after_it():
    seen = course()
    # one in a hundred is left; how long the very last one lives is chance
    gone = next(i for i, n in enumerate(seen["donors"]) if 100 * n < seen["donors"][0])
    assert 2 <= gone <= 7  # rejected between days 4 and 14
    licensed = seen["licensed"]
    assert abs(licensed.index(max(licensed)) - gone) <= 1  # within two days of it
    assert licensed[0] == 0 and licensed[-1] < 0.1 * max(licensed)
    peak = max(seen["dividing"])
    assert seen["dividing"][0] == 0 and peak > 200
    assert seen["dividing"][-1] < 0.1 * peak


def test_leukaemia_falls_by_more_than_a_log_beside_the_same_host_without_the_mechanism():
    assert math.log10(course("off")["blasts"][10] / (course()["blasts"][10] + 1)) > 1.0
    assert course("off")["kills"][-1] == 0


@pytest.mark.parametrize(
    "missing", [{"is_infused": False}, {"cd4": 0}, {"clone": 0}], ids=["donor", "help", "clone"]
)
def test_no_response_without_any_of_its_three_parts(missing):
    seen = course(**missing)
    assert max(seen["dividing"]) == max(seen["memory"]) == max(seen["kills"]) == 0


def test_memory_outlasts_the_donor():
    seen = course()
    assert seen["donors"][-1] == 0
    assert seen["memory"][-1] > 20
    assert max(course("off")["memory"]) == 0


def recalled(status: str, rvt: str = "on") -> int:
    """Kills in 30 days by 60 cells of the clone, without any donor cell."""
    lymphoid = [
        cells(f"{CLONE},status={status}]", 60),
        cells("apc[origin=host,antigen=self]", 4000),
    ]
    simulation = mini_patient(
        {"marrow": [cells("blast[phase=g1]", 3000)], "lymphoid": lymphoid},
        switches={**ALONE, "rvt": rvt},
    )
    simulation.advance(24.0 * 30)
    return events(simulation, KILL)


def test_memory_is_recalled_by_leukaemia_alone():
    assert recalled("memory") > 500
    assert recalled("tolerant") == 0
    assert recalled("memory", "off") == 0


def test_recall_does_not_feed_on_itself():
    # leukaemia that never dies: its antigen persists, and the clone must not grow for ever
    lymphoid = [
        cells(f"{CLONE},status=memory]", 1000),
        cells("apc[origin=host,antigen=leukaemia]", 4000),
    ]
    simulation = mini_patient(
        {"lymphoid": lymphoid},
        switches={"rvt": "on"},
        rates={"leukaemia antigen is lost": "0 /day", "tolerant and memory CD8 regrow": "0 /day"},
    )
    simulation.advance(24.0 * 60)
    assert number(simulation, f"{CLONE},status=memory]") < 300
    assert events(simulation, "anti-leukaemia memory is recalled") > 800


def responders(probability: float) -> float:
    """Z of the number that respond to antigen without licence, against one in five."""
    n = RVT["gain"].n
    simulation = mini_patient(
        {
            "lymphoid": [
                cells(f"{CLONE},status=resting]", n),
                cells("apc[origin=host,antigen=leukaemia]", 4000),
            ]
        },
        switches={"rvt": "on"},
        rates={
            "leukaemia antigen is lost": "0 /day",
            "tolerant and memory CD8 regrow": "0 /day",
            "host CD8 regrow": "0 /day",
        },
        chances={MEET: probability},
    )
    simulation.advance(24.0 * 20)
    met = events(simulation, MEET)
    assert met == n
    woken = n - number(simulation, f"{CLONE},status=tolerant]")
    return (woken - 0.2 * n) / math.sqrt(n * 0.2 * 0.8)


def test_five_times_more_respond_with_licence():
    assert abs(responders(0.2)) < RVT["gain"].z
    assert abs(responders(0.25)) > RVT["gain"].z  # negative control: a gain of four


def kills_a_day(rvt: str, killers: int, blasts: int) -> float:
    simulation = mini_patient(
        {"marrow": [cells("blast[phase=g1]", blasts), cells(f"{CLONE},status=effector]", killers)]},
        switches={"rvt": rvt},
        rates={"effectors leave the marrow": "0 /day", "effectors contract": "0 /day"},
    )
    simulation.advance(24.0)
    return events(simulation, KILL) / killers


def test_effectors_kill_as_many_a_day_as_measured_and_pause_between():
    few, many = kills_a_day("on", 100, 3000), kills_a_day("on", 100, 9000)
    assert 2.0 <= few <= 16.0
    # a pause of 3.5 h after each kill: threefold targets do not give threefold kills, nor half as many again
    assert 2.0 <= many < min(1.5 * few, 6.9 + 1.0)
    assert kills_a_day("off", 100, 3000) == 0.0


def test_kills_by_rule_add_up_to_deaths():
    simulation = infused("on")
    before = number(simulation, "blast")
    simulation.advance(24.0 * 14)
    born = events(simulation, "blasts divide")
    booked = {
        tally.rule: events(simulation, tally.rule)
        for tally in simulation.compiled.tallies
        if "leukaemia" in tally.rule and "kill" in tally.rule
    }
    booked["blasts die"] = events(simulation, "blasts die")
    assert booked[KILL] > 1000
    assert sum(booked.values()) == before + born - number(simulation, "blast")


#: What the debris of cells that die by themselves alone would be.
BY_THEMSELVES = {
    "signals.leukaemia_debris.yields": [
        {"event": "blasts die", "amount": 1, "relative_to": "1e9 cells"}
    ]
}


def carrying(*, drug: bool, killers: int = 0, more: dict | None = None) -> tuple[int, float]:
    """Antigen-presenting cells with leukaemia antigen after two days, and debris then, in 1e9."""
    simulation = mini_patient(
        {
            "marrow": [cells("blast[phase=s_mid]", 4000), cells(f"{CLONE},status=effector]", killers)],
            "lymphoid": [cells("apc[origin=host,antigen=self]", 4000)],
        },
        switches={**ALONE, "rvt": "on"},
        rates={"effectors leave the marrow": "0 /day"},
        patient={"height": "165 cm", "weight": "62 kg"},
        protocol=[{"at": "0 d", "give": "cytarabine", "dose": "150 mg/m^2/day", "for": "2 d"}]
        if drug
        else [],
        more=more,
    )  # fmt: skip
    simulation.advance(24.0 * 2)
    debris = simulation.signals[0, simulation.compiled.signal_names.index("leukaemia_debris")]
    return number(simulation, "apc[antigen=leukaemia]"), float(debris)


def test_cells_killed_by_drugs_and_by_t_cells_are_debris_too():
    alone = carrying(drug=False)
    assert alone[0] > 0
    for what in ({"drug": True}, {"drug": False, "killers": 400}):
        loaded, debris = carrying(**what)
        assert debris > 1.2 * alone[1]
        assert loaded > 1.1 * alone[0]
        # negative control: counting only those that die by themselves
        unseen = carrying(**what, more=BY_THEMSELVES)
        assert unseen[1] < 1.05 * alone[1]
