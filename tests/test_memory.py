"""Memory of alloreactive T cells (switch ``memory``): formed where antigen is gone, recalled where it is."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from infused import infused
from mini_patient import cells, events, mini_patient, number
from thresholds import MEMORY, SECOND_GRAFT

from mst_abm.model.species import Species
from mst_abm.runs.simulation import Simulation

#: Effectors that only end.
STILL = {
    f"effectors leave {place}": "0 /day"
    for place in ("the blood", "lymphoid tissue", "the marrow", "other tissue")
}
#: Present antigen of each side.
ANTIGEN = {"host": "apc[origin=donor,antigen=donor]", "donor": "apc[origin=host,antigen=self]"}


def formed(kind: str, origin: str, share: float, *, antigen: bool = False) -> tuple[float, int]:
    """Z of the memory left by effectors that end, against one in twenty; and those exhausted instead."""
    n = MEMORY["formed"].n
    rates = {**STILL, f"{origin} effectors become memory": f"{0.5 * share / (1 - share)} /day"}
    if origin == "host":
        rates |= {f"host memory {kind.upper()} regrow": "0 /day"}
    else:
        # memory that is formed stays: what is recalled beside antigen is another test
        rates |= {"resting donor T cells die": "0 /day", "donor memory is recalled": "0 /day"}
    lymphoid = [cells(f"{kind}[origin={origin},target=allo,status=effector]", n)]
    if antigen:
        lymphoid += [cells(ANTIGEN[origin], 4000)]
    simulation = mini_patient(
        {"lymphoid": lymphoid},
        switches={"hvg_t": "off", "gvt_t": "off", "hvg_nk": "off"},
        rates=rates,
        # donor cells alone are antigen to a host; here there is no host but for its antigen
        more={
            "signals.host_antigen_share.initial": 1.0 if antigen else 0.0,
            "signals.donor_presence.initial": 0.0,
        },
    )
    simulation.advance(24.0 * 40)
    memory = number(simulation, f"{kind}[status=memory]")
    exhausted = sum(
        events(simulation, rule)
        for rule in (f"{origin} effectors outlive their use", "T cells are exhausted by antigen")
    )
    return (memory - 0.05 * n) / math.sqrt(n * 0.05 * 0.95), exhausted


@pytest.mark.parametrize(("kind", "origin"), [("cd8", "host"), ("cd4", "donor"), ("cd8", "donor")])
def test_one_effector_in_twenty_becomes_memory(kind: str, origin: str):
    z, exhausted = formed(kind, origin, 0.05)
    assert abs(z) < MEMORY["formed"].z
    assert exhausted == 0
    # negative control: a quarter more
    assert formed(kind, origin, 0.0625)[0] > MEMORY["formed"].z


@pytest.mark.parametrize(
    ("kind", "origin"), [("cd4", "host"), ("cd8", "host"), ("cd4", "donor"), ("cd8", "donor")]
)
def test_where_antigen_persists_they_are_exhausted_instead(kind: str, origin: str):
    """None becomes memory of the host; of the donor one in 63, for all of the cells that show antigen are the host's."""
    z, exhausted = formed(kind, origin, 0.05, antigen=True)
    n = MEMORY["formed"].n
    memory = 0.05 * n + z * math.sqrt(n * 0.05 * 0.95)
    assert memory == pytest.approx(0) if origin == "host" else memory < 0.005 * n
    assert abs(exhausted - 0.05 * n) < 6 * math.sqrt(0.05 * n)


def woken(antigen: int, memory: str = "on") -> int:
    """Memory cells of the host that divide again within three days."""
    simulation = mini_patient(
        {
            "lymphoid": [
                cells("cd8[origin=host,target=allo,status=memory]", 400, switch="memory"),
                cells(ANTIGEN["host"], antigen),
                cells("apc[origin=host,antigen=self]", 4000),
            ]
        },
        switches={"memory": memory},
    )
    simulation.advance(24.0 * 3)
    return events(simulation, "host memory is recalled") if memory == "on" else 0


def test_memory_sleeps_until_antigen_is_back():
    assert woken(0) == 0
    assert woken(2000) > 200


def recalled_of_the_donor(rate: float, antigen: str) -> float:
    """Z of donor memory recalled in two days, against 0.15 per day."""
    n = MEMORY["recalled"].n
    simulation = mini_patient(
        {"lymphoid": [cells("cd8[origin=donor,target=allo,status=memory]", n), cells(antigen, 4000)]},
        switches={"hvg_t": "off", "hvg_nk": "off"},
        rates={
            "donor memory is recalled": f"{rate} /day",
            "resting T cells leave lymphoid tissue": "0 /day",
            "resting donor T cells die": "0 /day",
        },
        more={"signals.host_antigen_share.initial": 1.0 if antigen == ANTIGEN["donor"] else 0.0},
    )  # fmt: skip
    simulation.advance("2 d")
    p = -math.expm1(-0.15 / 1.016 * 2)
    return (events(simulation, "donor memory is recalled") - n * p) / math.sqrt(n * p * (1 - p))


