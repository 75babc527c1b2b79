"""Laboratory series from counts of cells: the model's observables, as a body would have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mst_abm.model.definition import Compartment, Observable, Pattern
from mst_abm.model.species import Species, matches


class Laboratory:
    """Turns counts of simulated cells into observables.

    Parameters
    ----------
    observables : the model's
    species : in the order of the counts
    compartments : of the model
    signals : names of the model's, in the order of the levels
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        species: Sequence[Species],
        compartments: Sequence[Compartment],
        signals: Sequence[str] = (),
    ) -> None:
        self.names = tuple(item.name for item in observables)
        self._rows = []
        self._levels = []
        places = {c.name: c for c in compartments}

        def mask(pattern: Pattern) -> np.ndarray:
            return np.array([matches(pattern, s) for s in species])

        for item in observables:
            if item.count is None:
                self._levels.append((item.name, list(signals).index(item.signal), item.times))
                continue
            compartment = places[item.count.compartment]
            scale = item.times / item.count.relative_to / compartment.share
            if item.count.measure == "density":
                scale /= compartment.volume
            whole = None
            if item.share_of is not None:
                scale, whole = item.times, mask(item.share_of)
            self._rows.append((item.name, compartment.name, mask(item.count.pattern), whole, scale))

    def read(
        self, counts: Mapping[str, np.ndarray], levels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Observables now: float64 (replicate,) each.

        ``counts``: (replicate, species) of every compartment; ``levels``: (replicate, signal), for
        observables that are levels.
        """
        seen = {}
        for name, compartment, part, whole, scale in self._rows:
            cells = counts[compartment]
            value = cells[:, part].sum(axis=1).astype(float)
            if whole is not None:
                value /= np.maximum(cells[:, whole].sum(axis=1), 1)
            seen[name] = scale * value
        if self._levels:
            assert levels is not None
            seen |= self.read_levels(levels)
        return seen

    def read_levels(self, levels: np.ndarray) -> dict[str, np.ndarray]:
        """Those observables that are levels of signals."""
        return {name: times * levels[:, place] for name, place, times in self._levels}


def lacking(series: Mapping[str, np.ndarray]) -> set[str]:
    """Observables of which nothing was ever there, in no replicate: a dish has no neutrophils.

    What follows from them is not an endpoint of that run, not even "not reached".
    """
    return {name for name, values in series.items() if not np.any(values)}
