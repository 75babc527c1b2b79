"""The twin's reading of the tables: a body's cells, signals, rates, and what becomes of a cell's numbers.

Plain Python; every sum runs in the stated order. Nothing here may import the package.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import plain_random as draws
from plain_random import COUNTING, exponential, logarithm, power

DIE, BECOME, DIVIDE, MOVE, PAIR, LEAVE, EMIT = range(7)
ATTEMPT, IN_VACANT, PUSH = range(3)
NEAR, DISTANCE, SITE, COUNTER, FIELD = range(5)
KEEP, ADD, SET, HALVE_UP, HALVE_DOWN, RESAMPLE = range(6)
HILL, INVERSE_HILL, LINEAR, STEP, EXPONENTIAL, TABLE = range(6)
DYNAMIC = 0
TRIES = 1024
NODE = 0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970263
NODE_WEIGHT = 0.17392742256872692, 0.32607257743127307, 0.32607257743127307, 0.17392742256872692


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
class Tile:
    """A part of a patch: its acting cells by class, and those whose clock is not the tile's."""

    number: int  # among all tiles of a body
    place: int  # among those of the patch
    box: SimpleNamespace
    listed: Classes
    waiting: list[int] = field(default_factory=list)
    drawn: int = 0
    posts: dict[int, list[int]] = field(default_factory=dict)  # by direction


@dataclass
class Patch:
    """A lattice: cells by site, sites by class, cells that wait for a place."""

    number: int  # of its first tile
    compartment: int
    first: int
    cells: dict[int, Cell]
    classes: Classes
    fields: np.ndarray
    tiles: list[Tile]
    pool: list[Cell] = field(default_factory=list)
    outbox: list[Sent] = field(default_factory=list)


def rows_of(records: np.ndarray) -> list[SimpleNamespace]:
    """Records as plain objects with Python numbers."""
    names = records.dtype.names
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in records.tolist()]