def test_memory_of_the_donor_is_recalled_slowly():
    limit, n = MEMORY["recalled"].z, MEMORY["recalled"].n
    assert abs(recalled_of_the_donor(0.15, ANTIGEN["donor"])) < limit
    # negative controls: a quarter faster; nothing of the host's to be recalled by
    assert recalled_of_the_donor(0.1875, ANTIGEN["donor"]) > limit
    assert recalled_of_the_donor(0.15, ANTIGEN["host"]) < -0.4 * math.sqrt(n)


def test_recall_does_not_feed_on_itself():
    """Antigen that nobody can remove: memory goes, and none is formed beside antigen."""
    lymphoid = [
        cells("cd8[origin=host,target=allo,status=memory]", 1000),
        cells(ANTIGEN["host"], 3000),
        cells("apc[origin=host,antigen=self]", 3000),
    ]
    simulation = mini_patient(
        {"lymphoid": lymphoid},
        switches={"hvg_nk": "off"},
        rates={
            "host CD8 reject donor cells in lymphoid tissue": "0 /h",
            "host CD8 reject donor cells in marrow and tissue": "0 /h",
            "host memory CD8 regrow": "0 /day",
        },
    )
    simulation.advance(24.0 * 60)
    assert events(simulation, "host memory is recalled") > 950
    assert events(simulation, "host effectors become memory") == 0
    assert number(simulation, "cd8[origin=host,target=allo,status=memory]") < 50
    assert number(simulation, "cd8[origin=host]") < 1000


@cache
def rejected(memory: str) -> tuple[float, float]:
    """Days until one donor T cell in a hundred is left of the first and of the second graft, four weeks apart."""
    scenario = infused(
        "protocol=[{at: 0 h, infuse: donor}, {at: 28 d, infuse: donor}]",
        "run.until=42 d",
        f"switches.memory={memory}",
    )
    simulation = Simulation(scenario, replicates=SECOND_GRAFT.replicates, seed=1)
    compiled = simulation.compiled
    mine = [s.type in ("cd8", "cd4") and ("origin", "donor") in s.values for s in compiled.species]
    share = {c.name: c.share for c in compiled.model.compartments}
    times = np.arange(0, 42 * 24, 6.0)
    numbers = []
    for time_h in times:
        simulation.advance(time_h)
        numbers.append(
            sum(
                c[:, mine].sum(axis=1).mean() / share[name] for name, c in simulation.counts.items()
            )
        )
    return tuple(_gone(times / 24.0, np.array(numbers), start) for start in (0.0, 28.0))  # type: ignore[return-value]


def _gone(days: np.ndarray, cells: np.ndarray, start: float) -> float:
    after = (days >= start) & (days < start + 14)
    t, n = days[after] - start, cells[after]
    below = np.flatnonzero(n < 0.01 * n[0])
    if not len(below):
        return math.inf
    i = below[0]
    a, b = np.log(n[i - 1] + 1), np.log(n[i] + 1)
    return float(t[i - 1] + (a - math.log(0.01 * n[0])) / (a - b) * (t[i] - t[i - 1]))


def test_a_second_graft_is_rejected_a_little_sooner():
    first, second = rejected("on")
    assert 4.0 < first < 8.0
    assert SECOND_GRAFT.least < first - second < SECOND_GRAFT.most


def test_without_memory_a_second_graft_meets_nobody():
    """Negative control: the precursors were spent on the first graft."""
    first, second = rejected("off")
    assert first == pytest.approx(rejected("on")[0], abs=0.5)
    assert second > first + 3.0


def test_off_there_is_no_memory():
    compiled = Simulation(infused("switches.memory=off")).compiled
    assert not any("memory" in name for name in compiled.species_names)
    values = (("origin", "host"), ("target", "allo"), ("status", "memory"))
    assert Species("cd8", values) in Simulation(infused()).compiled.species


def recalled_in_half_a_day(*, regulators: int = 0, drug: bool = False) -> int:
    """Of 2,000 memory CD8 beside plenty of antigen."""
    simulation = mini_patient(
        {
            "lymphoid": [
                cells("cd8[origin=host,target=allo,status=memory]", 2000),
                cells("treg[origin=host]", regulators, switch="treg"),
                cells(ANTIGEN["host"], 4000),
            ]
        },
        switches={"treg": "on" if regulators else "off", "hvg_nk": "off"},
        rates={"resting T cells leave lymphoid tissue": "0 /day"},
        patient={"weight": "62 kg", "height": "165 cm"},
        protocol=[{"at": "0 h", "give": "calcineurin_inhibitor", "dose": "3 mg/kg"}] if drug else [],
    )  # fmt: skip
    simulation.advance("12 h")
    return events(simulation, "host memory is recalled")


def test_regulatory_cells_and_calcineurin_inhibitors_hold_back_recall():
    free = recalled_in_half_a_day()
    assert free > 800  # 1.5 a day
    assert 0.4 * free < recalled_in_half_a_day(regulators=600) < 0.65 * free
    assert recalled_in_half_a_day(drug=True) < 0.25 * free
