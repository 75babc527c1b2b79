"""Numbers read off laboratory series, as a paper states them: a level on a day, a peak between two, a ratio."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

TAKES = {"max": np.nanmax, "min": np.nanmin, "mean": np.nanmean}


@dataclass(frozen=True)
class Reading:
    """A number of one series, or of two: ``take`` of it from ``from_h`` to ``to_h``, over another, as log10."""

    name: str
    of: str
    take: str
    from_h: float
    to_h: float
    over: Reading | None = None
    is_log10: bool = False

    def value(self, times_h: np.ndarray, series: Mapping[str, np.ndarray]) -> np.ndarray:
        """float64 (replicate,); nan where nothing was seen in that time.

        ``times_h`` (sample,); every series (replicate, sample).
        """
        inside = (times_h >= self.from_h - 1e-9) & (times_h <= self.to_h + 1e-9)
        seen = series[self.of][:, inside]
        found = np.full(len(seen), np.nan)
        known = ~np.isnan(seen).all(axis=1) if seen.shape[1] else np.zeros(len(seen), bool)
        if known.any():
            found[known] = TAKES[self.take](seen[known], axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.over is not None:
                found = found / self.over.value(times_h, series)
            return np.log10(found) if self.is_log10 else found

    @property
    def needs(self) -> set[str]:
        """Names of the series."""
        return {self.of} | (self.over.needs if self.over is not None else set())