class Reading:
    """One body of a simulation at time zero, and the rates of an interval."""

    def __init__(self, simulation: Any, r: int = 0):
        tab, geo, state = simulation.tables, simulation.geometry, simulation.state
        for name in ("rows", "channels", "entries", "modifiers", "operations", "sources"):
            setattr(self, name, rows_of(getattr(tab, name)))
        for name in ("terms", "signals", "count_terms", "media", "readings"):
            setattr(self, name, rows_of(getattr(tab, name)))
        for name in ("entry_range", "modifier_values", "pattern_mask", "update_range", "weights"):
            setattr(self, name, getattr(tab, name).tolist())
        self.factor_range, self.law_points = tab.factor_range.tolist(), tab.law.tolist()
        self.spaces, self.n_species, self.n_classes = (
            rows_of(geo.spaces),
            tab.n_species,
            tab.n_classes,
        )
        self.has_identity = tab.has_identity
        self.n_units, self.tile_records = geo.n_units, rows_of(geo.tiles)
        self.longest = float(simulation.scenario.run.window_h)
        self.direction, self.ball = geo.direction.tolist(), geo.ball.tolist()
        self.ball_count = geo.ball_count.tolist()
        self.mixed_at = geo.mixed_compartment.tolist()
        self.seed = int(simulation.seed)
        self.replicate = int(state.body.progress["replicate"][r])
        self.tally = [0] * state.body.tally.shape[1]
        self.received = np.zeros_like(state.body.received[r])
        self.levels = state.body.signals[r].tolist()
        self.sensed: list[
            float
        ] = []  # of fields, as the engine has it; given before every interval
        self.births = [0] * (geo.n_units + 1)
        self.attempts = self.executed = 0
        self.time, self.window = 0.0, 0
        self.patches = [self._patch(tab, geo, state, r, k) for k in range(len(geo.patches))]
        self.mixed = [self._mixture(tab, state, r, q) for q in range(len(self.mixed_at))]

    def _patch(self, tab: Any, geo: Any, state: Any, r: int, k: int) -> Patch:
        compartment, first, last, unit = (int(v) for v in geo.patches[k])
        lattice = state.lattice
        cells = {}
        for site in np.nonzero(lattice.species[r, first:last])[0].tolist():
            place = first + site
            cells[site] = Cell(
                int(lattice.species[r, place]),
                int(lattice.counters[r, place]) if tab.has_counters else 0,
                self._identity(lattice.identity, r, place),
            )
        space = self.spaces[compartment]
        tiles = []
        for i in range(space.tiles_x * space.tiles_y * space.tiles_z):
            box = self.tile_records[space.tile_first + i]
            bounds = lattice.bounds[r, unit + i, :-1].tolist()
            order = lattice.order[r, first + box.first : first + box.last].tolist()
            segments = [
                [box.first + local for local in order[a:b]] for a, b in itertools.pairwise(bounds)
            ]
            tiles.append(Tile(unit + i, i, box, Classes(segments)))
        fields = lattice.fields[:, r, first:last].copy()
        return Patch(unit, compartment, first, cells, tiles[0].listed, fields, tiles)

    def _mixture(self, tab: Any, state: Any, r: int, q: int) -> Classes:
        mix = state.mixed
        first, bounds = int(mix.first[q]), mix.bounds[r, q].tolist()
        segments = []
        for a, b in itertools.pairwise(bounds):
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

    def count(self, compartment: int, species: int) -> int:
        if self.spaces[compartment].is_lattice:
            cells = (
                c for p in self.patches if p.compartment == compartment for c in p.cells.values()
            )
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
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            if x < x1:
                return y0 + (y1 - y0) / (x1 - x0) * (x - x0)
        return points[-1][1]

    # rates

    def set_rates(self, factors: list[float]) -> None:
        """Rates of channels and entries, and the greatest of every class: its cells' rate of tries.

        Those of species that are not there do not count until they appear. Where tiles share a patch
        all count.
        """
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
        self.tops = [[(0.0, 0.0, 0.0)] * self.n_classes for _ in self.spaces]
        for m, space in enumerate(self.spaces):
            is_cut = space.tiles_x * space.tiles_y * space.tiles_z > 1
            for n in range(m * self.n_species, (m + 1) * self.n_species):
                row = self.rows[n]
                if row.class_of < 0:
                    continue
                single = sum_in_order(self.channel_rate[row.channel_first : row.pair_start])
                paired = sum_in_order(
                    self.pair_rate(m, c) for c in range(row.pair_start, row.channel_last)
                )
                self.single[n], self.paired[n] = single, paired
                if is_cut or self.count(m, n % self.n_species):
                    self.appear(m, n % self.n_species)
        self.arrive_rate = [row.arrive_rate * factors[row.arrive_factor] for row in self.rows]
        self.source_rate = [s.rate * factors[s.factor] for s in self.sources]

    def appear(self, m: int, species: int) -> None:
        """A species is present: a class is as fast as the fastest that has been there."""
        n = m * self.n_species + species
        c = self.rows[n].class_of
        if c < 0:
            return
        mine = self.single[n] + self.paired[n], self.single[n], self.paired[n]
        self.tops[m][c] = tuple(max(a, b) for a, b in zip(self.tops[m][c], mine, strict=True))

    def offsets(self, m: int, reach: int) -> int:
        """Sites a pair channel may pick from."""
        return (
            self.ball_count[self.spaces[m].ball_row][reach] if reach else self.spaces[m].neighbours
        )

    def pair_rate(self, m: int, ch: int) -> float:
        channel = self.channels[ch]
        return self.offsets(m, channel.reach) * self.pair_top[channel.pair_table]

    def find_channel(self, m: int, n: int, v: float) -> int | None:
        """Channel of row n under the rate v; None for a null event."""
        row = self.rows[n]
        if v < self.single[n]:
            return (
                search(v, self.channel_rate[row.channel_first : row.pair_start]) + row.channel_first
            )
        v -= self.single[n]
        if v >= self.paired[n]:
            return None
        pairs = [self.pair_rate(m, c) for c in range(row.pair_start, row.channel_last)]
        return search(v, pairs) + row.pair_start

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
        """Window (20 bits), space (20), ordinal of the birth within both (24)."""
        ordinal = self.births[space]
        self.births[space] += 1
        return self.window << 44 | space << 24 | ordinal

    def daughters(self, mother: Identity | None, space: int, now: float) -> list[Identity | None]:
        if mother is None:
            return [None, None]
        rest = mother.id, now, mother.clone, mother.generation + 1
        return [Identity(self.new_id(space), *rest) for _ in range(2)]


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
