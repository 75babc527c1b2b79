"""A slow twin of the kernels: plain Python, lists and loops, the same tables and the same draws.

It is the specification of one exchange interval, written to be read. It must give the same bits as the
compiled engine, so every sum runs in the stated order. Nothing here imports the package: verbs and
kinds are numbered as in the tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import plain_random as draws
from plain_random import COUNTING, DETAIL, LANDING, ROUTING, WORD, exponential, logarithm, power

DIE, BECOME, DIVIDE, MOVE, PAIR, LEAVE, EMIT = range(7)
ATTEMPT, IN_VACANT, PUSH = range(3)
NEAR, DISTANCE, SITE, COUNTER = range(4)
KEEP, ADD, SET, HALVE_UP, HALVE_DOWN, RESAMPLE = range(6)
HILL, INVERSE_HILL, LINEAR, STEP, EXPONENTIAL, TABLE = range(6)
DYNAMIC = 0
TRIES = 1024
NODE = 0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970263
NODE_WEIGHT = 0.17392742256872692, 0.32607257743127307, 0.32607257743127307, 0.17392742256872692
BALL_OF_MIXED = 0  # a mixed compartment counts offsets as in three dimensions


class Identity(NamedTuple):
    id: int
    parent: int
    birth: float
    clone: int
    generation: int


@dataclass(eq=False)
class Cell:
    """Two cells are never equal: a list finds the one that is meant."""

    species: int
    counters: int = 0
    identity: Identity | None = None


@dataclass
class Sent:
    """Cells on the way from a patch to another compartment."""

    time: float
    cell: Cell
    to: int
    copies: int


class Classes:
    """Acting cells by rate class, in one row: what leaves or joins a class shifts those behind it."""

    def __init__(self, segments: list[list[Any]]):
        self.segments = segments

    def add(self, c: int, item: Any) -> None:
        """The first of every later class goes to its end, which frees the place after class c."""
        for segment in self.segments[c + 1 :]:
            segment[:] = segment[1:] + segment[:1]
        self.segments[c].append(item)

    def remove(self, c: int, item: Any) -> None:
        """The last of the class takes the place; the last of every later class goes to its front."""
        mine = self.segments[c]
        mine[mine.index(item)] = mine[-1]
        mine.pop()
        for segment in self.segments[c + 1 :]:
            segment[:] = segment[-1:] + segment[:-1]

    def flat(self) -> list[Any]:
        return [item for segment in self.segments for item in segment]


@dataclass
class Patch:
    """A lattice: cells by site, sites by class, cells that wait for a place."""

    number: int
    compartment: int
    first: int
    cells: dict[int, Cell]
    classes: Classes
    fields: np.ndarray
    pool: list[Cell] = field(default_factory=list)
    outbox: list[Sent] = field(default_factory=list)


def rows_of(records: np.ndarray) -> list[SimpleNamespace]:
    """Records as plain objects with Python numbers."""
    names = records.dtype.names
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in records.tolist()]


class Twin:
    """One body of a simulation at time zero, run on by `interval`."""

    def __init__(self, simulation: Any, r: int = 0):
        tab, geo, state = simulation.tables, simulation.geometry, simulation.state
        for name in ("rows", "channels", "entries", "modifiers", "operations", "sources"):
            setattr(self, name, rows_of(getattr(tab, name)))
        for name in ("terms", "signals", "count_terms"):
            setattr(self, name, rows_of(getattr(tab, name)))
        for name in ("entry_range", "modifier_values", "pattern_mask", "update_range", "weights"):
            setattr(self, name, getattr(tab, name).tolist())
        self.factor_range, self.law_points = tab.factor_range.tolist(), tab.law.tolist()
        self.spaces, self.n_species, self.n_classes = rows_of(geo.spaces), tab.n_species, tab.n_classes
        self.has_identity = tab.has_identity
        self.direction, self.ball = geo.direction.tolist(), geo.ball.tolist()
        self.ball_count = geo.ball_count.tolist()
        self.mixed_at = geo.mixed_compartment.tolist()
        self.seed = int(simulation.seed)
        self.replicate = int(state.body.progress["replicate"][r])
        self.tally = [0] * state.body.tally.shape[1]
        self.received = np.zeros_like(state.body.received[r])
        self.levels = state.body.signals[r].tolist()
        self.births = [0] * (len(geo.patches) + 1)
        self.attempts = self.executed = 0
        self.time, self.window = 0.0, 0
        self.patches = [self._patch(tab, geo, state, r, k) for k in range(len(geo.patches))]
        self.mixed = [self._mixture(tab, state, r, q) for q in range(len(self.mixed_at))]

    def _patch(self, tab: Any, geo: Any, state: Any, r: int, k: int) -> Patch:
        compartment, first, last = (int(v) for v in geo.patches[k])
        lattice = state.lattice
        cells = {}
        for site in np.nonzero(lattice.species[r, first:last])[0].tolist():
            place = first + site
            cells[site] = Cell(
                int(lattice.species[r, place]),
                int(lattice.counters[r, place]) if tab.has_counters else 0,
                self._identity(lattice.identity, r, place),
            )
        bounds = lattice.bounds[r, k].tolist()
        order = lattice.order[r, first:last].tolist()
        segments = [order[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
        return Patch(k, compartment, first, cells, Classes(segments), lattice.fields[:, r, first:last].copy())

    def _mixture(self, tab: Any, state: Any, r: int, q: int) -> Classes:
        mix = state.mixed
        first, bounds = int(mix.first[q]), mix.bounds[r, q].tolist()
        segments = []
        for a, b in zip(bounds[:-1], bounds[1:], strict=True):
            slots = range(first + a, first + b)
            segments.append(
                [
                    Cell(
                        int(mix.species[r, i]),
                        int(mix.counters[r, i]) if tab.has_counters else 0,
                        self._identity(mix.identity, r, i),
                    )
                    for i in slots
                ]
            )
        return Classes(segments)

    def _identity(self, records: np.ndarray, r: int, place: int) -> Identity | None:
        return Identity(*records[r, place].tolist()) if self.has_identity else None

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

    def count(self, compartment: int, species: int) -> int:
        if self.spaces[compartment].is_lattice:
            cells = (c for p in self.patches if p.compartment == compartment for c in p.cells.values())
        else:
            cells = iter(self.mixed[self.spaces[compartment].mixed_index].flat())
        return sum(cell.species == species for cell in cells)

    # signals

    def counted(self, first: int, last: int) -> list[float]:
        found = []
        for term in self.count_terms[first:last]:
            mask = self.pattern_mask[term.pattern]
            kinds = (s for s in range(1, self.n_species) if mask[s])
            found.append(sum(self.count(term.compartment, s) for s in kinds) * term.rate)
        return found

    def read_signals(self, width: float, given: list[list[float]]) -> list[list[float]]:
        """Levels at four nodes and at the end, from counts at the start."""
        nodes: list[list[float]] = [[] for _ in range(5)]
        for g, signal in enumerate(self.signals):
            if signal.kind != DYNAMIC:
                for n in range(5):
                    nodes[n].append(given[signal.given][n])
                continue
            income, loss = signal.production, signal.clearance
            for part in self.counted(signal.yield_first, signal.yield_last):
                income += part
            for part in self.counted(signal.clear_first, signal.clear_last):
                loss += part
            s, at = self.levels[g], 0.0
            for n, goal in enumerate((*NODE, 1.0)):
                s = stepped(s, (goal - at) * width, income, loss, signal.maximum, signal.half)
                at = goal
                nodes[n].append(s)
        return nodes

    def average_factors(self, nodes: list[list[float]]) -> list[float]:
        """Mean over the interval of every product of laws; number 0 is 1."""
        factors = [1.0]
        for first, last in self.factor_range[1:]:
            total = 0.0
            for n in range(4):
                value = 1.0
                for term in self.terms[first:last]:
                    value *= self.law(term, nodes[n][term.signal])
                total += NODE_WEIGHT[n] * value
            factors.append(total)
        return factors

    def law(self, term: SimpleNamespace, x: float) -> float:
        if term.kind in (HILL, INVERSE_HILL):
            e = x - term.p4
            share = 0.0
            if e != 0.0:
                share = math.copysign(1.0 / (1.0 + power(term.p2 / abs(e), term.p3)), e)
            if term.kind == INVERSE_HILL:
                share = 1.0 - share
            if term.geometric:
                return exponential((1.0 - share) * logarithm(term.p0) + share * logarithm(term.p1))
            return term.p0 + (term.p1 - term.p0) * share
        if term.kind == LINEAR:
            return min(max(term.p0 + term.p1 * x, term.p2), term.p3)
        if term.kind == STEP:
            return term.p1 if x < term.p0 else term.p2
        if term.kind == EXPONENTIAL:
            return term.p0 * (1.0 - exponential(-x / term.p1))
        points = self.law_points[term.first : term.last]
        if x <= points[0][0]:
            return points[0][1]
        for (x0, y0), (x1, y1) in zip(points[:-1], points[1:], strict=True):
            if x < x1:
                return y0 + (y1 - y0) / (x1 - x0) * (x - x0)
        return points[-1][1]

    # rates

    def set_rates(self, factors: list[float]) -> None:
        """Rates of channels and entries, and the greatest of every class: its cells' rate of tries."""
        self.channel_rate = [c.base * factors[c.factor] for c in self.channels]
        self.entry_rate = [e.base * factors[e.factor] for e in self.entries]
        self.pair_top = [
            max(
                sum_in_order(self.entry_rate[slice(*self.entry_range[place])])
                for place in range(p * self.n_species, (p + 1) * self.n_species)
            )
            for p in range(len(self.entry_range) // self.n_species)
        ]
        self.single, self.paired = {}, {}
        self.tops: list[list[tuple[float, float, float]]] = []
        for m in range(len(self.spaces)):
            tops = [(0.0, 0.0, 0.0)] * self.n_classes
            for n in range(m * self.n_species, (m + 1) * self.n_species):
                row = self.rows[n]
                if row.class_of < 0:
                    continue
                single = sum_in_order(self.channel_rate[row.channel_first : row.pair_start])
                paired = sum_in_order(self.pair_rate(m, c) for c in range(row.pair_start, row.channel_last))
                self.single[n], self.paired[n] = single, paired
                tops[row.class_of] = tuple(
                    max(a, b) for a, b in zip(tops[row.class_of], (single + paired, single, paired), strict=True)
                )
            self.tops.append(tops)
        self.arrive_rate = [row.arrive_rate * factors[row.arrive_factor] for row in self.rows]
        self.source_rate = [s.rate * factors[s.factor] for s in self.sources]

    def offsets(self, m: int, reach: int) -> int:
        """Sites a pair channel may pick from."""
        return self.ball_count[self.spaces[m].ball_row][reach] if reach else self.spaces[m].neighbours

    def pair_rate(self, m: int, ch: int) -> float:
        channel = self.channels[ch]
        return self.offsets(m, channel.reach) * self.pair_top[channel.pair_table]

    def find_channel(self, m: int, n: int, v: float, density: float = 1.0) -> int | None:
        """Channel of row n under the rate v; None for a null event."""
        row = self.rows[n]
        if v < self.single[n]:
            return search(v, self.channel_rate[row.channel_first : row.pair_start]) + row.channel_first
        v -= self.single[n]
        if v >= density * self.paired[n]:
            return None
        pairs = [self.pair_rate(m, c) for c in range(row.pair_start, row.channel_last)]
        return search(v / density, pairs) + row.pair_start

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

    def put(self, patch: Patch, site: int, new: int, counters: int = 0, identity: Any = None) -> None:
        """Make the site's cell one of species ``new``; 0 clears it. Lists follow."""
        cell = patch.cells.get(site)
        old = cell.species if cell else 0
        before, after = self.row_of(patch, old).class_of, self.row_of(patch, new).class_of
        if before != after:
            if before >= 0:
                patch.classes.remove(before, site)
            if after >= 0:
                patch.classes.add(after, site)
        if new == 0:
            patch.cells.pop(site, None)
        else:
            patch.cells[site] = Cell(new, counters, identity or (cell.identity if cell else None))

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
        around = (self.shifted(patch.compartment, site, o) for o in self.ball[row][: self.ball_count[row][reach]])
        kinds = (patch.cells[s].species if s in patch.cells else 0 for s in around if s is not None)
        return sum(mask[kind] for kind in kinds)

    def acceptance(self, patch: Patch, first: int, last: int, site: int, counters: int) -> float:
        """Local modifiers over their bounds: the probability that a try is an event."""
        p = 1.0
        for m in self.modifiers[first:last]:
            if m.kind == NEAR:
                x = self.near(patch, self.pattern_mask[m.target], m.reach, site)
            elif m.kind == COUNTER:
                x = counters >> m.target & m.reach
            else:
                x = int(patch.fields[m.target, site])
            p *= self.modifier_values[m.table + min(x, m.length - 1)]
        return p

    # cells

    def updated(self, update: int, counters: int, space: int, candidate: int, product: int) -> int:
        """Packed counters of a product, from those of the reactant."""
        result = 0
        if update < 0:
            return result
        first, last = self.update_range[update]
        for i, op in enumerate(self.operations[first:last]):
            value = counters >> op.shift & op.mask
            if op.kind == ADD:
                value += op.amount
            elif op.kind == SET:
                value = op.amount
            elif op.kind == HALVE_UP:
                value = (value + 1) // 2
            elif op.kind == HALVE_DOWN:
                value = value // 2
            elif op.kind == RESAMPLE:
                u = self.detail(space, candidate, COUNTING + 4 * product + i)[0]
                ends = self.weights[op.weights : op.weights + op.maximum]
                value = next((v for v, end in enumerate(ends) if u < end), op.maximum)
            result |= min(max(value, 0), op.maximum) << op.target
        return result

    def detail(self, space: int, candidate: int, purpose: int, above: int = 0) -> tuple[float, ...]:
        window = self.window + (above << 20)
        return draws.detail(self.seed, self.replicate, window, space, candidate, purpose)

    def new_id(self, space: int) -> int:
        """Window (24 bits), space (12), ordinal of the birth within both (28)."""
        ordinal = self.births[space]
        self.births[space] += 1
        return self.window << 40 | space << 28 | ordinal

    def daughters(self, mother: Identity | None, space: int, now: float) -> list[Identity | None]:
        if mother is None:
            return [None, None]
        rest = mother.id, now, mother.clone, mother.generation + 1
        return [Identity(self.new_id(space), *rest) for _ in range(2)]

    # the lattice

    def run_patch(self, patch: Patch, begin: float, end: float) -> None:
        """Candidate events one after another; most are events, some turn out to be nothing."""
        m, space = patch.compartment, patch.number
        self.time, number = begin, 0
        while True:
            weights = [
                len(segment) * top[0]
                for segment, top in zip(patch.classes.segments, self.tops[m], strict=True)
            ]
            mine = range(m * self.n_species, (m + 1) * self.n_species)
            arrive_top = max(0.0, *(self.arrive_rate[n] for n in mine))
            total = sum_in_order(weights) + len(patch.pool) * arrive_top
            waiting, choice, word = draws.candidate(self.seed, self.replicate, self.window, space, number)
            now = self.time + waiting / total if total > 0.0 else math.inf
            if not now < end:
                return
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
            return self.move(patch, site, channel, word)
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
        return self.shifted(patch.compartment, site, self.direction[patch.compartment][d]), low / WORD

    def move(self, patch: Patch, site: int, channel: SimpleNamespace, word: int) -> bool:
        other, u = self.step(patch, site, word)
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

    def meet(self, patch: Patch, site: int, channel: SimpleNamespace, word: int, number: int) -> bool:
        m = patch.compartment
        if channel.reach:
            offsets = self.ball[self.spaces[m].ball_row]
        else:
            offsets = self.direction[m]
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

    def find_entry(self, channel: SimpleNamespace, partner: int, u: float) -> SimpleNamespace | None:
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
            p = self.acceptance(patch, channel.modifier_first, channel.modifier_last, site, mother.counters)
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
            if i < n - 1 and place in patch.cells and self.row_of(patch, patch.cells[place].species).is_static:
                return None
            path.append(place)
        return path

    def send(self, patch: Patch, site: int, channel: SimpleNamespace, number: int, now: float) -> None:
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
        i = min(int(x / top), len(patch.pool) - 1)
        cell = patch.pool[i]
        n = patch.compartment * self.n_species + cell.species
        if x - i * top >= self.arrive_rate[n]:
            return False
        first, last = self.rows[n].arrive_modifier_first, self.rows[n].arrive_modifier_last
        sites = patch.fields.shape[1] if patch.fields.shape[0] else self.n_sites(patch)

        def worth(site: int) -> float:
            return self.acceptance(patch, first, last, site, cell.counters)

        goal = None
        for trial in range(TRIES):
            a, b, _ = self.detail(patch.number, number, LANDING, trial)
            site = min(int(a * sites), sites - 1)
            if site not in patch.cells and (first == last or b < worth(site)):
                goal = site
                break
        if goal is None:
            free = [(site, worth(site)) for site in range(sites) if site not in patch.cells]
            left = word / WORD * sum_in_order(p for _, p in free)
            for site, p in free:
                if p > 0.0:
                    goal = site
                    if left < p:
                        break
                    left -= p
        if goal is None:
            return False
        self.put(patch, goal, cell.species, cell.counters, cell.identity)
        patch.pool[i] = patch.pool[-1]
        patch.pool.pop()
        self.tally[self.rows[n].arrive_tally] += 1
        return True

    def n_sites(self, patch: Patch) -> int:
        space = self.spaces[patch.compartment]
        return space.nx * space.ny * space.nz

    # mixed compartments

    @property
    def here(self) -> int:
        """The mixed compartments' number among spaces: after the patches."""
        return len(self.patches)

    def run_mixed(self, begin: float, end: float) -> None:
        """All mixed compartments in one clock; what patches sent comes in at its own time."""
        self.time, number = begin, 0
        outboxes = [list(patch.outbox) for patch in self.patches]
        while True:
            groups = []  # (mixed compartment, class or None for arrivals, weight)
            for q, m in enumerate(self.mixed_at):
                density = self.density(q)
                for c in range(self.n_classes):
                    _, single, paired = self.tops[m][c]
                    size = len(self.mixed[q].segments[c])
                    groups.append((q, c, size * (single + density * paired)))
                space = self.spaces[m]
                arrivals = sum_in_order(self.source_rate[space.source_first : space.source_last])
                groups.append((q, None, arrivals))
            total = sum_in_order(w for *_, w in groups)
            due, sender = min(((box[0].time, k) for k, box in enumerate(outboxes) if box), default=(math.inf, -1))
            waiting, choice, word = draws.candidate(self.seed, self.replicate, self.window, self.here, number)
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
            x = choice * total
            for q, c, weight in groups:
                if x < weight:
                    self.executed += self.try_mixed(q, c, x, word, number, now)
                    break
                x -= weight
            number += 1

    def density(self, q: int) -> float:
        """Tries to meet per virtual neighbour."""
        space = self.spaces[self.mixed_at[q]]
        return 1.0 if space.capacity else max(len(self.mixed[q].flat()) - 1, 0) / space.room

    def try_mixed(self, q: int, c: int | None, x: float, word: int, number: int, now: float) -> bool:
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
            return search(v, self.channel_rate[row.channel_first : row.pair_start]) + row.channel_first
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

    def join(self, q: int, cell: Cell) -> None:
        self.mixed[q].add(self.class_in(self.mixed_at[q], cell.species), cell)

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
            p *= values[low] + (values[high] - values[low]) * (x - low) if high > low else values[low]
        return p

    def act(self, q: int, cell: Cell, channel: SimpleNamespace, word: int, number: int, now: float) -> bool:
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
            counters = self.updated(channel.update_a if leaves else channel.update_b, own, self.here, number, 0)
            sent = Cell(product, counters, cell.identity if leaves else None)
            self.deliver(channel.destination, sent, copies, u, now)
            if leaves:
                self.turn(q, cell, 0, 0)
        else:
            self.turn(q, cell, channel.product_a, self.updated(channel.update_a, own, self.here, number, 0))
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
            counters = self.updated(source.update, 0, self.here, number, copy % 2)
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
            Cell(cell.species, cell.counters, self.inherited(cell.identity, i, now)) for i in range(copies)
        ]
        if space.mixed_index >= 0:
            for copy in made:
                self.join(space.mixed_index, copy)
        else:
            k = space.first_patch + min(int(u * space.patches), space.patches - 1)
            self.patches[k].pool += made
        self.received[to, cell.species] += copies


