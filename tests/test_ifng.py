"""Interferon-gamma holds back growth (switch ``ifng``): how much, how far, for how long, and whom."""

from __future__ import annotations

import math

import numpy as np
from mini_patient import SITES, cells, events, mini_patient, number
from thresholds import IFNG

from mst_abm.runs.simulation import Simulation

ARRESTED = "blast[phase=arrested]"
#: T cells that have just touched a target; they stay so where `STILL` holds.
SECRETOR = "cd8[origin=donor,target=allo,status=refractory]"
STILL = {
    "CD8 recover after a kill": "0 /day",
    "effectors contract": "0 /day",
    "effectors leave the marrow": "0 /day",
}
#: Blasts that neither cycle nor die.
AT_REST = {"blasts enter S": "0 /day", "blasts die": "0 /day"}


def held_back(release: float, ifng: str = "on") -> float:
    """Z of the number of arrested blasts, every one of them near a secretor, against four in five."""
    n = IFNG["arrested"].n
    rates = {**STILL, **AT_REST}
    if ifng == "on":
        rates["arrested blasts go on"] = f"{release} /day"
    # 1,500 secretors: a blast has 28 of them within four sites on average
    marrow = [cells("blast[phase=g1]", n), cells(SECRETOR, 1500)]
    simulation = mini_patient({"marrow": marrow}, switches={"ifng": ifng}, rates=rates)
    simulation.advance(24.0 * 10)
    return (number(simulation, ARRESTED) - 0.8 * n) / math.sqrt(n * 0.8 * 0.2)


def test_four_blasts_in_five_are_held_back_among_secretors():
    assert abs(held_back(0.5)) < IFNG["arrested"].z
    # negative controls: release 30 % faster; no mechanism
    assert abs(held_back(0.65)) > IFNG["arrested"].z
    assert held_back(0.5, "off") < -IFNG["arrested"].z


def test_interferon_reaches_four_sites():
    marrow = [cells(SECRETOR, 1, place="centre"), cells("blast[phase=g1]", 6000)]
    simulation = mini_patient(
        {"marrow": marrow},
        switches={"ifng": "on", "exhaustion": "off"},  # a single secretor has to stay one
        rates={**STILL, **AT_REST},
    )
    simulation.advance(24.0 * 10)
    agents = simulation.agents(0)
    names = simulation.compiled.species_names

    def places(word: str) -> np.ndarray:
        mine = [i for i, name in enumerate(names) if word in name]
        here = np.isin(agents["species"], mine) & (agents["compartment"] == 0)
        return np.stack([agents[axis][here] for axis in "xyz"], axis=1).astype(int)

    (centre,) = places("status=refractory")
    away = (places("phase=arrested") - centre + SITES // 2) % SITES - SITES // 2
    distance = np.sqrt((away**2).sum(axis=1))
    assert len(distance) > 50
    assert 3.0 < distance.max() <= 4.0


def test_arrest_ends_when_the_signal_does():
    marrow = [cells(ARRESTED, 2000)]
    simulation = mini_patient(
        {"marrow": marrow}, switches={"ifng": "on"}, rates={"blasts die": "0 /day"}
    )
    simulation.advance(24.0 * 20)
    assert number(simulation, ARRESTED) < 5  # 2,000 exp(-10)
    assert events(simulation, "blasts divide") > 1000


def dish(ifng: str) -> Simulation:
    """Three days of killers among blasts."""
    marrow = [
        cells("blast[phase=g1]", 5000),
        cells("cd8[origin=donor,target=allo,status=effector]", 100),
    ]
    rates = {name: rate for name, rate in STILL.items() if name.startswith("effectors")}
    simulation = mini_patient({"marrow": marrow}, switches={"ifng": ifng}, rates=rates)
    simulation.advance(24.0 * 3)
    return simulation


def test_growth_slows_before_counts_fall():
    on, off = dish("on"), dish("off")
    kills = [events(s, "donor CD8 kill leukaemia") for s in (on, off)]
    assert 0.8 < kills[0] / kills[1] < 1.25
    divisions = [events(s, "blasts divide") for s in (on, off)]
    assert divisions[0] < 0.7 * divisions[1]
    assert number(off, ARRESTED) == 0 < number(on, ARRESTED)


def entries(ifng: str, secretors: int) -> int:
    """Neutrophil precursors that enter S within a day."""
    marrow = [
        cells("precursor[phase=g1]", 4000, counters={"divisions_left": 5}),
        cells(SECRETOR, secretors),
    ]
    simulation = mini_patient(
        {"marrow": marrow}, switches={"ifng": ifng, "gvt_t": "off"}, rates=STILL
    )
    simulation.advance(24.0)
    return events(simulation, "late precursors enter S")


def test_host_progenitors_are_slowed_only_where_the_signal_is_high():
    # 28 and 1 secretors within four sites on average
    assert entries("on", 1500) < 0.1 * entries("off", 1500)
    assert entries("on", 50) > 0.8 * entries("off", 50)
