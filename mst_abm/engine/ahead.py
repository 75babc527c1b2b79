"""Kernels compiled for given tables without running them; the types are those of any model."""

from __future__ import annotations

import numpy as np
from numba import float64, int64, typeof, uint64

from mst_abm.engine.advance import advance_bodies
from mst_abm.engine.lattice import advance_patch
from mst_abm.engine.mixed import advance_mixed
from mst_abm.engine.pin import Pinned
from mst_abm.engine.rng import make_draws
from mst_abm.engine.state import make_rates, make_scratch, make_state
from mst_abm.engine.tables import NODES, Geometry, Schedule, Tables


def compile_advancing(tab: Tables, geo: Geometry, part: str) -> None:
    """Kernels that move time on: "patch" alone, or "mixed" and then the loop over bodies."""
    state = make_state(
        tab, geo, replicates=np.zeros(1, np.int64), n_tallies=0, signals=np.zeros(0), n_fields=0,
        slots=np.full(len(geo.mixed_compartment), 4),
    )  # fmt: skip
    rates, draws, scratch = make_rates(tab, geo), make_draws(), make_scratch(tab, geo, 0)
    body, border = state.body, state.border
    if part == "patch":
        spaces = (tab, geo, state.lattice, border, state.pool, state.outbox)
        patch = (*spaces, body, rates, draws, scratch)
        times = (uint64, int64, int64, float64, float64, int64)
        advance_patch.compile((*(Pinned(typeof(each)) for each in patch), *times))
        return
    mixed = (tab, geo, state.mixed, state.pool, state.outbox, body, rates, draws)
    advance_mixed.compile(
        (*(Pinned(typeof(each)) for each in mixed), uint64, int64, float64, float64, int64)
    )
    schedule = Schedule(np.zeros(2), 1, np.zeros((1, 1, 0, NODES + 1)), np.zeros(1, np.int64))
    spaces = (tab, geo, state.lattice, border, state.mixed, state.pool, state.outbox)
    bodies = (*spaces, body, schedule, rates, draws, scratch)
    advance_bodies.compile((*map(typeof, bodies), uint64, int64, int64))
