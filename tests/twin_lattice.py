"""The twin of the lattice kernel: candidate events on one patch, one after another."""

from __future__ import annotations

import math
from types import SimpleNamespace

import plain_random as draws
from plain_random import DETAIL, LANDING, WORD
from twin_tables import (
    BECOME,
    COUNTER,
    DIE,
    DIVIDE,
    FIELD,
    IN_VACANT,
    LEAVE,
    MOVE,
    NEAR,
    PAIR,
    PUSH,
    TRIES,
    Cell,
    Identity,
    Patch,
    Reading,
    Sent,
    sum_in_order,
)


class LatticeTwin(Reading):
    """Patches of a body."""

    # space

    def shifted(self, m: int, site: int, step: list[int] | tuple[int, ...]) -> int | None:
        """Site at an offset, or None beyond a wall."""
        space = self.spaces[m]
        size = space.nx, space.ny, space.nz
        ring = space.periodic_x, space.periodic_y, space.periodic_z
        here = site % size[0], site // size[0] % size[1], site // (size[0] * size[1])
        there = []
        for h, d, n, is_periodic in zip(here, step, size, ring, strict=True):
            if not 0 <= h + d < n and not is_periodic:
                return None
            there.append((h + d) % n)
        return there[0] + size[0] * (there[1] + size[1] * there[2])

    def is_vacant(self, patch: Patch, site: int | None) -> bool:
        return site is not None and site not in patch.cells

    def row_of(self, patch: Patch, species: int) -> SimpleNamespace:
        return self.rows[patch.compartment * self.n_species + species]

    def put(
        self, patch: Patch, site: int, new: int, counters: int = 0, identity: Identity | None = None
    ) -> None:
        """Make the site's cell one of species ``new``; 0 clears it. Lists follow."""
        cell = patch.cells.get(site)
        before = self.class_at(patch, site)
        if new == 0:
            patch.cells.pop(site, None)
        else:
            patch.cells[site] = Cell(new, counters, identity or (cell.identity if cell else None))
            self.appear(patch.compartment, new)
        after = self.class_at(patch, site)
        if before != after:
            self.relist(patch, site, before, after, was_vacant=cell is None)

    def class_at(self, patch: Patch, site: int) -> int:
        """Rate class of what is on a site, -1 for what never acts."""
        cell = patch.cells.get(site)
        return self.row_of(patch, cell.species if cell else 0).class_of

    def relist(self, patch: Patch, site: int, before: int, after: int, *, was_vacant: bool) -> None:
        if before >= 0:
            patch.classes.remove(before, site)
        if after >= 0:
            patch.classes.add(after, site)

    def exchange(self, patch: Patch, a: int, b: int) -> None:
        """What is on site a goes to b and the other way; a list's entry follows its cell."""
        first, second = patch.cells.pop(a, None), patch.cells.pop(b, None)
        if first:
            patch.cells[b] = first
        if second:
            patch.cells[a] = second
        for segment in patch.classes.segments:
            segment[:] = [{a: b, b: a}.get(site, site) for site in segment]

    def near(self, patch: Patch, mask: list[bool], reach: int, site: int) -> int:
        row = self.spaces[patch.compartment].ball_row
        around = (
            self.shifted(patch.compartment, site, o)
            for o in self.ball[row][: self.ball_count[row][reach]]
        )
        kinds = (patch.cells[s].species if s in patch.cells else 0 for s in around if s is not None)
        return sum(mask[kind] for kind in kinds)

    def acceptance(self, patch: Patch, first: int, last: int, site: int, counters: int) -> float:
        """Local modifiers over their bounds: the probability that a try is an event."""
        p = 1.0
        for m in self.modifiers[first:last]:
            if m.kind == NEAR:
                x = self.near(patch, self.pattern_mask[m.target], m.reach, site)
            elif m.kind == FIELD:
                p *= self.sensed_at(patch, m.target, site)[0]
                continue
            elif m.kind == COUNTER:
                x = counters >> m.target & m.reach
            else:
                x = int(patch.fields[m.target, site])
            p *= self.modifier_values[m.table + min(x, m.length - 1)]
        return p

    def sensed_at(self, patch: Patch, reading: int, site: int) -> list[float]:
        """What a reading of a field gives at the block of a site."""
        record = self.readings[reading]
        medium = self.media[record.medium]
        x, y, z = (place // medium.side for place in self.coordinates(patch.compartment, site))
        mine = [p for p in self.patches if p.compartment == patch.compartment]
        k = [p.first for p in mine].index(patch.first)
        block = x + medium.nx * (y + medium.ny * (z + medium.nz * k))
        first = record.first + record.numbers * block
        return self.sensed[first : first + record.numbers]

    # the lattice

    def run_patch(self, patch: Patch, begin: float, end: float) -> None:
        """A patch that is one tile, through an interval."""
        self.time = begin
        self.live(patch, end, 0)

    def next_stop(self, end: float) -> float:
        """When to halt before the end; where there are tiles, for a waiting cell."""
        return end

    def let_join(self, patch: Patch) -> None:
        """What happens at such a halt."""

    def live(self, patch: Patch, end: float, number: int) -> int:
        """Candidate events one after another; most are events, some turn out to be nothing.

        From ``self.time`` to ``end``; ``number`` of the first candidate, returns that of the next.
        """
        m, space = patch.compartment, patch.number
        while True:
            weights = [
                len(segment) * top[0]
                for segment, top in zip(patch.classes.segments, self.tops[m], strict=True)
            ]
            mine = range(m * self.n_species, (m + 1) * self.n_species)
            arrive_top = max(0.0, *(self.arrive_rate[n] for n in mine))
            total = sum_in_order(weights) + len(patch.pool) * arrive_top
            waiting, choice, word = draws.candidate(
                self.seed, self.replicate, self.window, space, number
            )
            now = self.time + waiting / total if total > 0.0 else math.inf
            stop = self.next_stop(end)
            if not now < stop:
                # the rest of this waiting time is forgotten, which an exponential allows
                self.time = stop
                number += 1
                if not stop < end:
                    return number
                self.let_join(patch)
                continue
            self.time = now
            self.attempts += 1
            x, c = choice * total, 0
            while c < self.n_classes and x >= weights[c]:
                x -= weights[c]
                c += 1
            if c == self.n_classes:
                happened = bool(patch.pool) and self.land(patch, x, arrive_top, word, number)
            else:
                happened = self.try_cell(patch, c, x, word, number, now)
            self.executed += happened
            number += 1

    def try_cell(self, patch: Patch, c: int, x: float, word: int, number: int, now: float) -> bool:
        segment, top = patch.classes.segments[c], self.tops[patch.compartment][c][0]
        i = min(int(x * (1.0 / top)), len(segment) - 1)
        site = segment[i]
        n = patch.compartment * self.n_species + patch.cells[site].species
        ch = self.find_channel(patch.compartment, n, x - i * top)
        if ch is None:
            return False
        channel = self.channels[ch]
        if channel.verb == MOVE:
            return self.move(patch, site, channel, word, number)
        if channel.verb == PAIR:
            return self.meet(patch, site, channel, word, number)
        if channel.verb == DIVIDE:
            return self.divide(patch, site, channel, word, number, now)
        cell = patch.cells[site]
        if draws_a_null(self, patch, channel, site, cell.counters, word / WORD):
            return False
        if channel.verb in (DIE, BECOME):
            counters = self.updated(channel.update_a, cell.counters, patch.number, number, 0)
            self.put(patch, site, channel.product_a, counters)
        else:
            self.send(patch, site, channel, number, now)
        self.tally[channel.tally] += 1
        return True

    def step(self, patch: Patch, site: int, word: int) -> tuple[int | None, float]:
        """A neighbour by the high part of word times neighbours, and the low part as a uniform."""
        neighbours = self.spaces[patch.compartment].neighbours
        d, low = divmod(word * neighbours, WORD)
        return self.shifted(
            patch.compartment, site, self.direction[patch.compartment][d]
        ), low / WORD

    def move(
        self, patch: Patch, site: int, channel: SimpleNamespace, word: int, number: int
    ) -> bool:
        other, u = self.step(patch, site, word)
        if channel.steer >= 0:
            m = patch.compartment
            step = self.direction[m][word * self.spaces[m].neighbours // WORD]
            a, b, c = self.sensed_at(patch, channel.steer, site)
            dx, dy, dz = step
            along = (a * dx + b * dy + c * dz) / math.sqrt(dx * dx + dy * dy + dz * dz)
            if self.detail(patch.number, number, DETAIL)[0] < 0.5 * (1.0 - along):
                other = self.shifted(m, site, [-dx, -dy, -dz])
        if other is None:
            return False
        there = patch.cells.get(other)
        if there and (channel.swap < 0 or not self.pattern_mask[channel.swap][there.species]):
            return False
        if draws_a_null(self, patch, channel, site, patch.cells[site].counters, u):
            return False
        self.exchange(patch, site, other)
        self.tally[channel.tally] += 1
        return True

    def meet(
        self, patch: Patch, site: int, channel: SimpleNamespace, word: int, number: int
    ) -> bool:
        m = patch.compartment
        offsets = self.ball[self.spaces[m].ball_row] if channel.reach else self.direction[m]
        d, low = divmod(word * self.offsets(m, channel.reach), WORD)
        other = self.shifted(m, site, offsets[d])
        if other is None:
            return False
        here, there = patch.cells[site], patch.cells.get(other)
        entry = self.find_entry(channel, there.species if there else 0, low / WORD)
        if entry is None:
            return False
        if entry.modifier_first < entry.modifier_last:
            u = self.detail(patch.number, number, DETAIL)[1]
            if draws_a_null(self, patch, entry, site, here.counters, u):
                return False
        a = self.updated(entry.update_a, here.counters, patch.number, number, 0)
        b = self.updated(entry.update_b, there.counters, patch.number, number, 1)
        self.put(patch, site, entry.product_a, a)
        self.put(patch, other, entry.product_b, b)
        self.tally[entry.tally] += 1
        return True

    def find_entry(
        self, channel: SimpleNamespace, partner: int, u: float
    ) -> SimpleNamespace | None:
        w = u * self.pair_top[channel.pair_table]
        first, last = self.entry_range[channel.pair_table * self.n_species + partner]
        total = 0.0
        for e in range(first, last):
            total += self.entry_rate[e]
            if w < total:
                return self.entries[e]
        return None

    def divide(
        self, patch: Patch, site: int, channel: SimpleNamespace, word: int, number: int, now: float
    ) -> bool:
        mother = patch.cells[site]
        other, u = self.step(patch, site, word)
        if channel.modifier_first < channel.modifier_last:
            p = self.acceptance(
                patch, channel.modifier_first, channel.modifier_last, site, mother.counters
            )
            if u >= p:
                return False
            u /= p
        if channel.placement == IN_VACANT:
            other = self.vacant_neighbour(patch, site, u)
        elif channel.placement == PUSH:
            a, b, _ = self.detail(patch.number, number, DETAIL)
            other = self.push(patch, site, channel.push, a, b)
        if not self.is_vacant(patch, other):
            return False
        a = self.updated(channel.update_a, mother.counters, patch.number, number, 0)
        b = self.updated(channel.update_b, mother.counters, patch.number, number, 1)
        first, second = self.daughters(mother.identity, patch.number, now)
        self.put(patch, other, channel.product_b, b, second)
        self.put(patch, site, channel.product_a, a, first)
        self.tally[channel.tally] += 1
        return True

    def vacant_neighbour(self, patch: Patch, site: int, u: float) -> int | None:
        m = patch.compartment
        steps = self.direction[m][: self.spaces[m].neighbours]
        free = [s for s in (self.shifted(m, site, d) for d in steps) if self.is_vacant(patch, s)]
        return free[min(int(u * len(free)), len(free) - 1)] if free else None

    def push(self, patch: Patch, site: int, reach: int, u: float, v: float) -> int | None:
        """Shift a chain of cells to one of the nearest vacancies; the site that falls vacant."""
        m = patch.compartment
        row = self.spaces[m].ball_row
        by_distance: dict[int, list[list[int]]] = {}
        for o in self.ball[row][: self.ball_count[row][reach]]:
            if self.is_vacant(patch, self.shifted(m, site, o)):
                by_distance.setdefault(o[0] ** 2 + o[1] ** 2 + o[2] ** 2, []).append(o)
        for far in sorted(by_distance):
            tied = by_distance[far]
            start = min(int(u * len(tied)), len(tied) - 1)
            for o in tied[start:] + tied[:start]:
                path = self.chain(patch, site, o, v)
                if path is None:
                    continue
                stop = next(i for i, s in enumerate(path) if s not in patch.cells)
                for i in range(stop, 0, -1):
                    self.exchange(patch, path[i - 1], path[i])
                return path[0]
        return None

    def chain(self, patch: Patch, site: int, offset: list[int], v: float) -> list[int] | None:
        """Single steps to an offset, axes drawn in proportion to the steps left on them."""
        left = [abs(d) for d in offset]
        sign = [(d > 0) - (d < 0) for d in offset]
        at, path, n = [0, 0, 0], [], sum(left)
        for i in range(n):
            scaled = v * (n - i)
            pick = min(int(scaled), n - i - 1)
            v = scaled - pick
            axis = 0 if pick < left[0] else 1 if pick < left[0] + left[1] else 2
            left[axis] -= 1
            at[axis] += sign[axis]
            place = self.shifted(patch.compartment, site, at)
            if place is None:
                return None
            if (
                i < n - 1
                and place in patch.cells
                and self.row_of(patch, patch.cells[place].species).is_static
            ):
                return None
            path.append(place)
        return path

    def send(
        self, patch: Patch, site: int, channel: SimpleNamespace, number: int, now: float
    ) -> None:
        """Cells to another compartment; they go into the outbox with their time."""
        cell = patch.cells[site]
        a = self.detail(patch.number, number, DETAIL)[0]
        copies = int(channel.copies)
        copies += a < channel.copies - copies
        leaves = channel.verb == LEAVE
        update = channel.update_a if leaves else channel.update_b
        counters = self.updated(update, cell.counters, patch.number, number, 0)
        if copies:
            product = channel.product_a if leaves else channel.product_b
            sent = Cell(product, counters, cell.identity if leaves else None)
            patch.outbox.append(Sent(now, sent, channel.destination, copies))
        if leaves:
            self.put(patch, site, 0)

    def land(self, patch: Patch, x: float, top: float, word: int, number: int) -> bool:
        """A waiting cell on a vacant site, sites in proportion to the arrival's modifiers."""
        i, goal = self.find_landing(patch, x, top, word / WORD, number)
        if goal is None:
            return False
        cell = self.leave_pool(patch, i)
        self.put(patch, goal, cell.species, cell.counters, cell.identity)
        return True

    def find_landing(
        self, patch: Patch, x: float, top: float, u: float, number: int
    ) -> tuple[int, int | None]:
        """Which cell of the pool tries, and the site it lands on."""
        i = min(int(x / top), len(patch.pool) - 1)
        cell = patch.pool[i]
        n = patch.compartment * self.n_species + cell.species
        if x - i * top >= self.arrive_rate[n]:
            return i, None
        first, last = self.rows[n].arrive_modifier_first, self.rows[n].arrive_modifier_last
        space = self.spaces[patch.compartment]
        sites = space.nx * space.ny * space.nz

        def worth(site: int) -> float:
            return self.acceptance(patch, first, last, site, cell.counters)

        for trial in range(TRIES):
            a, b, _ = self.detail(patch.number, number, LANDING, trial)
            site = min(int(a * sites), sites - 1)
            if site not in patch.cells and (first == last or b < worth(site)):
                return i, site
        goal = None
        free = [(site, worth(site)) for site in range(sites) if site not in patch.cells]
        left = u * sum_in_order(p for _, p in free)
        for site, p in free:
            if p > 0.0:
                goal = site
                if left < p:
                    break
                left -= p
        return i, goal

    def leave_pool(self, patch: Patch, i: int) -> Cell:
        """Take a cell out of the pool and book its arrival."""
        cell = patch.pool[i]
        patch.pool[i] = patch.pool[-1]
        patch.pool.pop()
        n = patch.compartment * self.n_species + cell.species
        self.tally[self.rows[n].arrive_tally] += 1
        return cell


def draws_a_null(
    twin: LatticeTwin, patch: Patch, record: SimpleNamespace, site: int, counters: int, u: float
) -> bool:
    first, last = record.modifier_first, record.modifier_last
    return first < last and u >= twin.acceptance(patch, first, last, site, counters)
