"""The reference model in fixed steps: what a careful scientist would write with numba.

Every step the cells alive at its start act once, in an order shuffled anew (random activation, as the
Mesa model beside this does). One uniform decides: die, try to divide, try to hop, or nothing; daughters
act from the next step on. A rate becomes a probability in one of two ways, both common:

    "linear"       p = rate x step, while the sum is at most 1
    "exponential"  p = (1 - exp(-total x step)) x rate / total: never more than one event a step
"""

from __future__ import annotations

import math

import numba
import numpy as np

BIRTH, DEATH, HOP = 0.1, 0.05, 1.0  # 1/h
KINDS = ("linear", "exponential")


def probabilities(step_h: float, kind: str) -> tuple[float, float, float]:
    """Chances of birth, death and hop in one step."""
    total = BIRTH + DEATH + HOP
    share = step_h if kind == "linear" else (1 - math.exp(-total * step_h)) / total
    if share * total > 1:
        raise ValueError(f"a step of {step_h} h: probabilities add to more than 1")
    return BIRTH * share, DEATH * share, HOP * share


@numba.njit
def neighbour(site, direction, side):
    """Site next to ``site`` on a periodic cube."""
    x, y, z = site % side, site // side % side, site // (side * side)
    step = 1 if direction % 2 == 0 else side - 1
    if direction < 2:
        x = (x + step) % side
    elif direction < 4:
        y = (y + step) % side
    else:
        z = (z + step) % side
    return x + side * (y + side * z)


@numba.njit
def sweep(seed, side, n_start, n_steps, p_birth, p_death, p_hop):
    """Run from ``n_start`` cells at random; returns cells at the end, hops, cells x steps."""
    np.random.seed(seed)
    sites = side**3
    occupied = np.zeros(sites, np.bool_)
    cells = np.empty(sites, np.int32)
    n = 0
    while n < n_start:
        site = np.random.randint(sites)
        if not occupied[site]:
            occupied[site] = True
            cells[n] = site
            n += 1
    hops = cell_steps = 0
    for _ in range(n_steps):
        cell_steps += n
        for i in range(n - 1, 0, -1):
            j = int(np.random.random() * (i + 1))
            cells[i], cells[j] = cells[j], cells[i]
        end = n
        for i in range(n):
            u = np.random.random()
            if u >= p_death + p_birth + p_hop:
                continue
            site = cells[i]
            if u < p_death:
                occupied[site] = False
                cells[i] = -1
                continue
            other = neighbour(site, int(np.random.random() * 6), side)
            if occupied[other]:
                continue
            occupied[other] = True
            if u < p_death + p_birth:
                # the dead are listed until the step ends, so a full cube may run out of entries
                if end == cells.shape[0]:
                    return -1, hops, cell_steps
                cells[end] = other
                end += 1
            else:
                occupied[site] = False
                cells[i] = other
                hops += 1
        n = 0
        for i in range(end):
            if cells[i] >= 0:
                cells[n] = cells[i]
                n += 1
    return n, hops, cell_steps


def run(
    seed: int, side: int, filled: float, hours: float, step_h: float, kind: str
) -> tuple[int, float]:
    """Cells at the end, and executed hops per cell and hour."""
    steps = round(hours / step_h)
    birth, death, hop = probabilities(step_h, kind)
    n, hops, cell_steps = sweep(seed, side, int(filled * side**3), steps, birth, death, hop)
    if n < 0:
        raise RuntimeError("the list of cells is full: a shorter step is needed")
    return n, hops / (cell_steps * step_h)
