"""The T-cell module alone: one response to antigen that it clears, against what is measured of acute responses."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from mini_patient import cells, mini_patient, number

DAYS = np.arange(0.0, 40.1, 0.25)
CLONE = "cd8[origin=host,target=allo"


@cache
def course(
    antigen: int = 1000, contraction: str = "0.5 /day", doubling: str = "0.10193 /h"
) -> dict[str, np.ndarray]:
    """Ten precursors (1e7 in the body) meet antigen-presenting cells that only they can clear; no memory regrowth."""
    simulation = mini_patient(
        {
            "lymphoid": [
                cells(f"{CLONE},status=resting]", 10),
                cells("apc[origin=donor,antigen=donor]", antigen),
                cells("apc[origin=host,antigen=self]", 4000),
            ]
        },
        switches={"hvg_nk": "off"},
        rates={
            "host memory CD8 regrow": "0 /day",
            "host CD8 regrow": "0 /day",
            "effectors contract": contraction,
            "host CD8 divide as programmed": doubling,
            "host CD8 divide with help": doubling,
        },
        seed=2,
    )
    seen: dict[str, list[int]] = {"active": [], "dividing": [], "memory": [], "antigen": []}
    active = "status=activated|primed|dividing|effector|refractory|exhausted]"
    for day in DAYS:
        simulation.advance(24.0 * day)
        seen["active"].append(number(simulation, f"{CLONE},{active}"))
        seen["dividing"].append(number(simulation, f"{CLONE},status=dividing]"))
        seen["memory"].append(number(simulation, f"{CLONE},status=memory]"))
        seen["antigen"].append(number(simulation, "apc[origin=donor]"))
    return {name: np.array(numbers) for name, numbers in seen.items()}


def doubling_h(seen: dict[str, np.ndarray]) -> float:
    """Hours in which the clone doubles, between thirty and three hundred cells."""
    inside = (seen["active"] > 30) & (seen["active"] < 300) & (DAYS < 8)
    slope = np.polyfit(DAYS[inside] * 24.0, np.log2(seen["active"][inside]), 1)[0]
    return 1.0 / slope


def test_rise_peak_and_contraction():
    seen = course()
    peak = seen["active"].argmax()
    assert (seen["active"][DAYS < 1] <= 10).all()  # nobody divides on the first day
    # measured across epitopes: 5.5-16.7 h
    assert 5.5 < doubling_h(seen) < 16.7
    assert 6.0 <= DAYS[peak] <= 9.0  # days 7 to 8
    assert seen["active"][peak] > 50 * 10
    # antigen is cleared, and 90 to 95 % and more of the peak are gone within a fortnight of it
    assert seen["antigen"][DAYS == 10] == 0
    assert seen["active"][DAYS[peak] + 14 == DAYS][0] < 0.1 * seen["active"][peak]


def test_a_twentieth_or_so_of_the_peak_becomes_memory():
    seen = course()
    assert 0.03 < seen["memory"][-1] / seen["active"].max() < 0.15


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"antigen": 0}, "rise"),
        ({"contraction": "0.05 /day"}, "contraction"),
        ({"doubling": "0.03 /h"}, "doubling"),
    ],
)
def test_negative_controls(wrong: dict, what: str):
    seen = course(**wrong)
    peak = seen["active"].argmax()
    if what == "rise":
        assert seen["active"].max() == seen["memory"].max() == 0
    elif what == "contraction":
        after = min(DAYS[peak] + 14, 40.0) == DAYS
        assert seen["active"][after][0] > 0.1 * seen["active"][peak]
    else:
        assert doubling_h(seen) > 16.7
