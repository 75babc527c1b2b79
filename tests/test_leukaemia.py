"""What blasts are beside their cycle: how visible they are, and who among them can go on for ever."""

from __future__ import annotations

import json

from mini_patient import cells, events, mini_patient, number
from test_ifng import AT_REST, SECRETOR, STILL

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario import load_scenario_text

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
