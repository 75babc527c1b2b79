"""What can happen in one compartment of a compiled model, and at what rate: see `exact`."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from lattice_symmetry import Representatives, symmetries

from mst_abm.engine import tables as T
from mst_abm.model.compile import CompiledModel

Cell = tuple[int, int]
Cells = tuple[Cell, ...]
VACANT: Cell = (0, 0)
FAR = 255


class Event(NamedTuple):
    rate: float
    tally: int
    after: Cells
    sent: tuple[int, Cells] | None = None  # (compartment, cells)


class Box:
    """Transitions of one compartment. Signals are constant."""

    def __init__(self, compiled: CompiledModel, tables: T.Tables, geometry: T.Geometry, m: int):
        self.tab, self.geo, self.m = tables, geometry, m
        self.space = self.geo.spaces[m]
        self.is_lattice = bool(self.space["is_lattice"])
        self.z = int(self.space["neighbours"])
        self.levels = [s.initial for s in compiled.model.signals]
        self.factors = [self._factor(f) for f in range(len(self.tab.factor_range))]
        if self.is_lattice:
            self._survey(compiled)

    # space

    def _survey(self, compiled: CompiledModel) -> None:
        size = [int(self.space[f"n{a}"]) for a in "xyz"]
        ring = [bool(self.space[f"periodic_{a}"]) for a in "xyz"]
        self.size, self.ring, self.sites = size, ring, math.prod(size)
        steps = self.geo.direction[self.m][: self.z]
        self.neighbours = [self.around(site, steps) for site in range(self.sites)]
        ball = self.geo.ball[self.space["ball_row"]]
        counts = self.geo.ball_count[self.space["ball_row"]]
        self.within = {
            r: [self.around(site, ball[: counts[r]]) for site in range(self.sites)]
            for r in range(1, T.MAX_RANGE + 1)
            if all(not is_ring or n > 2 * r for n, is_ring in zip(size, ring, strict=True))
        }
        self.steps_apart = [self._steps_from(site) for site in range(self.sites)]
        types = [s.type for s in compiled.species]
        self.fields = [
            (how == "distance", [kind == name for kind in types]) for how, name in compiled.fields
        ]
        # a chain barred by a static cell turns to the next vacancy of the list: an order in space
        has_order = np.any(self.tab.channels["placement"] == T.PUSH) and np.any(
            self.tab.rows["is_static"]
        )
        self.representatives = Representatives(symmetries(size, ring, shifts_only=bool(has_order)))

    def representative(self, cells: Cells) -> Cells:
        return self.representatives.of(cells) if self.is_lattice else cells

    def around(self, site: int, steps: np.ndarray) -> list[int]:
        """Sites at these steps; -1 beyond a wall."""
        size = self.size
        here = [site % size[0], site // size[0] % size[1], site // (size[0] * size[1])]
        found = []
        for step in steps:
            there = [h + int(s) for h, s in zip(here, step, strict=True)]
            there = [t % n if r else t for t, n, r in zip(there, size, self.ring, strict=True)]
            inside = all(0 <= t < n for t, n in zip(there, size, strict=True))
            found.append(there[0] + size[0] * (there[1] + size[1] * there[2]) if inside else -1)
        return found

    def _steps_from(self, site: int) -> list[int]:
        """Steps from a site to every other, from neighbour to neighbour."""
        far, reached = [FAR] * self.sites, [site]
        far[site] = 0
        for here in reached:  # grows while it is read
            for other in self.neighbours[here]:
                if other >= 0 and far[other] == FAR:
                    far[other] = far[here] + 1
                    reached.append(other)
        return far

    # cells

    def row(self, species: int) -> np.void:
        return self.tab.rows[self.m * self.tab.n_species + species]

    def channels(self, species: int) -> Iterator[np.void]:
        row = self.row(species)
        yield from self.tab.channels[row["channel_first"] : row["channel_last"]]

    def made(self, species: int, update: int, counters: int) -> list[tuple[float, Cell]]:
        """A product with every value its counters may take, and how likely."""
        found = [(1.0, 0)]
        if species == 0 or update < 0:
            return [(1.0, (int(species), 0))]
        for op in self.tab.operations[slice(*self.tab.update_range[update])]:
            value = counters >> int(op["shift"]) & int(op["mask"])
            kind, top, amount = op["kind"], int(op["maximum"]), int(op["amount"])
            if kind == T.RESAMPLE:
                ends = self.tab.weights[op["weights"] : op["weights"] + top + 1]
                values = list(zip(np.diff(ends, prepend=0.0), range(top + 1), strict=True))
            else:
                result = {
                    T.KEEP: value,
                    T.ADD: value + amount,
                    T.SET: amount,
                    T.HALVE_UP: value - value // 2,
                    T.HALVE_DOWN: value // 2,
                }[int(kind)]
                values = [(1.0, min(max(result, 0), top))]
            found = [
                (p * q, c | v << int(op["target"])) for p, c in found for q, v in values if q > 0
            ]
        return [(p, (int(species), c)) for p, c in found]

    # rates

    def _factor(self, number: int) -> float:
        first, last = self.tab.factor_range[number]
        return math.prod(self._law(term) for term in self.tab.terms[first:last])

    def _law(self, term: np.void) -> float:
        """A constant signal's law."""
        x, p = self.levels[term["signal"]], [float(term[f"p{j}"]) for j in range(5)]
        if term["kind"] in (T.HILL, T.INVERSE_HILL):
            e = x - p[4]
            share = math.copysign(abs(e) ** p[3] / (abs(e) ** p[3] + p[2] ** p[3]), e) if e else 0.0
            share = 1.0 - share if term["kind"] == T.INVERSE_HILL else share
            if term["geometric"]:
                return p[0] ** (1.0 - share) * p[1] ** share
            return p[0] + (p[1] - p[0]) * share
        if term["kind"] == T.LINEAR:
            return float(np.clip(p[0] + p[1] * x, p[2], p[3]))
        if term["kind"] == T.STEP:
            return p[1] if x < p[0] else p[2]
        if term["kind"] == T.EXPONENTIAL:
            return p[0] * (1.0 - math.exp(-x / p[1]))
        return float(np.interp(x, *self.tab.law[term["first"] : term["last"]].T))

    def rate(self, record: np.void, state: Cells, place: int) -> float:
        """Rate of a channel or entry for the cell at a place."""
        product = float(record["base"]) * self.factors[record["factor"]]
        return product * self.local(record["modifier_first"], record["modifier_last"], state, place)

    def local(self, first: int, last: int, state: Cells, place: int) -> float:
        product = 1.0
        for m in self.tab.modifiers[first:last]:
            table = self.tab.modifier_values[m["table"] : m["table"] + m["length"]]
            if m["kind"] == T.COUNTER:
                x = float(state[place][1] >> int(m["target"]) & int(m["reach"]))
            elif m["kind"] == T.NEAR:
                x = self.near(self.tab.pattern_mask[m["target"]], int(m["reach"]), state, place)
            else:
                x = self.field(int(m["target"]), state, place)
            product *= float(np.interp(x, np.arange(len(table)), table))
        return product

    def field(self, number: int, state: Cells, place: int) -> float:
        """Steps to the nearest static cell, or neighbours of its type; such cells never change."""
        is_distance, mask = self.fields[number]
        if is_distance:
            steps = self.steps_apart[place]
            return float(
                min((d for d, c in zip(steps, state, strict=True) if mask[c[0]]), default=FAR)
            )
        return float(sum(mask[state[o][0]] for o in self.neighbours[place] if o >= 0))

    def near(self, mask: np.ndarray, reach: int, state: Cells, place: int) -> float:
        if self.is_lattice:
            around = self.within[reach][place]
            return float(sum(mask[state[site][0]] for site in around if site >= 0))
        others = [cell for i, cell in enumerate(state) if i != place]
        capacity = int(self.space["capacity"])
        sites = capacity - 1 if capacity else float(self.space["room"])
        matching = sum(float(mask[s]) for s, _ in others)
        if mask[0]:
            matching += max(sites - len(others), 0.0)
        return matching / sites * int(self.geo.ball_count[0, reach])

    # events

    def transitions(self, state: Cells) -> Iterator[Event]:
        """Everything that can happen to the cells that are in the compartment."""
        yield from self.on_lattice(state) if self.is_lattice else self.in_mixture(state)

    def alone(self, ch: np.void, state: Cells, place: int, rate: float) -> Iterator[Event]:
        """Dying, becoming, leaving, emitting: the same with and without places."""
        counters, tally, verb = state[place][1], int(ch["tally"]), ch["verb"]
        if verb in (T.DIE, T.BECOME):
            for p, cell in self.made(ch["product_a"], ch["update_a"], counters):
                yield Event(rate * p, tally, self.changed(state, {place: cell}))
            return
        after = self.changed(state, {place: VACANT}) if verb == T.LEAVE else state
        product, update = ("product_a", "update_a")
        if verb == T.EMIT:
            product, update = ("product_b", "update_b")
        whole = math.floor(ch["copies"])
        part = float(ch["copies"]) - whole
        for p, cell in self.made(ch[product], ch[update], counters):
            for q, copies in ((1.0 - part, whole), (part, whole + 1)):
                sent = (int(ch["destination"]), (cell,) * copies)
                yield Event(rate * p * q, tally, after, sent)

    def changed(self, state: Cells, changes: dict[int, Cell]) -> Cells:
        cells = list(state)
        for place, cell in changes.items():
            cells[place] = cell
        return tuple(cells) if self.is_lattice else mixture(tuple(cells))

    def on_lattice(self, state: Cells) -> Iterator[Event]:
        for site, (s, counters) in enumerate(state):
            for ch in self.channels(s) if s else ():
                verb, tally = ch["verb"], int(ch["tally"])
                if verb == T.PAIR:
                    reach = int(ch["reach"])
                    around = self.within[reach][site] if reach else self.neighbours[site]
                    for other in around:
                        if other >= 0:
                            yield from self.meetings(ch, state, site, other, 1.0)
                    continue
                rate = self.rate(ch, state, site)
                if verb == T.MOVE:
                    for other in self.neighbours[site]:
                        if other < 0:
                            continue
                        t = state[other][0]
                        if t == 0 or (ch["swap"] >= 0 and self.tab.pattern_mask[ch["swap"], t]):
                            swapped = {site: state[other], other: state[site]}
                            yield Event(rate / self.z, tally, self.changed(state, swapped))
                elif verb == T.DIVIDE:
                    for p, pushed, other in self.places(state, site, ch):
                        for q, a, b in self.daughters(ch, counters):
                            after = self.changed(pushed, {site: a, other: b})
                            yield Event(rate * p * q, tally, after)
                else:
                    yield from self.alone(ch, state, site, rate)

    def daughters(self, ch: np.void, counters: int) -> Iterator[tuple[float, Cell, Cell]]:
        for p, a in self.made(ch["product_a"], ch["update_a"], counters):
            for q, b in self.made(ch["product_b"], ch["update_b"], counters):
                yield p * q, a, b

    def places(self, state: Cells, site: int, ch: np.void) -> Iterator[tuple[float, Cells, int]]:
        """(probability, state after pushing, site of the second daughter)."""
        around = self.neighbours[site]
        free = [other for other in around if other >= 0 and state[other] == VACANT]
        if ch["placement"] == T.ATTEMPT:
            yield from ((1.0 / self.z, state, other) for other in free)
        elif ch["placement"] == T.VACANT:
            yield from ((1.0 / len(free), state, other) for other in free)
        else:
            yield from self.pushes(state, site, int(ch["push"]))

    def pushes(self, state: Cells, site: int, reach: int) -> Iterator[tuple[float, Cells, int]]:
        """Towards one of the nearest vacancies, by any shortest way along the axes.

        One number, common to all vacancies of a distance, orders the steps of their ways; a way that a
        static cell bars gives its turn to the next vacancy of the list, then to those farther off.
        """
        row = self.space["ball_row"]
        offsets = self.geo.ball[row][: self.geo.ball_count[row, reach]].astype(int)
        shells: dict[int, list[np.ndarray]] = {}
        for o, other in zip(offsets, self.around(site, offsets), strict=True):
            if other >= 0 and state[other] == VACANT:
                shells.setdefault(int(o @ o), []).append(o)
        if not shells:
            return
        finest = math.lcm(*(math.factorial(int(abs(o).sum())) for s in shells.values() for o in s))
        for j in range(finest):
            yield from self._pushed(
                state, site, list(shells.values()), (j + 0.5) / finest, 1.0 / finest
            )

    def _pushed(
        self, state: Cells, site: int, shells: list[list[np.ndarray]], v: float, p: float
    ) -> Iterator[tuple[float, Cells, int]]:
        for shell in shells:
            paths = [self._way(site, offset, v) for offset in shell]
            is_open = [
                not any(self.row(state[other][0])["is_static"] for other in path[:-1])
                for path in paths
            ]
            if not any(is_open):
                continue
            for start in range(len(paths)):
                turn = next(i % len(paths) for i in range(start, 10**6) if is_open[i % len(paths)])
                path = [site, *paths[turn]]
                stop = next(i for i, other in enumerate(path) if state[other] == VACANT)
                moved = {path[i]: state[path[i - 1]] for i in range(2, stop + 1)}
                yield p / len(paths), self.changed(state, moved), path[1]
            return

    def _way(self, site: int, offset: np.ndarray, v: float) -> list[int]:
        """Sites on the way to an offset: every step along an axis, in proportion to those left."""
        left, here, steps = abs(offset), np.zeros(3, int), []
        for n in range(int(left.sum()), 0, -1):
            pick = int(v * n)
            v = v * n - pick
            axis = next(a for a in range(3) if pick < left[: a + 1].sum())
            left = left - np.eye(3, dtype=int)[axis]
            here = here + np.sign(offset) * np.eye(3, dtype=int)[axis]
            steps.append(here)
        return self.around(site, np.array(steps))

    def meetings(
        self, ch: np.void, state: Cells, actor: int, partner: int, often: float
    ) -> Iterator[Event]:
        """Outcomes of a pair, ``often`` times their rate per pair."""
        place = int(ch["pair_table"]) * self.tab.n_species + state[partner][0]
        for e in self.tab.entries[slice(*self.tab.entry_range[place])]:
            rate = self.rate(e, state, actor) * often
            for p, a in self.made(e["product_a"], e["update_a"], state[actor][1]):
                for q, b in self.made(e["product_b"], e["update_b"], state[partner][1]):
                    after = self.changed(state, {actor: a, partner: b})
                    yield Event(rate * p * q, int(e["tally"]), after)

    def in_mixture(self, state: Cells) -> Iterator[Event]:
        """Equal cells do the same: one of each kind is looked at, as often as there are."""
        n, capacity = len(state), int(self.space["capacity"])
        number = Counter(state)
        for cell, copies in number.items():
            i = state.index(cell)
            for ch in self.channels(cell[0]):
                if ch["verb"] == T.PAIR:
                    offsets = self.z
                    if ch["reach"]:
                        offsets = int(self.geo.ball_count[self.space["ball_row"], ch["reach"]])
                    per_pair = offsets / (capacity - 1 if capacity else float(self.space["room"]))
                    for other, others in number.items():
                        pairs = copies * (others - (other == cell))
                        if pairs:
                            j = state.index(other) + (other == cell)
                            yield from self.meetings(ch, state, i, j, per_pair * pairs)
                    continue
                rate = self.rate(ch, state, i) * copies
                if ch["verb"] == T.DIVIDE:
                    p = self.share_of_room(n, capacity, ch)
                    for q, a, b in self.daughters(ch, cell[1]):
                        after = mixture((*self.changed(state, {i: a}), b))
                        yield Event(rate * p * q, int(ch["tally"]), after)
                elif ch["verb"] != T.MOVE:
                    yield from self.alone(ch, state, i, rate)
        for source in self.tab.sources[self.space["source_first"] : self.space["source_last"]]:
            batch = int(source["batch"])
            if capacity and n + batch > capacity:
                continue
            rate = float(source["rate"]) * self.factors[source["factor"]]
            ways = [self.made(source["species"], source["update"], 0)] * batch
            for way in itertools.product(*ways):
                p = math.prod(q for q, _ in way)
                after = mixture((*state, *(cell for _, cell in way)))
                yield Event(rate * p, int(source["tally"]), after)

    def share_of_room(self, n: int, capacity: int, ch: np.void) -> float:
        """Probability that a daughter finds a vacant site among those it may look at."""
        if not capacity:
            return 1.0
        looks = {T.ATTEMPT: 1, T.VACANT: self.z}.get(int(ch["placement"]))
        if looks is None:
            looks = int(self.geo.ball_count[0, ch["push"]])
        looks = min(looks, capacity - 1)
        return 1.0 - math.comb(n - 1, looks) / math.comb(capacity - 1, looks)

    def landings(self, state: Cells, waiting: Cells) -> Iterator[tuple[float, int, Cells, Cells]]:
        """(rate, tally, sites afterwards, cells that still wait) of a lattice with a pool."""
        for cell in sorted(set(waiting)):
            row = self.row(cell[0])
            rate = float(row["arrive_rate"]) * self.factors[row["arrive_factor"]]
            first, last = row["arrive_modifier_first"], row["arrive_modifier_last"]
            free = [site for site, here in enumerate(state) if here == VACANT]
            weights = [self.local(first, last, state, site) for site in free]
            rest = list(waiting)
            rest.remove(cell)
            for site, weight in zip(free, weights, strict=True):
                if weight > 0.0:
                    p = rate * waiting.count(cell) * weight / sum(weights)
                    yield (
                        p,
                        int(row["arrive_tally"]),
                        self.changed(state, {site: cell}),
                        tuple(rest),
                    )


def mixture(cells: Cells) -> Cells:
    """Cells without places."""
    return tuple(sorted(cell for cell in cells if cell[0]))
