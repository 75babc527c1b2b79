"""Fields of a run, from exchange interval to exchange interval.

At the start of an interval cells are counted by block; the field is then known through the whole of
it, exactly, as long as what cells add is held. Rules read its mean over the interval. Every patch is
worked out by itself, so that the bits of a replicate do not hang on what runs beside it.
"""

from __future__ import annotations

import numpy as np

from mst_abm.engine.fields import count_yields, read_levels
from mst_abm.engine.state import State
from mst_abm.engine.tables import Geometry, Tables
from mst_abm.model.compile import CompiledModel
from mst_abm.model.fields import diffusion_of


class SpreadingFields:
    """Levels of all fields of a batch of bodies; `State` holds those of now."""

    def __init__(self, compiled: CompiledModel, tables: Tables, geometry: Geometry) -> None:
        self.tables, self.geometry = tables, geometry
        self.fields = compiled.model.fields
        spaces = {c.name: c for c in compiled.model.compartments}
        self._diffusion = [diffusion_of(f, spaces[f.compartment]) for f in self.fields]
        media = tables.readings["medium"]
        self._readings = [np.flatnonzero(media == i) for i in range(len(self.fields))]

    def spread(self, state: State, hours: float) -> tuple[np.ndarray, ...]:
        """Let cells read the means over the coming interval; returns the levels at its end."""
        ends = tuple(np.empty_like(levels) for levels in state.levels)
        for i in range(len(self.fields)):
            for r in range(len(state.levels[i])):
                self._spread(state, i, r, hours, ends[i][r])
        return ends

    def _spread(self, state: State, i: int, r: int, hours: float, ends: np.ndarray) -> None:
        """One field of one body."""
        tab, geo, lattice = self.tables, self.geometry, state.lattice
        levels = state.levels[i][r]
        income, means = np.zeros((len(levels), levels[0].size)), np.empty_like(levels)
        if tab.yields[i].any():
            count_yields(tab, geo, lattice, i, r, income)
        income += self.fields[i].production
        for p, now in enumerate(levels):
            added = income[p].reshape(now.shape)
            ends[p], means[p] = self._diffusion[i].advance(now, added, hours)
        for reading in self._readings[i]:
            read_levels(tab, geo, lattice, int(reading), r, means.reshape(income.shape))
