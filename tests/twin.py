"""A slow twin of the kernels: plain Python, lists and loops, the same tables and the same draws.

It is the specification of one exchange interval, written to be read. It must give the same bits as the
compiled engine, so every sum runs in the stated order. Nothing here imports the package: verbs and
kinds are numbered as in the tables.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import plain_random as draws
from plain_random import DETAIL, ROUTING, WORD
from twin_tables import (
    ATTEMPT,
    COUNTER,
    DIVIDE,
    EMIT,
    IN_VACANT,
    LEAVE,
    PAIR,
    Cell,
    Identity,
    search,
    sum_in_order,
)
from twin_tiles import TileTwin

BALL_OF_MIXED = 0  # a mixed compartment counts offsets as in three dimensions


class Twin(TileTwin):
    """One body of a simulation at time zero, run on by `interval`."""

    # one exchange interval

    def interval(self, begin: float, end: float, given: list[list[float]]) -> None:
        """Signals, rates, every patch, then the mixed compartments."""
        self.window += 1
        nodes = self.read_signals(end - begin, given)
        self.set_rates(self.average_factors(nodes))
        for patch in self.patches:
            patch.outbox = []
            self.run_patch(patch, begin, end)
        self.run_mixed(begin, end)
        self.levels = nodes[-1]
        self.births = [0] * len(self.births)

    # mixed compartments

    @property
    def here(self) -> int:
        """The mixed compartments' number among spaces: after all tiles."""
        return self.n_units

    def run_mixed(self, begin: float, end: float) -> None:
        """All mixed compartments in one clock; what patches sent comes in at its own time."""
        self.time, number = begin, 0
        outboxes = [list(patch.outbox) for patch in self.patches]
        while True:
            weights = [self.weights_in(q) for q in range(len(self.mixed_at))]
            total = sum_in_order(sum_in_order(mine) for mine in weights)
            due, sender = min(
                ((box[0].time, k) for k, box in enumerate(outboxes) if box), default=(math.inf, -1)
            )
            waiting, choice, word = draws.candidate(
                self.seed, self.replicate, self.window, self.here, number
            )
            now = self.time + waiting / total if total > 0.0 else math.inf
            if not now < min(end, due):
                if not due < end:
                    return
                # the rest of this waiting time is forgotten, which an exponential allows
                sent = outboxes[sender].pop(0)
                u = self.detail(self.here, number, ROUTING)[1]
                self.deliver(sent.to, sent.cell, sent.copies, u, due)
                self.time = due
                number += 1
                continue
            self.time = now
            self.attempts += 1
            self.executed += self.try_one(weights, choice * total, word, number, now)
            number += 1

    def weights_in(self, q: int) -> list[float]:
        """Of each class of a mixed compartment, and of arrivals from outside."""
        m = self.mixed_at[q]
        density, space = self.density(q), self.spaces[m]
        weights = [
            len(segment) * (single + density * paired)
            for segment, (_, single, paired) in zip(
                self.mixed[q].segments[: self.n_classes], self.tops[m], strict=True
            )
        ]
        arrivals = sum_in_order(self.source_rate[space.source_first : space.source_last])
        return [*weights, arrivals]

    def try_one(
        self, weights: list[list[float]], x: float, word: int, number: int, now: float
    ) -> bool:
        """A compartment by its sum, then a class of it."""
        for q, mine in enumerate(weights):
            if x >= sum_in_order(mine):
                x -= sum_in_order(mine)
                continue
            for c, weight in enumerate(mine):
                if x < weight:
                    return self.try_mixed(
                        q, c if c < self.n_classes else None, x, word, number, now
                    )
                x -= weight
            return False
        return False

    def density(self, q: int) -> float:
        """Tries to meet per virtual neighbour."""
        space = self.spaces[self.mixed_at[q]]
        return 1.0 if space.capacity else max(len(self.mixed[q].flat()) - 1, 0) / space.room

    def try_mixed(
        self, q: int, c: int | None, x: float, word: int, number: int, now: float
    ) -> bool:
        m = self.mixed_at[q]
        if c is None:
            return self.from_outside(q, x, number, now)
        density = self.density(q)
        _, single, paired = self.tops[m][c]
        top = single + density * paired
        segment = self.mixed[q].segments[c]
        i = min(int(x / top), len(segment) - 1)
        cell = segment[i]
        ch = self.find_channel_mixed(m, m * self.n_species + cell.species, x - i * top, density)
        return ch is not None and self.act(q, cell, self.channels[ch], word, number, now)

    def find_channel_mixed(self, m: int, n: int, v: float, density: float) -> int | None:
        if v >= self.single[n] + density * self.paired[n]:
            return None
        row = self.rows[n]
        if v < self.single[n]:
            return (
                search(v, self.channel_rate[row.channel_first : row.pair_start]) + row.channel_first
            )
        pairs = [self.pair_rate(m, c) for c in range(row.pair_start, row.channel_last)]
        return search((v - self.single[n]) / density, pairs) + row.pair_start

    def class_in(self, m: int, species: int) -> int:
        """Rate class; the idle come last."""
        c = self.rows[m * self.n_species + species].class_of
        return c if c >= 0 else self.n_classes

    def turn(self, q: int, cell: Cell, new: int, counters: int) -> None:
        """Another species for a cell, 0 removes it."""
        m = self.mixed_at[q]
        before = self.class_in(m, cell.species)
        after = self.class_in(m, new) if new else None
        if before != after:
            self.mixed[q].remove(before, cell)
            if after is not None:
                self.mixed[q].add(after, cell)
        cell.species, cell.counters = new, counters
        if new:
            self.appear(m, new)

    def join(self, q: int, cell: Cell) -> None:
        self.mixed[q].add(self.class_in(self.mixed_at[q], cell.species), cell)
        self.appear(self.mixed_at[q], cell.species)

    def mean_acceptance(self, q: int, record: SimpleNamespace, cell: Cell) -> float:
        """Local modifiers where nobody has a place: a count around takes its expected value."""
        m, p = self.mixed_at[q], 1.0
        space = self.spaces[m]
        for mod in self.modifiers[record.modifier_first : record.modifier_last]:
            values = self.modifier_values[mod.table : mod.table + mod.length]
            if mod.kind == COUNTER:
                p *= values[min(cell.counters >> mod.target & mod.reach, mod.length - 1)]
                continue
            mask = self.pattern_mask[mod.target]
            others = [other for other in self.mixed[q].flat() if other is not cell]
            sites = float(space.capacity - 1) if space.capacity else space.room
            x = float(sum(mask[other.species] for other in others))
            if mask[0]:
                x += max(sites - len(others), 0.0)
            x = self.ball_count[BALL_OF_MIXED][mod.reach] * x / sites
            low = min(int(x), mod.length - 1)
            high = min(low + 1, mod.length - 1)
            p *= (
                values[low] + (values[high] - values[low]) * (x - low)
                if high > low
                else values[low]
            )
        return p

    def act(
        self, q: int, cell: Cell, channel: SimpleNamespace, word: int, number: int, now: float
    ) -> bool:
        if channel.verb == PAIR:
            return self.meet_mixed(q, cell, channel, number)
        m = self.mixed_at[q]
        if channel.modifier_first < channel.modifier_last:
            if word / WORD >= self.mean_acceptance(q, channel, cell):
                return False
        own = cell.counters
        if channel.verb == DIVIDE:
            if self.spaces[m].capacity and not self.finds_vacancy(q, channel, number):
                return False
            a = self.updated(channel.update_a, own, self.here, number, 0)
            b = self.updated(channel.update_b, own, self.here, number, 1)
            first, second = self.daughters(cell.identity, self.here, now)
            cell.identity = first
            self.turn(q, cell, channel.product_a, a)
            self.join(q, Cell(channel.product_b, b, second))
        elif channel.verb in (LEAVE, EMIT):
            a, u, _ = self.detail(self.here, number, DETAIL)
            copies = int(channel.copies)
            copies += a < channel.copies - copies
            leaves = channel.verb == LEAVE
            product = channel.product_a if leaves else channel.product_b
            counters = self.updated(
                channel.update_a if leaves else channel.update_b, own, self.here, number, 0
            )
            sent = Cell(product, counters, cell.identity if leaves else None)
            self.deliver(channel.destination, sent, copies, u, now)
            if leaves:
                self.turn(q, cell, 0, 0)
        else:
            self.turn(
                q,
                cell,
                channel.product_a,
                self.updated(channel.update_a, own, self.here, number, 0),
            )
        self.tally[channel.tally] += 1
        return True

    def finds_vacancy(self, q: int, channel: SimpleNamespace, number: int) -> bool:
        """Whether one of the sites a daughter looks at, drawn from the other sites, is vacant."""
        space = self.spaces[self.mixed_at[q]]
        looks = {ATTEMPT: 1, IN_VACANT: space.neighbours}.get(channel.placement)
        if looks is None:
            looks = self.ball_count[BALL_OF_MIXED][channel.push]
        u = self.detail(self.here, number, DETAIL)[0]
        sites, others = space.capacity - 1, len(self.mixed[q].flat()) - 1
        occupied = 1.0
        for i in range(min(looks, sites)):
            if others - i <= 0:
                return True
            occupied *= (others - i) / (sites - i)
        return u >= occupied

    def meet_mixed(self, q: int, cell: Cell, channel: SimpleNamespace, number: int) -> bool:
        space = self.spaces[self.mixed_at[q]]
        a, u, v = self.detail(self.here, number, DETAIL)
        others = [other for other in self.mixed[q].flat() if other is not cell]
        places = space.capacity - 1 if space.capacity else len(others)
        i = min(int(a * places), places - 1)
        if not 0 <= i < len(others):
            return False
        partner = others[i]
        entry = self.find_entry(channel, partner.species, u)
        if entry is None:
            return False
        if entry.modifier_first < entry.modifier_last and v >= self.mean_acceptance(q, entry, cell):
            return False
        mine = self.updated(entry.update_a, cell.counters, self.here, number, 0)
        theirs = self.updated(entry.update_b, partner.counters, self.here, number, 1)
        self.turn(q, partner, entry.product_b, theirs)
        self.turn(q, cell, entry.product_a, mine)
        self.tally[entry.tally] += 1
        return True

    def from_outside(self, q: int, x: float, number: int, now: float) -> bool:
        space = self.spaces[self.mixed_at[q]]
        rates = self.source_rate[space.source_first : space.source_last]
        source = self.sources[space.source_first + search(x, rates)]
        if space.capacity and len(self.mixed[q].flat()) + source.batch > space.capacity:
            return False
        for copy in range(source.batch):
            counters = self.updated(source.update, 0, self.here + 2 + copy, number, 0)
            self.join(q, Cell(source.species, counters, self.inherited(None, 0, now)))
        self.tally[source.tally] += 1
        return True

    def inherited(self, identity: Identity | None, i: int, now: float) -> Identity | None:
        """At a hand-over the first copy is the same cell, further ones are new."""
        if not self.has_identity:
            return None
        if identity and i == 0:
            return identity
        if identity:
            return identity._replace(id=self.new_id(self.here))
        return Identity(self.new_id(self.here), 0, now, 0, 0)

    def deliver(self, to: int, cell: Cell, copies: int, u: float, now: float) -> None:
        space = self.spaces[to]
        made = [
            Cell(cell.species, cell.counters, self.inherited(cell.identity, i, now))
            for i in range(copies)
        ]
        if space.mixed_index >= 0:
            for copy in made:
                self.join(space.mixed_index, copy)
        else:
            k = space.first_patch + min(int(u * space.patches), space.patches - 1)
            self.patches[k].pool += made
        self.received[to, cell.species] += copies
