"""What dies out: classes of cells that renew themselves and have become few in the body.

A mean never reaches zero, and what is left of a class, a millionth of a cell, would grow again. While they are few, cells of a
class live independently: a birth and death process, of which growth and births per cell are known from day to day. So a
class that falls goes on as a mean. When it grows again after there were fewer than a few cells, the number of lineages that will
survive is drawn, once, and the class is multiplied with that over its mean; it is gone if there is none, and also when
less than a thousandth of a cell is expected. The probability p that the lineage of a cell survives obeys
-dp/dt = g p - b p^2 (g: growth, b: births, 1/h), p = g/b at the end; it is followed back to when there were many cells,
whose surviving lineages are a Poisson number.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mst_abm.engine.mean_rates import Flow

FEW = 10.0  # cells of the body
GONE = 1e-3
MANY = 1e4  # from here on a class is watched, and again when it has become so large


def poisson_number(mean: float, u: float) -> int:
    """Poisson number of a small mean from a uniform one, by its distribution function."""
    weight = math.exp(-mean)
    found, total = 0, weight
    while u > total and weight > 0.0:
        found += 1
        weight *= mean / found
        total += weight
    return found


def surviving(seen: list[tuple[float, float, float]], survival: float) -> float:
    """Lineages of the cells first seen that are expected to survive; ``survival``: probability of one at the end."""
    p = survival
    for (before, was, _), (after, cells, births) in zip(seen[-2::-1], seen[:0:-1], strict=True):
        hours = after - before
        rise = math.log(cells / was)
        grown = math.expm1(rise)
        slope = grown / rise * hours if rise else hours
        p = p * (1.0 + grown) / (1.0 + births * p * slope)
    return max(p * seen[0][1], 1e-300)


class Classes:
    """Classes of a flow, and what became of them in each replicate.

    A class is a block of states, which pass into each other and back, with a division that leaves more than one cell in it.
    """

    def __init__(self, flow: Flow, shares: np.ndarray, replicates: int) -> None:
        self.flow = flow
        #: Cells of the body that a number of each state stands for.
        self.weight = 1.0 / shares
        sources, state = flow.into_state, flow.event_state
        block = np.repeat(np.arange(len(flow.block_first) - 1), np.diff(flow.block_first))
        goals = np.repeat(np.arange(len(flow.row)), np.diff(flow.into_first))
        #: Cells of the body that an event of a cell adds to its class.
        self.gain = -flow.event_loss
        same = block[sources] == block[goals]
        copies = flow.into_copies * shares[sources] / shares[goals]
        np.add.at(self.gain, flow.into_event[same], copies[same])
        is_renewing = np.unique(block[state[(self.gain > 1e-9) & (state > 0)]])
        number = np.full(len(flow.block_first) - 1, -1)
        number[is_renewing] = np.arange(len(is_renewing))
        self.of_state = number[block]
        self.n = len(is_renewing)
        self._members = self.of_state >= 0
        self._events = np.flatnonzero(self.of_state[state] >= 0)
        self.was_many = np.zeros((replicates, self.n), bool)
        #: What was seen of a class since it was many: (h, cells, births per cell and hour).
        self.seen: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        self.draws = np.zeros((replicates, self.n), np.int64)

    def numbers(self, y: np.ndarray) -> np.ndarray:
        """Cells of the body in each class."""
        here = self._members
        return np.bincount(self.of_state[here], (y * self.weight)[here], self.n)

    def look(
        self,
        r: int,
        time_h: float,
        y: np.ndarray,
        hazard: np.ndarray,
        uniform: Callable[[int, int], float],
    ) -> bool:
        """Decide on the classes of a replicate that have fallen; True if one was changed. Changes: y.

        ``hazard``: of all events now. ``uniform(class, number of the draw)`` draws.
        """
        cells = self.numbers(y)
        is_many = cells >= MANY
        watched = self.was_many[r] & ~is_many & (cells > 0.0)
        for c in np.flatnonzero(self.was_many[r] & is_many):
            self.seen.pop((r, int(c)), None)
        self.was_many[r] |= is_many
        if not watched.any():
            return False
        growth, births = self._rates(y, hazard, cells)
        is_changed = False
        for c in map(int, np.flatnonzero(watched)):
            seen = self.seen.setdefault((r, c), [])
            seen.append((time_h, float(cells[c]), float(births[c])))
            if cells[c] < GONE:
                factor = 0.0
            elif growth[c] > 0.0 and min(n for _, n, _ in seen) < FEW:
                lineages = surviving(seen, min(growth[c] / max(births[c], growth[c]), 1.0))
                u = uniform(c, int(self.draws[r, c]))
                factor = poisson_number(lineages, u) / lineages
                self.draws[r, c] += 1
            else:
                continue
            y[self.of_state == c] *= factor
            self.was_many[r, c] = False
            del self.seen[r, c]
            is_changed = True
        return is_changed

    def _rates(
        self, y: np.ndarray, hazard: np.ndarray, cells: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Net growth and births per cell of each class, 1/h."""
        state = self.flow.event_state[self._events]
        more = hazard[self._events] * y[state] * self.weight[state] * self.gain[self._events]
        found = []
        for part in (more, np.maximum(more, 0.0)):
            total = np.bincount(self.of_state[state], part, self.n)
            found.append(total / np.maximum(cells, 1e-300))
        return found[0], found[1]
