"""Reservoirs of a batch of replicates: what they hold, and when cells pass to and fro.

Between two exchange edges probes stand in the compartments; after the interval the reservoirs live
through it by what the probes saw, then cells are handed over. All of it is done by kernels.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.branching import live_apart
from mst_abm.engine.handover import hand_over
from mst_abm.engine.probes import FIRST, FIRST_SPACE, send_probes
from mst_abm.engine.reserves import make_held
from mst_abm.engine.state import enlarge_pool, make_rates
from mst_abm.model.definition import InitialCells, Reservoir, expected_number
from mst_abm.model.species import matches, resolve

if TYPE_CHECKING:
    from mst_abm.runs.simulation import Simulation


class Reservoirs:
    """The reservoirs of a simulation; false when its model has none."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.declared = simulation.compiled.model.reservoirs
        self.tables = simulation.compiled.reserves
        if not self.declared:
            return
        tab = simulation.tables
        self.held = make_held(
            self.tables,
            simulation.replicates,
            len(simulation.compiled.tallies),
            (tab.n_compartments, tab.n_species),
        )
        self._rates = make_rates(tab, simulation.geometry)
        self._fill()

    def __bool__(self) -> bool:
        return bool(self.declared)

    # time

    def begin(self, window: int, first: int, last: int) -> None:
        """Probes of bodies [first, last) take their places for an interval."""
        if self.declared:
            sim, state = self.simulation, self.simulation.state
            send_probes(
                sim.tables, sim.geometry, state.lattice, state.body, self.tables, self.held, sim.key,
                window, first, last,
            )  # fmt: skip

    def end(
        self, window: int, next_window: int, hours: float, end_h: float, first: int, last: int
    ) -> None:
        """Reservoirs live through the interval that has been run; cells are handed over."""
        if self.declared:
            sim, state = self.simulation, self.simulation.state
            live_apart(
                sim.tables, sim.geometry, state.lattice, state.body, self._rates, self.tables,
                self.held, sim.key, window, hours, first, last,
            )  # fmt: skip
            self._hand_over(next_window, end_h, first, last)

    def _hand_over(self, window: int, now_h: float, first: int, last: int) -> None:
        self._make_room()
        sim, state = self.simulation, self.simulation.state
        hand_over(
            sim.tables, sim.geometry, state.lattice, state.mixed, state.pool, state.body,
            self.tables, self.held, sim.key, window, now_h, first, last,
        )  # fmt: skip

    def _make_room(self) -> None:
        """Room for all cells that may be handed over on this edge."""
        sim, geo = self.simulation, self.simulation.geometry
        slots = np.zeros(len(geo.mixed_compartment), np.int64)
        most = self.held.owed.max(axis=0)
        most[self.tables.outgoing["before"] > 0] = 0  # turned into, where they are
        q = geo.spaces["mixed_index"][self.tables.outgoing["compartment"]]
        np.add.at(slots, q[q >= 0], most[q >= 0])
        waiting = int(most[q < 0].sum())
        for reservoir in self.tables.reservoirs:
            q = int(geo.spaces[reservoir["compartment"]]["mixed_index"])
            if q >= 0:
                mine = self.held.numbers[:, reservoir["state_first"] : reservoir["state_last"]]
                slots[q] += math.ceil(mine.sum(axis=1).max() * reservoir["share"]) + 1
        if slots.any():
            sim.grow_slots(slots)
        while len(geo.patches) and sim.state.pool.n.max() + waiting > sim.state.pool.cells.shape[2]:
            enlarge_pool(sim.tables, sim.state)

    # time zero

    def _fill(self) -> None:
        """Classes that are too rare to begin with: the body's own number, not that of a draw.

        What the draw has put into a compartment is taken out of it.
        """
        rows, held = self.tables.reservoirs, self.held
        expected = [self._expected(c, reservoir) for c, reservoir in enumerate(self.declared)]
        rare = [c for c, cells in enumerate(expected) if cells.sum() < rows[c]["below"]]
        held.is_owner[:, rare] = True
        above = rows["above"].copy()
        rows["above"] = np.inf
        self._hand_over(0, 0.0, 0, self.simulation.replicates)
        rows["above"] = above
        for c in rare:
            sums = np.concatenate([[0.0], np.cumsum(expected[c]) / rows[c]["share"]])
            mine = slice(rows[c]["state_first"], rows[c]["state_last"])
            for r in range(self.simulation.replicates):
                u = self._uniform(c, r)
                held.numbers[r, mine] = np.diff(np.floor(sums + u).astype(np.int64))
        self._hand_over(0, 0.0, 0, self.simulation.replicates)
        held.handed[:] = 0

    def _uniform(self, c: int, r: int) -> float:
        """The draw that rounds the number a reservoir begins with."""
        sim = self.simulation
        place = rng.RESERVING << 28 | FIRST_SPACE + 4 * c + FIRST
        word, *_ = rng.philox_words(
            (0, 0, place, int(sim.numbers[r])), (sim.seed & 0xFFFFFFFF, sim.seed >> 32)
        )
        return (word + 0.5) * rng.TWO_M32

    def _expected(self, c: int, reservoir: Reservoir) -> np.ndarray:
        """Simulated cells that the initial cells of the model stand for, by state."""
        compiled = self.simulation.compiled
        row = self.tables.reservoirs[c]
        mine = self.tables.states[row["state_first"] : row["state_last"]]
        places = {(int(s["species"]), int(s["counters"])): i for i, s in enumerate(mine)}
        types = {t.name: t for t in compiled.model.types}
        compartment = compiled.model.compartments[row["compartment"]]
        found = np.zeros(len(mine))
        for item in compiled.model.initial:
            if item.compartment != compartment.name:
                continue
            whole = sum(weight for _, weight in item.species)
            for product, weight in item.species:
                species = resolve(product, None, types, f"reservoir '{reservoir.name}'")
                if not matches(reservoir.cells, species):
                    continue
                cells = expected_number(item, compartment) * weight / whole
                number = compiled.species_number(species)
                for packed, share in self._counters(species.type, item):
                    found[places[number, packed]] += cells * share
        return found

    def _counters(self, kind: str, item: InitialCells) -> list[tuple[int, float]]:
        """Packed initial counters of a type with their weights."""
        asked = dict(item.counters)
        choices = []
        for shift, counter in self.simulation.compiled.layout.places.get(kind, {}).values():
            weights = np.array(asked.get(counter.name, counter.initial), float)
            choices.append(
                [(v << shift, w / weights.sum()) for v, w in enumerate(weights) if w > 0]
            )
        return [
            (sum(v for v, _ in parts), math.prod(w for _, w in parts))
            for parts in itertools.product(*choices)
        ]

    # looking

    @property
    def numbers(self) -> dict[str, np.ndarray]:
        """Cells of the whole body in reservoirs: int64 (replicate, species) of every compartment with one."""
        sim = self.simulation
        found: dict[str, np.ndarray] = {}
        for row in self.tables.reservoirs:
            name = sim.compiled.compartment_names[row["compartment"]]
            shape = (sim.replicates, sim.tables.n_species)
            total = found.setdefault(name, np.zeros(shape, np.int64))
            mine = slice(row["state_first"], row["state_last"])
            species = self.tables.states["species"][mine]
            np.add.at(total, (slice(None), species), self.held.numbers[:, mine])
        return found

    @property
    def handed(self) -> dict[str, np.ndarray]:
        """Simulated cells put into compartments less those taken out: int64 (replicate, species)."""
        return {
            name: self.held.handed[:, self.simulation.compiled.compartment_names.index(name)].copy()
            for name in self.numbers
        }

    @property
    def is_owner(self) -> np.ndarray:
        """Whether the reservoir owns its class, not the compartment: bool (replicate, reservoir)."""
        return self.held.is_owner.copy()

    @property
    def tally(self) -> np.ndarray:
        """Events of the whole body in reservoirs since the start: int64 (replicate, channel)."""
        return self.held.tally.copy()

    @property
    def sampled_events(self) -> np.ndarray:
        """What a sample would show of the events in reservoirs: float64 (replicate, channel)."""
        return self.held.tally * self._shares

    @cached_property
    def _shares(self) -> np.ndarray:
        compiled = self.simulation.compiled
        shares = {c.name: c.share for c in compiled.model.compartments}
        return np.array([shares[t.compartment] for t in compiled.tallies])

    def digest(self, r: int, body: str) -> str:
        """Hash of a body, its reservoirs included."""
        if not self.declared:
            return body
        digest = hashlib.sha256(body.encode())
        for array in self.held[:5]:
            digest.update(np.ascontiguousarray(array[r]).tobytes())
        return digest.hexdigest()
