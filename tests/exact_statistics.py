"""What a batch of replicates shows, beside the exact law of the same.

The law of every statistic is known, so no normal law is assumed. With f the statistic of one
replicate and m its mean over n, Chernoff's bound

    P(mean >= m) <= exp(-n I(m)),   I(m) = max over s of  s m - log E exp(s f),

holds for any n; so does its mirror image. The threshold on n I is therefore one on the probability of a false alarm.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from exact import LOST, Chain, State
from scipy.optimize import brentq


class Looks:
    """What is counted in a state: cells of every species and place, counters, neighbours, waiting cells."""

    def __init__(self, chain: Chain):
        self.chain, self.columns = chain, []
        names = chain.compiled.species_names
        for m, box in enumerate(chain.boxes):
            room = chain.compiled.compartment_names[m]
            for s in range(1, len(names)):
                self.columns.append((f"{names[s]} in {room}", "number", m, s))
                kind = chain.compiled.species[s].type
                for counter in chain.compiled.layout.places.get(kind, {}):
                    place = chain.compiled.layout.shift_and_mask(kind, counter)
                    self.columns.append(
                        (f"{counter} of {names[s]} in {room}", "counter", m, (s, *place))
                    )
            if box.is_lattice:
                self.columns.append((f"like neighbours in {room}", "alike", m, 0))
                if len(chain.boxes) > 1:
                    self.columns.append((f"waiting for {room}", "waiting", m, 0))

    def statistics(self, counted: np.ndarray, centres: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Names and values (cases, statistics): means; of numbers also squares and extinctions."""
        names, values = [], []
        for (name, what, *_), x, centre in zip(self.columns, counted.T, centres, strict=True):
            names.append(f"mean {name}")
            values.append(x)
            if what == "number":
                names += [f"variance {name}", f"extinction {name}"]
                values += [(x - centre) ** 2, (x == 0).astype(float)]
        return names, np.array(values).T

    def in_states(self, states: list[State]) -> np.ndarray:
        found = np.zeros((len(states), len(self.columns)))
        for i, state in enumerate(states):
            if state == LOST:
                continue
            parts, waiting, coming = state
            for j, (_, what, m, detail) in enumerate(self.columns):
                if what == "number":
                    found[i, j] = sum(s == detail for s, _ in parts[m])
                elif what == "counter":
                    s, shift, mask = detail
                    found[i, j] = sum(c >> shift & mask for kind, c in parts[m] if kind == s)
                elif what == "waiting":
                    found[i, j] = len(waiting[m]) + len(coming[m])
                else:
                    around = self.chain.boxes[m].neighbours
                    found[i, j] = sum(
                        other >= 0 and cell[0] > 0 and parts[m][other][0] == cell[0]
                        for site, cell in enumerate(parts[m])
                        for other in around[site]
                    )
        return found

    def in_replicates(self, sim: Any) -> np.ndarray:
        found = np.zeros((sim.replicates, len(self.columns)))
        for j, (_, what, m, detail) in enumerate(self.columns):
            if what == "number":
                found[:, j] = sim.state.body.counts[:, m, detail]
                continue
            if what == "waiting":
                found[:, j] = sim.state.pool.n[:, int(sim.geometry.spaces[m]["first_patch"])]
                continue
            species, counters = self._cells(sim, m)
            if what == "counter":
                s, shift, mask = detail
                found[:, j] = ((counters >> shift & mask) * (species == s)).sum(axis=1)
                continue
            for site, around in enumerate(self.chain.boxes[m].neighbours):
                for other in around:
                    if other >= 0:
                        here = species[:, site]
                        found[:, j] += (here > 0) & (species[:, other] == here)
        return found

    @staticmethod
    def _cells(sim: Any, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Species and counters of a compartment, (replicates, sites or slots); 0 where there is none."""
        space = sim.geometry.spaces[m]
        if space["is_lattice"]:
            patch = sim.geometry.patches[int(space["first_patch"])]
            used = slice(int(patch["first"]), int(patch["last"]))
            store, taken = sim.state.lattice, True
        else:
            q, store = int(space["mixed_index"]), sim.state.mixed
            used = slice(int(store.first[q]), int(store.first[q + 1]))
            taken = np.arange(used.stop - used.start) < store.bounds[:, q, -1:]
        counters = store.counters[:, used] if sim.tables.has_counters else np.zeros((1, 1), int)
        return store.species[:, used].astype(int) * taken, counters.astype(int)


def rate_function(value: np.ndarray, p: np.ndarray, mean: float) -> float:
    """I(mean) of a statistic that takes each value with probability p; inf beyond its values."""
    value, place = np.unique(value[p > 0], return_inverse=True)
    p = np.bincount(place, p[p > 0])
    centre, width = float(p @ value), float(value[-1] - value[0])
    if abs(mean - centre) <= 1e-9 * max(width, abs(centre), 1e-9):
        return 0.0
    if width == 0.0 or not value[0] <= mean <= value[-1]:
        return math.inf
    edge = value[-1] if mean > centre else value[0]
    if mean == edge:
        return -math.log(p[value == edge][0])

    def tilted(s: float) -> float:
        weights = p * np.exp(s * (value - edge))
        return float(weights @ value / weights.sum()) - mean

    s = 1.0 / width
    while tilted(math.copysign(s, mean - centre)) * (mean - centre) < 0.0:
        s *= 2.0
        if s * width > 1e5:  # all but at the edge
            break
    else:
        s = brentq(tilted, 0.0, math.copysign(s, mean - centre), xtol=1e-14, rtol=1e-10)
        return float(s * (mean - edge) - math.log(p @ np.exp(s * (value - edge))))
    return -math.log(p[value == edge][0])


def allowed(value: np.ndarray, p: np.ndarray, most: float) -> tuple[float, float]:
    """Means between which the rate function stays below ``most``."""
    centre, seen = float(p @ value), value[p > 0]
    ends = []
    for edge in (float(seen.min()), float(seen.max())):
        if edge == centre or rate_function(value, p, edge) <= most:
            ends.append(edge)
        else:
            ends.append(
                brentq(lambda m: rate_function(value, p, m) - most, centre, edge, rtol=1e-6)
            )
    return ends[0], ends[1]


def chance_to_fail(
    values: np.ndarray, right: np.ndarray, wrong: np.ndarray, n: int, most: float
) -> float:
    """Share of batches under a wrong law that leave the bounds of the right one somewhere.

    Means of n replicates are taken as normal, which is far within what this number is used for.
    """
    bounds = np.array([allowed(v, right, most / n) for v in values.T])
    mean = wrong @ values
    centred = values - mean
    covariance = centred.T @ (centred * wrong[:, None]) / n
    draws = np.random.default_rng(1).multivariate_normal(
        mean, covariance, size=2000, method="eigh", check_valid="ignore"
    )
    slack = 1e-9 * np.maximum(np.abs(bounds).max(axis=1), 1.0)
    is_out = (draws < bounds[:, 0] - slack) | (draws > bounds[:, 1] + slack)
    return float(is_out.any(axis=1).mean())
