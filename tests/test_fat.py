"""Fat that comes and goes (`fat_dynamics`): it gives way to cells and takes the space they leave."""

from __future__ import annotations

import numpy as np
from mini_patient import SITES, cells, mini_patient, number
from test_ifng import AT_REST

STILL = {**AT_REST, "blasts leave quiescence": "0 /day"}
#: Fifteen in a hundred sites.
HEALTHY = round(0.15 * SITES**3)
#: Cells of a lattice that is as full as healthy marrow.
FULL = 4530


def fat_after(days: float, fat: int, others: int, switch: str = "on") -> float:
    """Share of the healthy amount, among blasts that neither cycle nor die."""
    marrow = [cells("fat", fat), cells("blast[phase=g0]", others)]
    simulation = mini_patient({"marrow": marrow}, switches={"fat_dynamics": switch}, rates=STILL)
    simulation.advance(24.0 * days)
    return number(simulation, "fat") / HEALTHY


def test_fat_gives_way_where_cells_crowd():
    # 1.8 times as many cells as in health, as at diagnosis of leukaemia: 0.05 per day
    assert 0.02 < fat_after(60, HEALTHY, round(1.8 * FULL)) < 0.09
    assert fat_after(60, HEALTHY, round(1.8 * FULL), "off") == 1.0


def test_fat_fills_an_empty_marrow_and_stops():
    some = fat_after(30, round(0.07 * HEALTHY), 100)
    assert 0.5 < some < 1.3
    assert 1.1 < fat_after(60, round(0.07 * HEALTHY), 100) < 1.9


def test_fat_stays_where_the_marrow_is_healthy():
    assert 0.9 < fat_after(60, HEALTHY, FULL) < 1.1
    # and it comes back from either side
    assert fat_after(60, round(0.7 * HEALTHY), FULL) > 0.75
    assert fat_after(60, round(1.3 * HEALTHY), FULL) < 1.27


def test_fat_goes_as_leukaemia_grows():
    marrow = [cells("fat", HEALTHY), cells("blast[phase=g1]", FULL)]
    simulation = mini_patient({"marrow": marrow}, switches={"fat_dynamics": "on"})
    found = [(FULL, HEALTHY)]
    for day in (20, 40, 60):
        simulation.advance(24.0 * day)
        found.append((number(simulation, "blast"), number(simulation, "fat")))
    grown, left = np.array(found, float).T
    assert grown[-1] > 1.4 * FULL
    assert (np.diff(left) < 0).all() and left[-1] < 0.5 * HEALTHY
    # the control is a marrow as full at the start, of cells that do not grow
    assert fat_after(60, HEALTHY, FULL) > 0.9
