"""What a clinic sees of the truth: samples drawn on some days, with the error of counting.

A share is read from a number of cells counted (binomial), a density from the cells found in a volume
(Poisson); other errors are not modelled. A value below the limit of its assay is reported as 0,
"not detected"; on days without a sample it is not a number. An observable that says nothing of how
it is observed is seen daily as it is.

Every sample has a generator of its own, numpy's Philox 4x64-10: key the seed; counter the
observable (a hash of its name), the day and the replicate. So what is seen of a run depends neither
on other replicates and observables, nor on who asks, how often or in which order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from mst_abm.model.definition import Observable

DAY_H = 24.0
NO_SAMPLE = np.nan
NOT_DETECTED = 0.0
#: Second word of the key, apart from all other uses of the seed.
PURPOSE = 0x6F62736572766564


class Observation:
    """The reports of one batch of replicates.

    Parameters
    ----------
    observables : of the model
    seed : of the run
    replicates : their numbers, part of the addresses of draws
    """

    def __init__(
        self, observables: Sequence[Observable], seed: int, replicates: Sequence[int] | np.ndarray
    ) -> None:
        self.items = tuple(item for item in observables if item.observed.every_d)
        self._seed = seed
        self._replicates = [int(number) for number in replicates]

    def report(self, day: int, truth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What is reported on a day: float64 (replicate,) of every observable that is ever seen.

        ``truth``: their values in the body, (replicate,) each.
        """
        return {item.name: self._measure(item, day, truth[item.name]) for item in self.items}

    def _measure(self, item: Observable, day: int, truth: np.ndarray) -> np.ndarray:
        assay = item.observed
        if day % assay.every_d:
            return np.full(len(truth), NO_SAMPLE)
        seen = np.array(truth, float)
        if assay.cells:
            part = np.clip(seen / item.times, 0.0, 1.0) if item.times else 0.0 * seen
            counted = [g.binomial(assay.cells, p) for g, p in self._paired(item.name, day, part)]
            seen = item.times * np.array(counted, float) / assay.cells
        elif assay.volume:
            assert item.count is not None
            scale = item.count.relative_to * assay.volume
            counted = [g.poisson(mean) for g, mean in self._paired(item.name, day, seen * scale)]
            seen = np.array(counted, float) / scale
        return np.where(seen < assay.limit, NOT_DETECTED, seen)

    def _paired(self, name: str, day: int, values: np.ndarray):
        """Every replicate's own generator beside its value."""
        observable = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        for replicate, value in zip(self._replicates, values, strict=True):
            address = np.array([0, observable, day, replicate], np.uint64)
            key = np.array([self._seed, PURPOSE], np.uint64)
            yield np.random.Generator(np.random.Philox(key=key, counter=address)), value


def day_of(time_h: float) -> int:
    """The day on which a sample was drawn."""
    return int(time_h / DAY_H + 1e-9)


def latest(series: np.ndarray) -> np.ndarray:
    """Reports (replicate, day) with the last one carried forward over days without a sample."""
    is_known = ~np.isnan(series)
    last = np.maximum.accumulate(np.where(is_known, np.arange(series.shape[1]), 0), axis=1)
    return np.take_along_axis(series, last, axis=1)
