"""Which bodies of a batch go through which exchange intervals at once.

The clock of a batch ticks on the edges of the run. A quiet body (`run.quiet`) goes through many intervals as through one, up
to the next *meeting*: an edge on which something is looked at, given or decided, or a multiple of its own
longer interval. Whether it is quiet hangs on its own state at its own edge, so that a replicate gives the same bits alone and
among others, and after a checkpoint.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mst_abm.clinic.given import acts_of
from mst_abm.clinic.protocol import Acts
from mst_abm.runs.timetable import run_edges

if TYPE_CHECKING:
    from mst_abm.runs.simulation import Simulation

SAME_H = 1e-9


class Stretch(NamedTuple):
    """Bodies [first, last) go from the present edge to edge ``end``."""

    first: int
    last: int
    end: int


class Pace:
    """The pace of the bodies of a simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.quiet = simulation.scenario.run.quiet
        #: Bodies that are followed no longer.
        self.is_over = np.zeros(simulation.replicates, bool)
        self._meetings = np.zeros(0)
        if self.quiet is None:
            return
        scenario, compiled = simulation.scenario, simulation.compiled
        self._meetings = run_edges(scenario, compiled, self.quiet.exchange_h)
        self._usual = run_edges(scenario, compiled)
        rows = {signal.name: i for i, signal in enumerate(compiled.model.signals)}
        self._below = [(rows[name], level) for name, level in self.quiet.below if name in rows]
        self._met: tuple[np.ndarray, np.ndarray] | None = None

    def stretches(self, stop: int, at: int) -> list[Stretch]:
        """What is done from the present edge on; a loud body goes to ``stop``, none beyond ``at``."""
        sim = self.simulation
        if self.quiet is None and not self.is_over.any():
            return [Stretch(0, sim.replicates, stop)]
        ends = np.where(self._is_due(), stop, -1)
        if self.quiet is not None and (ends > 0).any():
            meeting = min(self._next_meeting(), at)
            for r in np.flatnonzero(ends > 0):
                if meeting > stop and self._is_quiet(int(r), meeting):
                    ends[r] = meeting
        cuts = np.flatnonzero(np.diff(ends)) + 1
        firsts, lasts = [0, *cuts], [*cuts, len(ends)]
        return [
            Stretch(int(a), int(b), int(ends[a]))
            for a, b in zip(firsts, lasts, strict=True)
            if ends[a] > 0
        ]

    def next_edge(self, at: int) -> int:
        """The edge the clock goes on to: the first on which a body stands."""
        done = self.simulation.state.body.progress["window"][~self.is_over]
        return min(int(done.min(initial=at)), at)

    def _is_due(self) -> np.ndarray:
        sim = self.simulation
        return ~self.is_over & (sim.state.body.progress["window"] <= sim.interval)

    def _next_meeting(self) -> int:
        """Edge of the next meeting; one that the scenario does not know of, asked for by a caller, is one too."""
        edges = self.simulation.edges_h
        if self._met is None or self._met[0] is not edges:
            is_met = _is_in(edges, self._meetings) | ~_is_in(edges, self._usual)
            self._met = edges, np.flatnonzero(is_met)
        found = self._met[1]
        i = int(np.searchsorted(found, self.simulation.interval, side="right"))
        return int(found[min(i, len(found) - 1)])

    def _is_quiet(self, r: int, end: int) -> bool:
        """Whether body r is quiet from the present edge to edge ``end``."""
        quiet, sim = self.quiet, self.simulation
        assert quiet is not None
        if sim.time_h < quiet.from_h - SAME_H:
            return False
        signals = sim.state.body.signals[r]
        if any(signals[i] >= level for i, level in self._below):
            return False
        levels = sim.courses.levels(r)[sim.interval : end]
        if levels.size and levels.max() >= quiet.drugs_below:
            return False
        last_h = self._last_cells_h(r)
        return sim.time_h >= last_h + quiet.after_infusion_h - SAME_H

    def _last_cells_h(self, r: int) -> float:
        """When cells were last given to a body, h."""
        sim = self.simulation
        planned = Acts(sim.scenario.doses, sim.scenario.infusions)
        mine = [replace(d, body=0) for d in sim.courses.decisions if d.body == r]
        acts = acts_of(planned, sim.scenario.reactions, mine, 1)[0]
        past = [i.at_h for i in acts.infusions if i.at_h <= sim.time_h + SAME_H]
        return max(past, default=-np.inf)


def _is_in(edges: np.ndarray, some: np.ndarray) -> np.ndarray:
    """Which edges are among some others."""
    i = np.clip(np.searchsorted(some, edges), 1, len(some) - 1)
    return np.minimum(np.abs(some[i] - edges), np.abs(some[i - 1] - edges)) < SAME_H
