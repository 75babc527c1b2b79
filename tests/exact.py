"""The exact law of a small body, from the same compiled tables the kernels read.

A state holds, for every compartment, its cells, those that wait for a place since the last exchange, and
those that will wait from the next one on. A cell is (species, packed counters); a lattice is a tuple
with one entry per site, everything else a sorted tuple. States are found from the initial ones, the generator of the Markov
chain is filled in, and its exponential gives the law at any time. Written from the meaning of the tables'
columns; no kernel is called.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from exact_spaces import Box, Cell, Cells, mixture
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import expm_multiply

from mst_abm.runs.initial import build_items

State = tuple[tuple[Cells, ...], tuple[Cells, ...], tuple[Cells, ...]]
#: Where a compartment without a capacity holds more cells than the chain follows.
LOST: State = ((), (), ())
#: Placements of the first cells that are looked at one by one.
MOST_ARRANGEMENTS = 30_000


class TooLarge(Exception):
    """The chain has more states than allowed."""


class Chain:
    """A body: boxes and what passes between them."""

    def __init__(self, simulation: Any, most_cells: int = 10**9):
        self.compiled = compiled = simulation.compiled
        self.items = build_items(compiled, compiled.updates)
        # programs that draw the counters of initial cells were added behind the others
        tables = simulation.tables._replace(**compiled.updates.arrays())
        self.boxes = [
            Box(compiled, tables, simulation.geometry, m) for m in range(tables.n_compartments)
        ]
        self.most_cells = most_cells
        self.rule_of = [t.rule for t in compiled.tallies]

    def initial(self) -> dict[State, float]:
        """The law of the cells at time zero: numbers as stated, counters and places drawn."""
        ways = []
        for m, box in enumerate(self.boxes):
            law: dict[Cells, float] = {(): 1.0}
            for i in np.nonzero(self.items.compartment == m)[0]:
                made = box.made(int(self.items.species[i]), int(self.items.update[i]), 0)
                for _ in range(int(self.items.total[i])):
                    longer: dict[Cells, float] = {}
                    for cells, p in law.items():
                        for q, cell in made:
                            more = mixture((*cells, cell))
                            longer[more] = longer.get(more, 0.0) + p * q
                    law = longer
            if box.is_lattice:
                placed: dict[Cells, float] = {}
                if sum(arrangements(cells, box.sites) for cells in law) > MOST_ARRANGEMENTS:
                    raise TooLarge
                for cells, p in law.items():
                    for state, q in anywhere(list(cells), box.sites).items():
                        state = box.representative(state)
                        placed[state] = placed.get(state, 0.0) + p * q
                law = placed
            ways.append(law.items())
        none: tuple[Cells, ...] = ((),) * len(self.boxes)
        return {
            (tuple(cells for cells, _ in way), none, none): math.prod(p for _, p in way)
            for way in itertools.product(*ways)
        }

    def transitions(self, state: State) -> Iterator[tuple[float, int, State]]:
        """(rate, line of the table of events, next state) of everything that can happen."""
        parts, waiting, coming = state
        for m, box in enumerate(self.boxes if state != LOST else ()):
            for event in box.transitions(parts[m]):
                after = _with(parts, m, box.representative(event.after))
                later = coming
                if event.sent is not None:
                    to, cells = event.sent
                    if self.boxes[to].is_lattice:
                        later = _with(later, to, mixture(later[to] + cells))
                    else:
                        after = _with(after, to, mixture(after[to] + cells))
                free = [a for a, b in zip(after, self.boxes, strict=True) if not b.is_lattice]
                is_crowded = max(map(len, (*free, *later)), default=0) > self.most_cells
                yield event.rate, event.tally, LOST if is_crowded else (after, waiting, later)
            if waiting[m]:
                for rate, tally, cells, rest in box.landings(parts[m], waiting[m]):
                    after = _with(parts, m, box.representative(cells))
                    yield rate, tally, (after, _with(waiting, m, rest), coming)

    @staticmethod
    def exchanged(state: State) -> State:
        """The state after an exchange: what has been sent may land."""
        parts, waiting, coming = state
        joined = tuple(mixture(a + b) for a, b in zip(waiting, coming, strict=True))
        return parts, joined, ((),) * len(parts) if parts else ()

    def explore(self, most: int = 30_000) -> Explored:
        """All states that can be reached, and the rates of every rule between them."""
        initial = self.initial()
        place = {state: i for i, state in enumerate(initial)}
        states = list(place)
        rules = {name: i for i, name in enumerate(dict.fromkeys(self.rule_of))}
        found: list[tuple[int, int, float, int]] = []  # to, from, rate, rule
        merged: list[int] = []
        passes = any(b.is_lattice for b in self.boxes) and len(self.boxes) > 1

        def number(state: State) -> int:
            if state not in place:
                place[state] = len(states)
                states.append(state)
                if len(states) > most:
                    raise TooLarge
            return place[state]

        for i, state in enumerate(states):  # grows while it is read
            summed: dict[tuple[State, int], float] = {}
            for rate, tally, after in self.transitions(state):
                if rate > 0.0 and after != state:
                    key = after, tally
                    summed[key] = summed.get(key, 0.0) + rate
            for (after, tally), rate in summed.items():
                found.append((number(after), i, rate, rules[self.rule_of[tally]]))
            merged.append(number(self.exchanged(state)) if passes else i)
        p = np.zeros(len(states))
        p[: len(initial)] = list(initial.values())
        return Explored(states, list(rules), np.array(found).reshape(-1, 4), np.array(merged), p)


class Explored(NamedTuple):
    """States, rates, and the law at time zero."""

    states: list[State]
    rules: list[str]
    found: np.ndarray  # (n, 4): to, from, rate, rule
    merged: np.ndarray  # the state after an exchange
    initial: np.ndarray

    def acting(self) -> list[str]:
        """Rules that change a state somewhere."""
        return [self.rules[i] for i in np.unique(self.found[:, 3]).astype(int)]

    def generator(self, wrong: dict[str, float] | None = None) -> csr_matrix:
        """Rates of the chain, columns summing to 0; ``wrong``: factors on the rates of rules."""
        factors = np.array([(wrong or {}).get(name, 1.0) for name in self.rules])
        to, source, rule = (self.found[:, j].astype(int) for j in (0, 1, 3))
        rates = self.found[:, 2] * factors[rule]
        n = len(self.states)
        rows, columns = np.concatenate([to, source]), np.concatenate([source, source])
        return csr_matrix((np.concatenate([rates, -rates]), (rows, columns)), shape=(n, n))

    def laws(
        self, times: list[float], edges: np.ndarray, wrong: dict[str, float] | None = None
    ) -> list[np.ndarray]:
        """Probabilities of the states at increasing times, exchanges on the edges between."""
        q, p, now, found = self.generator(wrong), self.initial, 0.0, []
        is_exchanging = bool(np.any(self.merged != np.arange(len(self.states))))
        for t in times:
            stops = [e for e in edges if now < e < t] if is_exchanging else []
            for stop in (*stops, t):
                p, now = expm_multiply(q * (stop - now), p), stop
                p = np.bincount(self.merged, p, len(p))
            found.append(np.maximum(p, 0.0))
        return found


def _with(parts: tuple[Cells, ...], m: int, part: Cells) -> tuple[Cells, ...]:
    return (*parts[:m], part, *parts[m + 1 :])


def arrangements(cells: Cells, sites: int) -> int:
    """Ways to place cells on so many sites."""
    ways, left = 1, sites
    for number in Counter(cells).values():
        ways *= math.comb(left, number)
        left -= number
    return ways


def anywhere(cells: list[Cell], sites: int) -> dict[Cells, float]:
    """All arrangements of cells on a lattice, equally likely."""
    full = cells + [(0, 0)] * (sites - len(cells))
    found: dict[Cells, float] = {(): 1.0}
    kinds = sorted(set(full))
    for _ in range(sites):
        longer: dict[Cells, float] = {}
        for state in found:
            for kind in kinds:
                if state.count(kind) < full.count(kind):
                    longer[(*state, kind)] = 1.0
        found = longer
    return {state: 1.0 / len(found) for state in found}
