"""Observables of `accuracy`: exact mode gives their references, others come as near as they claim.

A usual run takes a few replicates of each, in every mode, and sees an error of 8 standard errors; in full,
4.89 standard errors are the tolerance. Seeds are not those of the references.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from accuracy import (
    ACCURACY,
    Accuracy,
    active_time,
    evenness,
    front,
    measure,
    tried_time,
    turnover,
    walkers,
)
from thresholds import EVENNESS, FIFTY, ONE, TRUTHS
from worlds import MODES, Options

pytestmark = pytest.mark.proof

SEED = 900_001
FEW, FEW_PACE = 4, 1.2


def distance(values: np.ndarray, case: Accuracy) -> float:
    """Z of the mean, with the reference's own error."""
    error = math.hypot(case.sd / math.sqrt(len(values)), case.error)
    return float((values.mean() - case.reference) / error)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ACCURACY)
def test_reference(name: str, mode: str) -> None:
    """Z of a few replicates; a mode that is not exact may add its tolerance."""
    case = ACCURACY[name]
    values = measure(case, MODES[mode], seed=SEED, replicates=FEW)
    spare = case.tolerance * case.reference * math.sqrt(FEW) / case.sd
    allowed = ONE + (0.0 if mode == "exact" else spare)
    assert abs(distance(values, case)) < allowed, values.mean()


@pytest.mark.parametrize("name", ACCURACY)
def test_control(name: str) -> None:
    """Negative control: a clock a fifth too fast."""
    case = ACCURACY[name]
    values = measure(case, {}, seed=SEED, replicates=FEW, pace=FEW_PACE)
    assert abs(distance(values, case)) > ONE, values.mean()


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ACCURACY)
def test_tolerance(name: str, mode: str) -> None:
    """As near as claimed, and a clock wrong by ``pace`` is not."""
    case = ACCURACY[name]
    values = measure(case, MODES[mode], seed=SEED, replicates=case.needed)
    assert abs(values.mean() / case.reference - 1.0) < case.tolerance, values.mean()
    if mode == "exact":
        assert abs(distance(values, case)) < ONE, values.mean()
    wrong = measure(case, MODES[mode], seed=SEED, replicates=case.needed, pace=1.0 + case.pace)
    assert abs(wrong.mean() / case.reference - 1.0) > case.tolerance, wrong.mean()


@pytest.mark.verify
def test_error_falls_with_the_window() -> None:
    """Small tiles and the most sensitive observable; the longest window is the negative control."""
    case = ACCURACY["kills of moving targets"]
    errors = []
    for window in ("90 min", "30 min", "5 min"):
        options = {"mode": "tiled", "tile": 8, "window": window}
        values = measure(case, options, seed=SEED, replicates=100)
        errors.append(abs(values.mean() / case.reference - 1.0))
    assert errors[0] > 2.0 * errors[1] > 2.0 * errors[2], errors
    assert errors[2] < case.tolerance < errors[0], errors


@pytest.mark.parametrize("mode", MODES)
def test_two_clocks_agree(mode: str) -> None:
    """Active time from ticks and, where every attempt is counted, from attempts."""
    sim = walkers(MODES[mode], seed=SEED, replicates=FEW)
    attempts = tried_time(sim)[0]
    spread = ACCURACY["active time"].sd / math.sqrt(FEW)
    assert abs(active_time(sim).mean() - 1.0) < ONE * spread + ACCURACY["active time"].tolerance
    if mode == "exact":
        assert abs(attempts - 1.0) < ONE * spread


def unevenness(values: np.ndarray) -> tuple[float, float]:
    """Largest departure from an even density, and largest |Z|."""
    off = values.mean(axis=0) - 1.0
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return float(np.abs(off).max()), float(np.abs(off / error).max())


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
def test_density_is_even(mode: str) -> None:
    """By layer from the tile's edge and by colour, flat within 1 %; windows that are too long are not."""
    values = np.concatenate(
        [
            evenness(turnover(MODES[mode], seed=SEED + i, replicates=10))
            for i in range(0, EVENNESS.n, 10)
        ]
    )
    largest, score = unevenness(values)
    assert largest < EVENNESS.error / 2.0, values.mean(axis=0)
    if mode == "exact":
        assert score < FIFTY, values.mean(axis=0)
    # negative control: windows of ten tries are too long, and the outermost layers show it
    long = {"mode": "tiled", "tile": 16, "window": "20 min"}
    uneven = evenness(turnover(long, seed=SEED, replicates=10))
    assert unevenness(uneven)[0] > EVENNESS.error, uneven.mean(axis=0)


def compare_fronts(mode: Options, n: int, pace: float) -> float:
    """Z between the front of a mode and that of exact mode with other seeds."""
    case = ACCURACY["front"]
    a = measure(case, mode, seed=SEED, replicates=n, pace=pace)
    b = measure(case, {}, seed=2 * SEED, replicates=n)
    return float((a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / n))


@pytest.mark.parametrize("mode", MODES)
def test_fronts_agree(mode: str) -> None:
    size = TRUTHS["fronts agree"]
    assert abs(compare_fronts(MODES[mode], size.ci, 1.0)) < size.z
    assert abs(compare_fronts(MODES[mode], size.ci, 1.0 + size.ci_error)) > size.z


@pytest.mark.verify
@pytest.mark.parametrize("mode", MODES)
def test_fronts_agree_in_full(mode: str) -> None:
    size = TRUTHS["fronts agree"]
    assert abs(compare_fronts(MODES[mode], size.n, 1.0)) < size.z
    assert abs(compare_fronts(MODES[mode], size.n, 1.0 + size.error)) > size.z


def test_fronts_reach_no_wall() -> None:
    """The observable counts rows won, so the strip must be long enough."""
    sim = front({}, seed=SEED)
    rows = np.flatnonzero(sim.agents()["y"] == 255)
    assert len(rows) == 0
