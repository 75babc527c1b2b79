"""Reservoirs as the engine's tables: every rule of a class, from the point of view of one of its cells.

Cells of a class do not meet each other: what is too rare for a sample is too rare for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mst_abm.engine import reserves as R
from mst_abm.engine import tables as T
from mst_abm.engine.reserves import Reserves
from mst_abm.errors import ModelError
from mst_abm.model.channels import Channel, ChannelSet, Entry
from mst_abm.model.definition import Reservoir
from mst_abm.model.species import EMPTY, matches

#: Pattern row, range of modifiers and pattern row of the class, of one reservoir.
Sites = tuple[int, tuple[int, int], int]
State = tuple[int, int]  # species, packed counters
MOST_STATES = 20_000


def reservoir_sites(channel_set: ChannelSet) -> list[Sites]:
    """Add to the tables where probes of each reservoir stand, before those are closed."""
    found = []
    for reservoir in channel_set.model.reservoirs:
        first = len(channel_set.local.rows)
        if reservoir.at is not None:
            channel_set.local.add(reservoir.at, EMPTY, 0, f"reservoir '{reservoir.name}'")
        last = len(channel_set.local.rows)
        patterns = channel_set.patterns
        found.append((patterns.row(reservoir.on), (first, last), patterns.row(reservoir.cells)))
    return found


def build_reserves(channel_set: ChannelSet, sites: list[Sites]) -> Reserves:
    """Tables of all reservoirs.

    Raises
    ------
    ModelError
        If a class has a counter that is drawn anew on the way, or too many states.
    """
    builder = _Builder(channel_set)
    for reservoir, where in zip(channel_set.model.reservoirs, sites, strict=True):
        builder.add(reservoir, where)
    return Reserves(
        np.array(builder.reservoirs, R.RESERVOIR),
        np.array(builder.states, R.STATE),
        np.array(builder.deeds, R.DEED),
        np.array(builder.outlooks, R.OUTLOOK),
        np.array(builder.outgoing, R.OUTGOING),
    )


@dataclass
class _Builder:
    """Collects the rows of all tables, reservoir by reservoir."""

    channels: ChannelSet
    reservoirs: list[tuple] = field(default_factory=list)
    states: list[tuple] = field(default_factory=list)
    deeds: list[tuple] = field(default_factory=list)
    outlooks: list[tuple] = field(default_factory=list)
    outgoing: list[tuple] = field(default_factory=list)
    n_probes: int = 0

    def add(self, reservoir: Reservoir, sites: Sites) -> None:
        m = self.channels.places[reservoir.compartment]
        compartment = self.channels.model.compartments[m]
        self.where = f"reservoir '{reservoir.name}'"
        self.share, self.m = compartment.share, m
        self.first_outlook = len(self.outlooks)
        first = len(self.states)
        mine = self._states(reservoir)
        self.number = {state: first + i for i, state in enumerate(mine)}
        self.members = {species for species, _ in mine}
        self.programs = list(self.channels.updates.programs)
        for state in mine:
            first_deed = len(self.deeds)
            self._add_deeds(state)
            self.states.append((*state, first_deed, len(self.deeds)))
        on, modifiers, cells = sites
        probes = (self.n_probes, self.n_probes + reservoir.probes)
        self.n_probes = probes[1]
        self.reservoirs.append(
            (
                m, cells, first, len(self.states), self.first_outlook, len(self.outlooks), on,
                *modifiers, *probes, reservoir.below, reservoir.above, self.share,
            )
        )  # fmt: skip

    def _states(self, reservoir: Reservoir) -> list[State]:
        """Every reachable species of the class with every value of its counters."""
        found: list[State] = []
        for number, species in enumerate(self.channels.species):
            if species == EMPTY or not matches(reservoir.cells, species):
                continue
            places = self.channels.layout.places.get(species.type, {}).values()
            values = [[v << shift for v in range(c.maximum + 1)] for shift, c in places]
            found += [(number, sum(packed)) for packed in itertools.product(*values)]
        if len(found) > MOST_STATES:
            raise ModelError(
                f"{self.where}: expected at most {MOST_STATES:,} combinations of species and counters, "
                f"got {len(found):,}; name fewer cells."
            )
        return found

    # what a cell does and suffers

    def _add_deeds(self, state: State) -> None:
        n_species = len(self.channels.species)
        species, _ = state
        for channel in self.channels.rows.get(self.m * n_species + species, []):
            if channel.verb not in (T.MOVE, T.PAIR):
                self._add_single(state, channel)
        for (row, reach), partners in self.channels.pairs.items():
            m, actor = divmod(row, n_species)
            if m != self.m:
                continue
            is_member = self._is_member(actor)
            for entry in partners.get(species, []) if not is_member else []:
                self._add_met(state, entry, R.SUFFERS, actor, reach)
            if actor == species:
                for partner, entries in partners.items():
                    for entry in entries if not self._is_member(partner) else []:
                        self._add_met(state, entry, R.ACTS, partner, reach)

    def _is_member(self, species: int) -> bool:
        return species in self.members

    def _add_single(self, state: State, channel: Channel) -> None:
        kind = R.CERTAIN if channel.modifiers[0] == channel.modifiers[1] else R.PLACE
        is_mixed = self.channels.model.compartments[self.m].kind == "mixed"
        if channel.verb == T.DIVIDE and not is_mixed:
            kind = R.ROOM
        outlook = self._outlook(kind, channel.modifiers, state, 0, 0, channel)
        products = [self._product(state, channel.product_a, channel.update_a)]
        if channel.verb == T.DIVIDE:
            products.append(self._product(state, channel.product_b, channel.update_b))
        elif channel.verb == T.LEAVE:
            products = [self._sent(state, channel, channel.product_a, channel.update_a)]
        elif channel.verb == T.EMIT:
            products = [
                (self.number[state], -1),
                self._sent(state, channel, channel.product_b, channel.update_b),
            ]
        self._deed(channel.base, channel.factor, outlook, products, channel.tally)

    def _add_met(self, state: State, entry: Entry, kind: int, other: int, reach: int) -> None:
        outlook = self._outlook(kind, entry.modifiers, state, other, reach)
        product, update = entry.product_b, entry.update_b
        if kind == R.ACTS:
            product, update = entry.product_a, entry.update_a
        products = [self._product(state, product, update), self._felt(entry, kind, other)]
        self._deed(entry.base, entry.factor, outlook, products, entry.tally)

    def _felt(self, entry: Entry, kind: int, other: int) -> tuple[int, int]:
        """What the other cell, one of the sample, becomes by it; nothing where it stays as it is."""
        after, update = entry.product_a, entry.update_a
        if kind == R.ACTS:
            after, update = entry.product_b, entry.update_b
        changes = any(op[0] != T.KEEP for op in self.programs[update]) if update >= 0 else False
        if after == other and not changes:
            return -1, -1
        return -1, self._outgoing(self.m, after, 0, self.share, (other, update))

    def _deed(
        self, base: float, factor: int, outlook: int, products: list[tuple[int, int]], tally: int
    ) -> None:
        (state_a, out_a), (state_b, out_b) = (products + [(-1, -1)])[:2]
        self.deeds.append((base, factor, outlook, state_a, state_b, out_a, out_b, tally))

    def _outlook(
        self,
        kind: int,
        modifiers: tuple[int, int],
        state: State,
        other: int,
        reach: int,
        channel: Channel | None = None,
    ) -> int:
        """Number of an outlook within the reservoir; the same is kept once."""
        rows = self.channels.local.rows[modifiers[0] : modifiers[1]]
        # counters matter only as modifiers read them; those of an actor are not the cell's
        counters = self._as_read(state[1], rows) if kind != R.SUFFERS else 0
        placed = (channel.placement, channel.push) if channel and kind == R.ROOM else (0, 0)
        row = (kind, *modifiers, counters, other, reach, *placed)
        if row not in self.outlooks[self.first_outlook :]:
            self.outlooks.append(row)
        return self.outlooks.index(row, self.first_outlook)

    def _as_read(self, packed: int, rows: Sequence[tuple[int, int, int, int, int]]) -> int:
        """The least counters that modifiers take for these, 0 where they read none.

        Thousands of states look out alike: what a probe sees is worked out once for all of them.
        """
        tables: dict[tuple[int, int], list[list[float]]] = {}
        for kind, shift, mask, first, span in rows:
            if kind == T.COUNTER:
                values = self.channels.local.values[first : first + span]
                tables.setdefault((shift, mask), []).append(values)
        result = 0
        for (shift, mask), read in tables.items():
            seen = list(zip(*read, strict=True))
            value = min((packed >> shift) & mask, len(seen) - 1)
            result |= seen.index(seen[value]) << shift
        return result

    # what becomes of it

    def _product(self, state: State, species: int, update: int) -> tuple[int, int]:
        """(state, -1) of a product of the class, (-1, outgoing) of another, (-1, -1) of none."""
        if species == 0:
            return -1, -1
        after = species, self._updated(state[1], update)
        if after in self.number:
            return self.number[after], -1
        return -1, self._outgoing(self.m, *after, self.share)

    def _sent(self, state: State, channel: Channel, species: int, update: int) -> tuple[int, int]:
        counters = self._updated(state[1], update)
        copies = channel.copies * self.share
        return -1, self._outgoing(channel.destination, species, counters, copies)

    def _outgoing(
        self, m: int, species: int, counters: int, copies: float, of: tuple[int, int] = (0, -1)
    ) -> int:
        row = (m, species, counters, len(self.reservoirs), *of, copies)
        if row not in self.outgoing:
            self.outgoing.append(row)
        return self.outgoing.index(row)

    def _updated(self, packed: int, update: int) -> int:
        """Counters of a product, as `mst_abm.engine.cells.counters_by` makes them."""
        result = 0
        for kind, shift, mask, amount, target, maximum, _ in (
            self.programs[update] if update >= 0 else ()
        ):
            value = (packed >> shift) & mask
            if kind == T.RESAMPLE:
                raise ModelError(
                    f"{self.where}: a counter of its cells, or of what they become, is drawn at random "
                    "on the way, which a reservoir cannot do; give it one initial value."
                )
            if kind == T.SET:
                value = amount
            elif kind == T.ADD:
                value += amount
            elif kind == T.HALVE_UP:
                value = (value + 1) >> 1
            elif kind == T.HALVE_DOWN:
                value >>= 1
            result |= min(max(value, 0), maximum) << target
        return result
