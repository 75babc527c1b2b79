"""What befalls patients, from series of observables: how likely it was, and whether and when it came.

Both kinds of hazard are a burden that only grows and a patient who can bear so much of it. Of a
rate the burden is its integral, and what can be borne is exponential with mean 1; of an exposure it
is the exposure, and what can be borne is lognormal. So one uniform number for each patient and hazard
decides, the same in every arm of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np

from mst_abm.model.definition import Hazard
from mst_abm.model.laws import evaluate


@dataclass(frozen=True)
class Fate:
    """What one hazard did to the patients; arrays by replicate, ``burden`` also by sample.

    ``bearable``: of the burden; ``at_h``: when it befell them, not a number: it did not.
    """

    hazard: Hazard
    burden: np.ndarray
    bearable: np.ndarray
    at_h: np.ndarray


def befall(
    hazards: Iterable[Hazard],
    times_h: np.ndarray,
    series: Mapping[str, np.ndarray],
    uniforms: Callable[[str], np.ndarray],
    *,
    ends_at_death: bool = False,
) -> dict[str, Fate]:
    """What befell patients with these series (replicate, sample), by name of the hazard.

    ``uniforms``: numbers in (0, 1) for the replicates, by name. The dead are befallen by nothing; their
    burden grows on with the cells that are simulated, unless these were not followed any longer (``ends_at_death``).
    """
    fates: dict[str, Fate] = {}
    for hazard in hazards:
        burden = burden_of(hazard, times_h, series)
        bearable = bearable_of(hazard, uniforms(hazard.name))
        fates[hazard.name] = Fate(hazard, burden, bearable, crossing(times_h, burden, bearable))
    fatal = [fate.at_h for fate in fates.values() if fate.hazard.is_fatal]
    if not fatal:
        return fates
    death_h = np.fmin.reduce(fatal)
    fates = {
        name: replace(fate, at_h=np.where(fate.at_h > death_h, np.nan, fate.at_h))
        for name, fate in fates.items()
    }
    if not ends_at_death:
        return fates
    return {
        name: replace(fate, burden=_until(times_h, fate.burden, death_h))
        for name, fate in fates.items()
    }


def _until(times_h: np.ndarray, burden: np.ndarray, end_h: np.ndarray) -> np.ndarray:
    """A burden (replicate, sample) that stays at what it was on the last sample before an end; nan: none."""
    is_before = ~(times_h >= end_h[:, None])
    last = np.maximum(is_before.sum(axis=1) - 1, 0)
    held = np.take_along_axis(burden, last[:, None], axis=1)
    return np.where(is_before, burden, held)


def burden_of(hazard: Hazard, times_h: np.ndarray, series: Mapping[str, np.ndarray]) -> np.ndarray:
    """(replicate, sample): cumulative hazard up to each sample, or the exposure."""
    if hazard.exposure:
        return series[hazard.exposure]
    rate = np.zeros(next(iter(series.values())).shape)
    for risk in hazard.risks:
        law = np.vectorize(partial(evaluate, risk.shape), otypes=[float])
        rate += risk.rate * law(series[risk.observable])
    # a sample holds until the next
    steps = rate[:, :-1] * np.diff(times_h)
    return np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)


def bearable_of(hazard: Hazard, uniform: np.ndarray) -> np.ndarray:
    """Quantiles of what patients can bear."""
    if not hazard.exposure:
        return -np.log1p(-uniform)
    law = NormalDist(hazard.log10_median, hazard.log10_sd)
    return np.array([10.0 ** law.inv_cdf(u) for u in uniform])


def probability(hazard: Hazard, burden: np.ndarray) -> np.ndarray:
    """That patients of whom nothing but their burden is known cannot bear it."""
    if not hazard.exposure:
        return -np.expm1(-burden)
    law = NormalDist(hazard.log10_median, hazard.log10_sd)
    return np.array([law.cdf(np.log10(x)) if x > 0 else 0.0 for x in burden])


def grade(hazard: Hazard, burden: np.ndarray, bearable: np.ndarray) -> np.ndarray:
    """Place of the grade from 1 on, by log10 of the burden above what can be borne; 0: none."""
    with np.errstate(divide="ignore"):
        above = np.log10(burden) - np.log10(bearable)
    bounds = np.array([bound for _, bound in hazard.grades])
    return (above[:, None] >= bounds).sum(axis=1).astype(float)


def crossing(times_h: np.ndarray, burden: np.ndarray, bearable: np.ndarray) -> np.ndarray:
    """(replicate,) time at which a growing burden reaches what can be borne, linear between samples."""
    is_over = burden >= bearable[:, None]
    first = is_over.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(burden))
    low, high = burden[rows, before], burden[rows, first]
    rise = np.where(high > low, high - low, 1.0)
    share = np.where(first > 0, (bearable - low) / rise, 0.0)
    at_h = times_h[before] + share * (times_h[first] - times_h[before])
    return np.where(is_over.any(axis=1), at_h, np.nan)
