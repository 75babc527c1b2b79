"""How T effectors search in marrow: at the measured speed however dense it is, and how many they kill a day."""

from __future__ import annotations

import pytest
from mini_patient import SITES, cells, events, mini_patient
from thresholds import SEARCH

from mst_abm.runs.simulation import Simulation

KILL = "anti-leukaemia CD8 kill leukaemia"
WALK = "T effectors walk"
STAY = {
    "effectors leave the marrow": "0 /day",
    "effectors contract": "0 /day",
    "blasts divide": "0 /h",
    "blasts die": "0 /day",
    "maturing cells leave": "0 /day",
}
#: Nobody changes places; the walk of before.
SLOW = {f"rules.{WALK}.rate": "6 /h", f"rules.{WALK}.swap_with": ["host_tissue"]}


def marrow(occupied: float, targets: float, killers: int, **more) -> Simulation:
    """A marrow of which a share is taken, a share of its cells leukaemia."""
    n = round(SITES**3 * occupied)
    blasts = round(n * targets)
    inside = [
        cells("blast[phase=g1]", blasts),
        cells("maturing", n - blasts),
        cells("cd8[origin=host,target=leukaemia,status=effector]", killers),
    ]
    return mini_patient({"marrow": inside}, switches={"rvt": "on", "exhaustion": "off"}, **more)


@pytest.mark.parametrize("occupied", [0.1, 0.7])
def test_walkers_keep_their_speed_in_a_crowd(occupied: float):
    simulation = marrow(occupied, 0.0, 200, rates=STAY)
    simulation.advance("2 h")
    steps = events(simulation, WALK) / 200 / 2
    # 6 um a minute, 8 um a step; a tenth of the sites are vessels
    assert 0.8 * 45 < steps < 1.05 * 45


def test_without_changing_places_a_crowd_holds_them_up():
    """Negative control."""
    blocked = {f"rules.{WALK}.swap_with": ["host_tissue"]}
    simulation = marrow(0.7, 0.0, 200, rates=STAY, more=blocked)
    simulation.advance("2 h")
    assert events(simulation, WALK) / 200 / 2 < 0.4 * 45


def search(**more) -> float:
    """Targets met a day, over their share of the cells of a normal marrow, by killers that need no pause."""
    rates = {**STAY, "CD8 recover after a kill": "1e5 /h"}
    one = marrow(SEARCH.occupied, 0.05, 10, rates=rates, **more)
    simulation = Simulation(one.scenario, replicates=SEARCH.replicates, seed=3)
    simulation.advance("30 min")
    kills = sum(
        int(n) for t, n in zip(simulation.compiled.tallies, simulation.tally.sum(axis=0), strict=True) if t.rule == KILL
    )  # fmt: skip
    return kills / SEARCH.replicates / 10 * 48 / 0.05


def test_search_of_a_normal_marrow():
    assert abs(search() / SEARCH.a_day - 1) < SEARCH.alike
    assert search(more=SLOW) < (1 - SEARCH.alike) * SEARCH.a_day  # negative control


@pytest.mark.parametrize("kind", ["cd8", "cd4"])
def test_kills_a_day_among_dense_targets(kind: str):
    """2-16 a day, Halle 2016, set by the pause and not by the search."""
    killer = f"{kind}[origin=donor,target=allo,status=effector]"
    simulation = mini_patient(
        {"marrow": [cells("blast[phase=g1]", 9000), cells(killer, 100)]},
        switches={"exhaustion": "off"},
        rates=STAY,
    )
    kills = []
    for day in (1, 2, 3):
        simulation.advance(24.0 * day)
        kills.append(events(simulation, f"donor {kind.upper()} kill leukaemia") / 100)
    assert 2.0 < kills[2] - kills[1] < 16.0
    assert kills[2] - kills[1] < 1.15 * 6.9


def test_rare_targets_are_found_sooner_than_by_a_slow_walk():
    found = {}
    for name, more in {"measured": {}, "slow": SLOW}.items():
        simulation = marrow(0.05, 0.4, 100, rates=STAY, more=more)
        simulation.advance("6 h")
        found[name] = events(simulation, KILL)
    assert found["measured"] > 1.15 * found["slow"]
