"""The exact law of a small box, from the same compiled tables the kernels read.

A state is a tuple of cells, each (species, packed counters): one entry per site of a lattice, or
a sorted tuple of the cells of a mixed compartment. States are found from the initial ones, the generator
of the Markov chain is filled in, and its exponential gives the law at any time. Written from the
meaning of the tables' columns; no kernel is called.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import expm_multiply

from mst_abm.engine import tables as T
from mst_abm.model.compile import CompiledModel

Cell = tuple[int, int]
State = tuple[Cell, ...]
VACANT: Cell = (0, 0)


class Law(NamedTuple):
    """Probabilities of states, and the number of each species in each."""

    counts: np.ndarray  # (states, species)
    p: np.ndarray  # (states,)

    def mean(self, value: np.ndarray) -> float:
        return float(self.p @ value)


class Box:
    """Transitions of one compartment of a compiled model, all signal factors 1."""

    def __init__(self, compiled: CompiledModel, compartment: int = 0):
        self.tab, self.geo, self.m = compiled.tables, compiled.geometry, compartment
        self.space = self.geo.spaces[compartment]
        self.is_lattice = bool(self.space["is_lattice"])
        self.z = int(self.space["neighbours"])
        if self.is_lattice:
            self.sites = int(self.space["nx"] * self.space["ny"] * self.space["nz"])
            steps = self.geo.direction[compartment][: self.z]
            self.neighbours = [self._around(site, steps) for site in range(self.sites)]
            ball = self.geo.ball[self.space["ball_row"]]
            counts = self.geo.ball_count[self.space["ball_row"]]
            self.within = {
                r: [self._around(site, ball[: counts[r]]) for site in range(self.sites)]
                for r in range(1, T.MAX_RANGE + 1)
                if self._is_wide_enough(r)
            }

    # space

    def _is_wide_enough(self, r: int) -> bool:
        return all(not self.space[f"periodic_{a}"] or self.space[f"n{a}"] > 2 * r for a in "xyz")

    def _around(self, site: int, steps: np.ndarray) -> list[int]:
        """Sites at these steps; -1 beyond a wall."""
        size = [int(self.space[f"n{a}"]) for a in "xyz"]
        ring = [bool(self.space[f"periodic_{a}"]) for a in "xyz"]
        here = [site % size[0], site // size[0] % size[1], site // (size[0] * size[1])]
        found = []
        for step in steps:
            there = [h + int(s) for h, s in zip(here, step, strict=True)]
            there = [t % n if r else t for t, n, r in zip(there, size, ring, strict=True)]
            inside = all(0 <= t < n for t, n in zip(there, size, strict=True))
            found.append(there[0] + size[0] * (there[1] + size[1] * there[2]) if inside else -1)
        return found

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

    def local(self, record: np.void, state: State, place: int) -> float:
        """Product of the local modifiers of a channel or entry for the cell at a place."""
        product = 1.0
        for m in self.tab.modifiers[record["modifier_first"] : record["modifier_last"]]:
            table = self.tab.modifier_values[m["table"] : m["table"] + m["length"]]
            if m["kind"] == T.COUNTER:
                x = float(state[place][1] >> int(m["target"]) & int(m["reach"]))
            elif m["kind"] == T.NEAR:
                x = self.near(self.tab.pattern_mask[m["target"]], int(m["reach"]), state, place)
            else:
                raise NotImplementedError("fields of static cells")
            product *= float(np.interp(x, np.arange(len(table)), table))
        return product

    def near(self, mask: np.ndarray, reach: int, state: State, place: int) -> float:
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

    def transitions(self, state: State) -> Iterator[tuple[float, State]]:
        """(rate, next state) of everything that can happen."""
        yield from self.on_lattice(state) if self.is_lattice else self.in_mixture(state)

    def on_lattice(self, state: State) -> Iterator[tuple[float, State]]:
        for site, (s, counters) in enumerate(state):
            for ch in self.channels(s) if s else ():
                verb = ch["verb"]
                if verb == T.PAIR:
                    yield from self.pairs_on_lattice(state, site, ch)
                    continue
                rate = float(ch["base"]) * self.local(ch, state, site)
                if verb in (T.DIE, T.BECOME):
                    for p, cell in self.made(ch["product_a"], ch["update_a"], counters):
                        yield rate * p, changed(state, {site: cell})
                elif verb == T.MOVE:
                    for other in self.neighbours[site]:
                        if other < 0:
                            continue
                        t = state[other][0]
                        if t == 0 or (ch["swap"] >= 0 and self.tab.pattern_mask[ch["swap"], t]):
                            swapped = {site: state[other], other: state[site]}
                            yield rate / self.z, changed(state, swapped)
                elif verb == T.DIVIDE:
                    for p, pushed, other in self.places(state, site, ch):
                        for q, a in self.made(ch["product_a"], ch["update_a"], counters):
                            for w, b in self.made(ch["product_b"], ch["update_b"], counters):
                                yield rate * p * q * w, changed(pushed, {site: a, other: b})
                else:
                    raise NotImplementedError("cells that leave")

    def places(self, state: State, site: int, ch: np.void) -> Iterator[tuple[float, State, int]]:
        """(probability, state after pushing, site of the second daughter)."""
        around = self.neighbours[site]
        free = [other for other in around if other >= 0 and state[other] == VACANT]
        if ch["placement"] == T.ATTEMPT:
            yield from ((1.0 / self.z, state, other) for other in free)
        elif ch["placement"] == T.VACANT:
            yield from ((1.0 / len(free), state, other) for other in free)
        else:
            yield from self.pushes(state, site, int(ch["push"]))

    def pushes(self, state: State, site: int, reach: int) -> Iterator[tuple[float, State, int]]:
        """Towards one of the nearest vacancies, by any shortest way along the axes."""
        row = self.space["ball_row"]
        offsets = self.geo.ball[row][: self.geo.ball_count[row, reach]].astype(int)
        free = [
            (int(o @ o), tuple(o))
            for o, other in zip(offsets, self._around(site, offsets), strict=True)
            if other >= 0 and state[other] == VACANT
        ]
        nearest = [o for far, o in free if far == min(free)[0]] if free else []
        for offset in nearest:
            steps = [
                tuple(int(np.sign(offset[a])) * (b == a) for b in range(3))
                for a in range(3)
                for _ in range(abs(offset[a]))
            ]
            ways = list(itertools.permutations(steps))
            for way in ways:
                path = self._around(site, np.cumsum(np.array(way), axis=0))
                stop = next(i for i, other in enumerate(path) if state[other] == VACANT)
                moved = {path[i]: state[path[i - 1]] for i in range(1, stop + 1)}
                yield 1.0 / len(nearest) / len(ways), changed(state, moved), path[0]

    def pairs_on_lattice(
        self, state: State, site: int, ch: np.void
    ) -> Iterator[tuple[float, State]]:
        reach = int(ch["reach"])
        around = self.within[reach][site] if reach else self.neighbours[site]
        for other in around:
            if other < 0:
                continue
            for rate, a, b in self.meetings(ch, state, site, other):
                yield rate, changed(state, {site: a, other: b})

    def meetings(
        self, ch: np.void, state: State, actor: int, partner: int
    ) -> Iterator[tuple[float, Cell, Cell]]:
        """(rate per pair, actor afterwards, partner afterwards)."""
        place = int(ch["pair_table"]) * self.tab.n_species + state[partner][0]
        for e in self.tab.entries[slice(*self.tab.entry_range[place])]:
            rate = float(e["base"]) * self.local(e, state, actor)
            for p, a in self.made(e["product_a"], e["update_a"], state[actor][1]):
                for q, b in self.made(e["product_b"], e["update_b"], state[partner][1]):
                    yield rate * p * q, a, b

    def in_mixture(self, state: State) -> Iterator[tuple[float, State]]:
        n, capacity = len(state), int(self.space["capacity"])
        for i, (s, counters) in enumerate(state):
            for ch in self.channels(s):
                verb = ch["verb"]
                if verb == T.PAIR:
                    offsets = self.z
                    if ch["reach"]:
                        offsets = int(self.geo.ball_count[self.space["ball_row"], ch["reach"]])
                    per_pair = offsets / (capacity - 1 if capacity else float(self.space["room"]))
                    for j in range(n):
                        if j == i:
                            continue
                        for rate, a, b in self.meetings(ch, state, i, j):
                            yield rate * per_pair, mixture(changed(state, {i: a, j: b}))
                    continue
                rate = float(ch["base"]) * self.local(ch, state, i)
                if verb in (T.DIE, T.BECOME):
                    for p, cell in self.made(ch["product_a"], ch["update_a"], counters):
                        yield rate * p, mixture(changed(state, {i: cell}))
                elif verb == T.DIVIDE:
                    p = self.share_of_room(n, capacity, ch)
                    for q, a in self.made(ch["product_a"], ch["update_a"], counters):
                        for w, b in self.made(ch["product_b"], ch["update_b"], counters):
                            yield rate * p * q * w, mixture((*changed(state, {i: a}), b))
                else:
                    raise NotImplementedError("cells that leave")
        for source in self.tab.sources[self.space["source_first"] : self.space["source_last"]]:
            batch = int(source["batch"])
            if capacity and n + batch > capacity:
                continue
            ways = [self.made(source["species"], source["update"], 0)] * batch
            for way in itertools.product(*ways):
                p = math.prod(q for q, _ in way)
                yield float(source["rate"]) * p, mixture((*state, *(cell for _, cell in way)))

    def share_of_room(self, n: int, capacity: int, ch: np.void) -> float:
        """Probability that a daughter finds a vacant site among those it may look at."""
        if not capacity:
            return 1.0
        looks = {T.ATTEMPT: 1, T.VACANT: self.z}.get(int(ch["placement"]))
        if looks is None:
            looks = int(self.geo.ball_count[0, ch["push"]])
        looks = min(looks, capacity - 1)
        return 1.0 - math.comb(n - 1, looks) / math.comb(capacity - 1, looks)

    # law

    def law(self, initial: dict[State, float], times: list[float], most: int = 30_000) -> list[Law]:
        """The law at increasing times, from a law at time zero."""
        place = {state: i for i, state in enumerate(initial)}
        states = list(place)
        rows, columns, rates = [], [], []
        for i, state in enumerate(states):  # grows while it is read
            for rate, after in self.transitions(state):
                if rate == 0.0 or after == state:
                    continue
                if after not in place:
                    place[after] = len(states)
                    states.append(after)
                    assert len(states) <= most, "the box has too many states"
                rows += [place[after], i]
                columns += [i, i]
                rates += [rate, -rate]
        q = csr_matrix((rates, (rows, columns)), shape=(len(states), len(states)))
        counts = np.zeros((len(states), self.tab.n_species))
        for i, state in enumerate(states):
            for s, _ in state:
                counts[i, s] += 1
        p = np.zeros(len(states))
        p[: len(initial)] = list(initial.values())
        laws, now = [], 0.0
        for t in times:
            p, now = expm_multiply(q * (t - now), p), t
            laws.append(Law(counts, p))
        return laws


def changed(state: State, changes: dict[int, Cell]) -> State:
    cells = list(state)
    for place, cell in changes.items():
        cells[place] = cell
    return tuple(cells)


def mixture(cells: tuple[Cell, ...]) -> State:
    """Cells of a mixed compartment have no places."""
    return tuple(sorted(cell for cell in cells if cell[0]))


def anywhere(cells: list[Cell], sites: int) -> dict[State, float]:
    """All arrangements of cells on a lattice, equally likely."""
    full = cells + [VACANT] * (sites - len(cells))
    found: dict[State, float] = {(): 1.0}
    kinds = sorted(set(full))
    for _ in range(sites):
        longer: dict[State, float] = {}
        for state in found:
            for kind in kinds:
                if state.count(kind) < full.count(kind):
                    longer[(*state, kind)] = 1.0
        found = longer
    return {state: 1.0 / len(found) for state in found}
