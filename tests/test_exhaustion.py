"""Effectors under persistent antigen are exhausted (switch ``exhaustion``): how fast, where, and what they do no more."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from mini_patient import cells, events, mini_patient, number
from thresholds import EXHAUSTION

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario

RULE = "T cells are exhausted by antigen"
KILL = "donor CD8 kill leukaemia"
#: Nobody leaves or dies of age.
STAY = {"effectors leave the marrow": "0 /day", "effectors contract": "0 /day"}
#: Leukaemia that is replaced as fast as it is killed.
FEED = {"blasts die": "0 /day"}


def marrow(killers: int, blasts: int, kind: str = "cd8", status: str = "effector") -> dict:
    killer = f"{kind}[origin=donor,target=allo,status={status}]"
    return {"marrow": [cells("blast[phase=g1]", blasts), cells(killer, killers)]}


def engaged(rate: float, exhaustion: str = "on") -> float:
    """Z of the number exhausted in ten days of those that never come off antigen, against 0.05 per day."""
    n = EXHAUSTION["engaged"].n
    rates = {**STAY, "CD8 recover after a kill": "0 /day"}
    if exhaustion == "on":
        rates[RULE] = f"{rate} /day"
    simulation = mini_patient(
        marrow(n, 0, status="refractory"), switches={"exhaustion": exhaustion}, rates=rates
    )
    simulation.advance(24.0 * 10)
    p = -math.expm1(-0.05 * 10)
    exhausted = number(simulation, "cd8[status=exhausted]")
    return (exhausted - n * p) / math.sqrt(n * p * (1 - p))


def test_cells_on_antigen_are_exhausted_at_the_stated_rate():
    assert abs(engaged(0.05)) < EXHAUSTION["engaged"].z
    # negative controls: a fifth faster; switched off
    assert engaged(0.06) > EXHAUSTION["engaged"].z
    assert engaged(0.05, "off") < -EXHAUSTION["engaged"].z


def course(exhaustion: str, blasts: int, kind: str = "cd8") -> tuple[Simulation, list[int]]:
    """Kills in each of five weeks by 100 cells among targets that never become rare."""
    rates = {**STAY, **FEED, "blasts divide": "1 /h"}
    rates |= {f"blasts {step}": "2 /h" for step in ("enter S", "pass early S", "pass mid S")}
    simulation = mini_patient(
        marrow(100, blasts, kind), switches={"exhaustion": exhaustion}, rates=rates
    )
    kills = [0]
    for week in range(1, 6):
        simulation.advance(24.0 * 7 * week)
        kills.append(events(simulation, KILL.replace("CD8", kind.upper())))
    return simulation, [b - a for a, b in pairwise(kills)]


@pytest.mark.parametrize("kind", ["cd8", "cd4"])
def test_persistent_antigen_ends_killing(kind: str):
    tired, kills = course("on", 5000, kind)
    fresh, steady = course("off", 5000, kind)
    assert number(tired, "blast") > 2000 < number(fresh, "blast")
    assert kills[4] < 0.5 * kills[0]
    assert steady[4] > 0.9 * steady[0]  # negative control
    assert number(tired, f"{kind}[status=exhausted]") > 50
    # of two in three that pause at any time, 0.05 a day: exp(-0.05 x 0.9 x 35) are left
    left = number(tired, f"{kind}[status=effector|refractory]") / 100
    assert 0.1 < left < 0.4


def test_without_targets_nobody_is_exhausted():
    simulation, kills = course("on", 0)
    assert sum(kills) == events(simulation, RULE) == 0


def test_exhausted_cells_neither_kill_nor_last():
    simulation = mini_patient(
        marrow(400, 5000, status="exhausted"), switches={}, rates={"effectors leave the marrow": "0 /day"}
    )  # fmt: skip
    simulation.advance(24.0 * 7)
    assert events(simulation, KILL) == 0
    left = number(simulation, "cd8[status=exhausted]")
    expected = 400 * math.exp(-0.5 * 7)
    assert abs(left - expected) < 6 * math.sqrt(expected)


def test_kills_by_rule_add_up_with_exhaustion():
    simulation = mini_patient(marrow(200, 5000), switches={}, rates=STAY)
    simulation.advance(24.0 * 10)
    assert number(simulation, "cd8[status=exhausted]") > 10
    born = events(simulation, "blasts divide")
    lost = events(simulation, "blasts die") + events(simulation, KILL)
    assert lost == 5000 + born - number(simulation, "blast")


def test_off_there_are_no_exhausted_cells():
    names = Simulation(
        load_scenario("configs/quickstart.yaml", overrides=["switches.exhaustion=off"])
    ).compiled.species_names
    assert not any("exhausted" in name for name in names)