def draws_a_null(twin: Twin, patch: Patch, record: SimpleNamespace, site: int, counters: int, u: float) -> bool:
    first, last = record.modifier_first, record.modifier_last
    return first < last and u >= twin.acceptance(patch, first, last, site, counters)


def sum_in_order(values: Any) -> float:
    """One addition after another; the built-in sum compensates."""
    total = 0.0
    for value in values:
        total += value
    return total


def search(v: float, rates: list[float]) -> int:
    """First place whose running sum exceeds v; the last if none does."""
    total = 0.0
    for i, rate in enumerate(rates):
        total += rate
        if v < total:
            return i
    return len(rates) - 1


def stepped(s: float, h: float, income: float, loss: float, maximum: float, half: float) -> float:
    """ds/dt = income - loss s - maximum s / (half + s) over a time h."""
    if maximum == 0.0:
        if loss * h < 1e-12:
            return s + income * h
        goal = income / loss
        return goal + (s - goal) * exponential(-loss * h)

    def slope(x: float) -> float:
        return income - loss * x - maximum * x / (half + x)

    d = h / 8
    for _ in range(8):
        k1 = slope(s)
        k2 = slope(s + 0.5 * d * k1)
        k3 = slope(s + 0.5 * d * k2)
        k4 = slope(s + d * k3)
        s = max(s + d / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), 0.0)
    return s
