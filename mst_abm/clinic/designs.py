"""Designs of many points from well-kept libraries, and what their outcomes say of each parameter.

Everything here is on the unit cube: a point is a share for each parameter, and what a share means is said elsewhere.
Indices are those of SALib with its intervals; ranks and contrasts have the percentile bootstrap of scipy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mst_abm.clinic.intervals import (
    BOOTSTRAP_SEED,
    LEVEL,
    RESAMPLES,
    bootstrap_interval,
    mean_interval,
)
from mst_abm.extras import needs

GRID, HYPERCUBE, SOBOL, MORRIS, ATTRIBUTION = (
    "grid", "latin hypercube", "sobol", "morris", "attribution",
)  # fmt: skip


@dataclass(frozen=True)
class Index:
    """What one parameter, or a pair, does to an outcome, with its 95 % interval, nan where there is none; ``n``: points or patients."""

    of: str
    index: str
    value: float
    low: float
    high: float
    n: int


def unit_points(method: str, n_axes: int, size: int, levels: int, seed: int) -> np.ndarray:
    """Points of a drawn design: float64 (point, axis) from 0 to 1, the same for the same seed.

    Raises
    ------
    MissingPackageError
        If the method is one of SALib, and that is not there.
    """
    draw = np.random.default_rng(seed)
    if method == HYPERCUBE:
        from scipy.stats import qmc

        return np.asarray(qmc.LatinHypercube(n_axes, rng=draw).random(size))
    problem = _problem([str(i) for i in range(n_axes)])
    if method == SOBOL:
        sample = needs("SALib.sample.sobol", "designs", method).sample
        points = sample(problem, size, calc_second_order=False, seed=draw)
    else:
        sample = needs("SALib.sample.morris", "designs", method).sample
        points = sample(problem, size, num_levels=levels, seed=draw)
    return np.asarray(points, float)


def indices(
    method: str, names: Sequence[str], points: np.ndarray, values: np.ndarray, levels: int
) -> list[Index]:
    """What each parameter does to ``values`` (point,); nothing where they do not vary or a point has none."""
    if len(values) < 3 or not np.isfinite(values).all() or np.ptp(values) == 0.0:
        return []
    if method == HYPERCUBE:
        return [_rank_correlation(name, points[:, i], values) for i, name in enumerate(names)]
    if method == SOBOL:
        return _sobol(names, values)
    return _morris(names, points, values, levels)


def subsets(switches: Sequence[str]) -> list[tuple[str, frozenset[str]]]:
    """What attribution runs: the name of each point and the switches that are off there; each set once."""
    everything = frozenset(switches)
    found: dict[frozenset[str], str] = {frozenset(): "all", everything: "none"}
    for name in switches:
        found.setdefault(frozenset([name]), f"without {name}")
    for name in switches:
        found.setdefault(everything - {name}, f"{name} alone")
    for pair in combinations(switches, 2):
        found.setdefault(frozenset(pair), f"without {pair[0]}, {pair[1]}")
    return [(name, off) for off, name in found.items()]


def contrasts(switches: Sequence[str], values: np.ndarray) -> list[Index]:
    """What each mechanism does, from ``values`` (point, patient) in the order of `subsets`.

    ``out``: with all of them less without it. ``alone``: with it alone less without any. ``pair``: how much more two do
    together than each beside the other, what is lost with both less what is lost with each. Means over patients, paired.
    """
    at = {off: values[i] for i, (_, off) in enumerate(subsets(switches))}
    full, none = at[frozenset()], at[frozenset(switches)]
    rows = []
    with np.errstate(invalid="ignore"):
        for name in switches:
            rows.append((name, "out", full - at[frozenset([name])]))
            rows.append((name, "alone", at[frozenset(switches) - {name}] - none))
        for one, other in combinations(switches, 2):
            both = at[frozenset([one, other])]
            apart = at[frozenset([one])] + at[frozenset([other])] - both - full
            rows.append((f"{one}, {other}", "pair", apart))
    return _contrasts_of(rows)


def differences_from_first(names: Sequence[str], values: np.ndarray) -> list[Index]:
    """Every point less the first, from paired ``values`` (point, run): means over runs that both have."""
    rows = zip(names[1:], values[1:], strict=True)
    with np.errstate(invalid="ignore"):
        return _contrasts_of((name, "less the first", row - values[0]) for name, row in rows)


def _contrasts_of(rows: Iterable[tuple[str, str, np.ndarray]]) -> list[Index]:
    """Means of differences (run,) that any run has."""
    found = (_contrast(*row) for row in rows)
    return [index for index in found if index.n]


def _contrast(name: str, index: str, apart: np.ndarray) -> Index:
    known = apart[np.isfinite(apart)]  # infinite less infinite is not a number either
    mean = float(known.mean()) if len(known) else np.nan
    return Index(name, index, mean, *mean_interval(known), len(known))


def _problem(names: Sequence[str]) -> dict[str, Any]:
    return {"num_vars": len(names), "names": list(names), "bounds": [[0.0, 1.0]] * len(names)}


def _sobol(names: Sequence[str], values: np.ndarray) -> list[Index]:
    found = needs("SALib.analyze.sobol", "designs", SOBOL).analyze(
        _problem(names), values, calc_second_order=False, num_resamples=RESAMPLES // 4,
        conf_level=LEVEL, seed=BOOTSTRAP_SEED,
    )  # fmt: skip
    rows = []
    for i, name in enumerate(names):
        for key, index in (("S1", "first order"), ("ST", "total")):
            value, half = float(found[key][i]), float(found[f"{key}_conf"][i])
            rows.append(Index(name, index, value, value - half, value + half, len(values)))
    return rows


def _morris(
    names: Sequence[str], points: np.ndarray, values: np.ndarray, levels: int
) -> list[Index]:
    found = needs("SALib.analyze.morris", "designs", MORRIS).analyze(
        _problem(names), points, values, num_resamples=RESAMPLES // 4, conf_level=LEVEL,
        num_levels=levels, seed=BOOTSTRAP_SEED,
    )  # fmt: skip
    rows = []
    for i, name in enumerate(names):
        value, half = float(found["mu_star"][i]), float(found["mu_star_conf"][i])
        n = len(values)
        rows.append(Index(name, "mu*", value, value - half, value + half, n))
        for key in ("mu", "sigma"):
            rows.append(Index(name, key, float(found[key][i]), np.nan, np.nan, n))
    return rows


def _rank_correlation(name: str, shares: np.ndarray, values: np.ndarray) -> Index:
    """Spearman's, with the interval of the percentile bootstrap over points."""
    from scipy.stats import rankdata

    def of_ranks(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        a, b = (rankdata(v, axis=axis) for v in (x, y))
        a, b = (v - v.mean(axis=axis, keepdims=True) for v in (a, b))
        with np.errstate(invalid="ignore", divide="ignore"):
            squares = (a * a).sum(axis=axis) * (b * b).sum(axis=axis)
            return np.asarray((a * b).sum(axis=axis) / np.sqrt(squares))

    bounds = bootstrap_interval(
        (shares, values), of_ranks, RESAMPLES // 4, paired=True, vectorized=True
    )
    value = float(of_ranks(shares, values))
    return Index(name, "rank correlation", value, *bounds, len(values))
