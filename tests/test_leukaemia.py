"""What blasts are beside their cycle: how visible they are, and who among them can go on for ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mini_patient import cells, events, mini_patient, number
from test_ifng import AT_REST, SECRETOR, STILL
from thresholds import CLONOGENIC

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario, load_scenario_text

CONFIGS = Path(__file__).parent.parent / "configs"

LOW = "blast[class_i=low]"


def split_blasts(low: object, **patient: object) -> Simulation:
    """A lattice of blasts, of which a share has little class I."""
    blasts = {"cells": "blast[phase=g1]", "number": 4000, "split": {"class_i": {"low": low}}}
    document = {
        "model": "marrow",
        "override": {"compartments.marrow.patches": 1},
        "patient": {"weight": "60 kg", "height": "165 cm", **patient},
        "initial": {"marrow": [blasts]},
    }
    return Simulation(load_scenario_text(json.dumps(document)), seed=1)


def test_a_share_of_the_blasts_starts_with_little_class_i():
    # of 4,000 cells 1,600, rounded at random in each patch
    assert abs(number(split_blasts(0.4), LOW) - 1600) <= 1
    by_name = split_blasts("rare", disease={"rare": 0.1})
    assert abs(number(by_name, LOW) - 400) <= 1
    assert abs(number(by_name, "blast") - 4000) <= 1


def test_without_such_a_share_the_species_do_not_exist():
    assert "blast[phase=g1, class_i=low]" in split_blasts(0.4).compiled.species_names
    assert not any("class_i" in name for name in split_blasts(0).compiled.species_names)


def after_ten_days(ifng: str, secretors: int) -> Simulation:
    """2,000 blasts with little class I, dividing, among cells that release interferon-gamma."""
    marrow = [cells("blast[phase=g1,class_i=low]", 2000), cells(SECRETOR, secretors)]
    simulation = mini_patient(
        {"marrow": marrow},
        switches={"ifng": ifng, "gvt_t": "off"},
        rates={**STILL, "blasts die": "0 /day"},
    )
    simulation.advance(24.0 * 10)
    return simulation


def test_daughters_are_as_visible_as_their_mothers_and_interferon_raises_them():
    inherited, raised = after_ten_days("off", 1500), after_ten_days("on", 1500)
    assert events(inherited, "blasts divide") > 1000
    assert number(inherited, "blast") == number(inherited, LOW) > 3000
    # the control: among secretors (28 within four sites on average) none is left after ten days
    assert number(raised, LOW) < 0.01 * number(raised, "blast")


def test_interferon_raises_class_i_within_a_day_and_four_sites():
    marrow = [cells(SECRETOR, 1, place="centre"), cells("blast[phase=g0,class_i=low]", 6000)]
    simulation = mini_patient(
        {"marrow": marrow},
        switches={"ifng": "on", "gvt_t": "off"},
        rates={**STILL, **AT_REST, "blasts leave quiescence": "0 /day"},
    )
    simulation.advance(24.0)
    seen = number(simulation, "blast[class_i=normal]")
    # 257 sites of 13,824 lie within four sites: 108 blasts, of which 1 - exp(-1) see it in a day
    near = 6000 * 250 / 13000
    assert 0.4 * near < seen < 0.9 * near
    simulation.advance(24.0 * 10)
    assert 0.8 * near < number(simulation, "blast[class_i=normal]") < 1.3 * near


#: Rates per day of the shipped rules: G1, each third of S, G2 with M, leaving quiescence, death of bulk and of clonogenic blasts.
CYCLE = {"g1": 0.035714 * 24, "s_early": 6.0, "s_mid": 6.0, "s_late": 6.0, "g2m": 3.0}
AWAKE, LOSS, CLONOGENIC_LOSS, RENEWAL = 0.56, 0.223, 0.113, 0.9
GROWTH = np.log(2.0) / 12.0
#: Doublings of amplifying blasts in tests, instead of 24, and divisions of the bulk.
DOUBLINGS, DIVISIONS = 4, 6


def generation(into_g0: float, into_g1: float, loss: float) -> tuple[dict[str, float], float]:
    """Cells by phase of one generation while all grows as GROWTH, and its divisions per day."""
    found = {"g0": into_g0 / (AWAKE + loss + GROWTH)}
    flow = into_g1 + AWAKE * found["g0"]
    for phase, rate in CYCLE.items():
        found[phase] = flow / (rate + loss + GROWTH)
        flow = rate * found[phase]
    return found, flow


def leukaemia(doublings: int = DOUBLINGS) -> list[tuple[str, int, int, float]]:
    """Stationary order of a growing leukaemia: (phase and potency, divisions, doublings left, weight)."""
    # one division of clonogenic cells per day; 2 RENEWAL daughters go on as such
    clonogenic, _ = generation(2 * RENEWAL, 0.0, CLONOGENIC_LOSS)
    rows = [
        (f"{phase},potency=clonogenic", DIVISIONS, doublings, n) for phase, n in clonogenic.items()
    ]
    flow = 2 * (1 - RENEWAL)
    for left in range(doublings, 0, -1):
        cells_, divisions = generation(0.0, flow, 0.0)
        potency = "early" if left > 8 or left == doublings else "amplifying"
        rows += [(f"{phase},potency={potency}", DIVISIONS, left, n) for phase, n in cells_.items()]
        flow = 2 * divisions
    for left in range(DIVISIONS, 0, -1):
        cells_, divisions = generation(flow / 2, flow / 2, LOSS)
        rows += [(phase, left, 0, n) for phase, n in cells_.items()]
        flow = 2 * divisions
    rows += [(phase, 0, 0, flow / 2 / (LOSS + GROWTH)) for phase in ("g0", "g1")]
    return [row for row in rows if row[3] > 0]


def grown(
    replicates: int, *, potency: str = "", switch: str = "on", faster: float = 1.0
) -> Simulation:
    """500 blasts in each of some bodies; ``potency``: without those of it."""
    rows = [row for row in leukaemia() if not potency or potency not in row[0]]
    scale = 500 / sum(row[3] for row in leukaemia())
    marrow = [
        {
            "cells": f"blast[phase={what}]",
            # a density, so that bodies round it independently
            "density": f"{scale * weight / (24**3 * 512e-9)} /mm^3",
            "counters": {"divisions_left": divisions, "doublings_left": doublings},
        }
        for what, divisions, doublings, weight in rows
    ]
    rates = {} if switch == "off" else {"clonogenic blasts die": f"{CLONOGENIC_LOSS * faster} /day"}
    simulation = mini_patient(
        {"marrow": marrow},
        switches={"clonogenic": switch},
        rates=rates,
        run={"until": "150 d", "exchange": "1 h"},
    )
    return Simulation(simulation.scenario, replicates=replicates, seed=3)


def blasts(simulation: Simulation, potency: str = "") -> np.ndarray:
    """Blasts of one potency, or all, in each body."""
    mine = [
        s.type == "blast" and potency in (*dict(s.values).values(), "")
        for s in simulation.compiled.species
    ]
    return simulation.counts["marrow"][:, mine].sum(axis=1).astype(float)


def growth_z(faster: float) -> np.ndarray:
    """Z of the numbers after 24 d, two doublings, against four times the first ones."""
    simulation = grown(CLONOGENIC["growth"].n, faster=faster)
    kinds = ("clonogenic", "early", "amplifying", "bulk")
    before = [blasts(simulation, kind) for kind in kinds]
    simulation.advance(24.0 * 24)
    after = [blasts(simulation, kind) for kind in kinds]
    change = [b - 4.0 * a for a, b in zip(before, after, strict=True)]
    return np.array([c.mean() / (c.std(ddof=1) / np.sqrt(len(c))) for c in change])


def test_leukaemia_with_clonogenic_cells_grows_in_its_stationary_order():
    z = growth_z(1.0)
    assert (np.abs(z) < CLONOGENIC["growth"].z).all(), z
    # negative control: clonogenic cells die faster
    assert growth_z(1.0 + CLONOGENIC["growth"].error)[0] < -CLONOGENIC["growth"].z


def test_without_clonogenic_cells_leukaemia_dies_out():
    alone = grown(4, potency="clonogenic")
    alone.advance(24.0 * 150)
    assert (blasts(alone) == 0).all()
    # negative controls: with them it goes on, and so does a bulk without limit
    for lasting in (grown(4), grown(4, potency="clonogenic", switch="off")):
        lasting.advance(24.0 * 60)
        assert (blasts(lasting) > 1000).all()


def test_24_doublings_put_a_million_blasts_on_one_clonogenic_cell():
    def share(doublings: int) -> float:
        rows = leukaemia(doublings)
        mine = [row[3] for row in rows if "clonogenic" in row[0]]
        return sum(mine) / sum(row[3] for row in rows)

    assert 0.7e-6 < share(24) < 1.5e-6
    # the control: two doublings more or less are seen
    assert not 0.7e-6 < share(22) < 1.5e-6
    assert not 0.7e-6 < share(26) < 1.5e-6


@pytest.mark.parametrize("config", ["quickstart", "chemo_elderly_aml", "mst_elderly_aml"])
def test_as_many_blasts_at_diagnosis_with_clonogenic_cells_as_without(config: str):
    numbers = []
    for switch in ("off", "on"):
        overrides = [f"switches.clonogenic={switch}"]
        scenario = load_scenario(CONFIGS / f"{config}.yaml", overrides=overrides)
        numbers.append(blasts(Simulation(scenario, seed=1)).sum())
    assert abs(numbers[1] / numbers[0] - 1.0) < 1e-3


def test_founders_are_a_number_of_the_body_where_patches_are_small():
    def founders(residual: str) -> tuple[float, float]:
        switches = ("switches.clonogenic=on", f"switches.residual={residual}")
        scenario = load_scenario(CONFIGS / "quickstart.yaml", overrides=switches)
        simulation = Simulation(scenario, seed=1)
        simulation.advance(24.0)
        mine = [
            bool({"early", "clonogenic"} & set(dict(s.values).values()))
            for s in simulation.compiled.species
        ]
        held = simulation.reservoirs.numbers["marrow"][0, mine].sum() if residual == "on" else 0
        return float(simulation.counts["marrow"][0, mine].sum()), float(held)

    in_patches, in_body = founders("on")
    # 1,280 in a cubic millimetre, before a day of chemotherapy
    assert in_patches == 0
    assert 0.2e9 < in_body < 1.5e9
    # the control: without a reservoir they are agents of the patches
    assert founders("off")[0] > 20
