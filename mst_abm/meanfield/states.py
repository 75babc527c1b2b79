"""States that mean numbers are kept for: species with counters, by compartment, where they can occur.

The search goes from first cells, infusions and arrivals along every channel until nothing new is found.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mst_abm.engine import tables as T
from mst_abm.engine.tables import Tables
from mst_abm.errors import ModelError

MOST_STATES = 200_000


class Kind(NamedTuple):
    """Cells of a species in a compartment; ``waits``: those that look for a place in it."""

    compartment: int
    species: int
    waits: bool = False


Entering = tuple[Kind, int]  # with the program of their counters


def outcomes(tab: Tables, program: int, packed: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Counters that a program makes of others, with the probability of each way it may go.

    As `mst_abm.engine.cells.counters_by`, for many cells at once.
    """
    if program < 0:
        return [(1.0, np.zeros_like(packed))]
    first, last = tab.update_range[program]
    choices: list[list[tuple[float, np.ndarray]]] = []
    for op in tab.operations[first:last]:
        value = (packed >> op["shift"]) & op["mask"]
        kind, top = op["kind"], int(op["maximum"])
        if kind == T.RESAMPLE:
            begin = int(op["weights"])
            weights = np.diff(tab.weights[begin : begin + top + 1], prepend=0.0)
            fixed = [(float(w), np.full_like(packed, v)) for v, w in enumerate(weights) if w > 0]
        else:
            if kind == T.ADD:
                value = value + op["amount"]
            elif kind == T.SET:
                value = np.full_like(packed, op["amount"])
            elif kind == T.HALVE_UP:
                value = (value + 1) >> 1
            elif kind == T.HALVE_DOWN:
                value = value >> 1
            fixed = [(1.0, value)]
        choices.append([(w, np.clip(v, 0, top) << int(op["target"])) for w, v in fixed])
    found = []
    for parts in itertools.product(*choices):
        weight, result = 1.0, np.zeros_like(packed)
        for w, v in parts:
            weight, result = weight * w, result | v
        found.append((weight, result))
    return found


class Deed(NamedTuple):
    """What a channel or an entry brings about: (kind, program, copies) of every cell that comes of it."""

    actor: Kind
    products: tuple[tuple[Kind, int, float], ...]
    partner: Kind | None = None  # has to be there


def deeds_of(tab: Tables, lattices: np.ndarray) -> Iterable[Deed]:
    """Everything cells do that changes numbers; ``lattices``: whether a compartment is one."""
    n_species = tab.n_species
    for row, record in enumerate(tab.rows):
        m, s = divmod(row, n_species)
        actor = Kind(m, s)
        for ch in tab.channels[record["channel_first"] : record["pair_start"]]:
            products = products_of(ch, m, lattices)
            if products:
                yield Deed(actor, products)
        for ch in tab.channels[record["pair_start"] : record["channel_last"]]:
            for t in range(1, n_species):
                first, last = tab.entry_range[ch["pair_table"] * n_species + t]
                for entry in tab.entries[first:last]:
                    a, b = int(entry["product_a"]), int(entry["product_b"])
                    partner = Kind(m, t)
                    if a:
                        made = ((Kind(m, a), int(entry["update_a"]), 1.0),)
                        yield Deed(actor, made, partner)
                    if b:
                        made = ((Kind(m, b), int(entry["update_b"]), 1.0),)
                        yield Deed(partner, made, actor)
        if record["arrive_rate"] > 0.0:
            yield Deed(Kind(m, s, True), ((actor, -2, 1.0),))


def products_of(ch: np.void, m: int, lattices: np.ndarray) -> tuple[tuple[Kind, int, float], ...]:
    """Cells that come of an event of a single channel."""
    verb, a, b = ch["verb"], int(ch["product_a"]), int(ch["product_b"])
    if verb == T.BECOME and a:
        return ((Kind(m, a), int(ch["update_a"]), 1.0),)
    if verb == T.DIVIDE:
        pairs = ((a, ch["update_a"]), (b, ch["update_b"]))
        return tuple((Kind(m, s), int(update), 1.0) for s, update in pairs if s)
    if verb in (T.LEAVE, T.EMIT):
        to = int(ch["destination"])
        species, update = (a, ch["update_a"]) if verb == T.LEAVE else (b, ch["update_b"])
        goal = Kind(to, species, bool(lattices[to]))
        return ((goal, int(update), float(ch["copies"])),)
    return ()


def made_of(tab: Tables, program: int, packed: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """`outcomes`; program -2: a cell keeps its counters."""
    return [(1.0, packed)] if program == -2 else outcomes(tab, program, packed)


def reachable(
    tab: Tables, lattices: np.ndarray, entering: Iterable[Entering]
) -> dict[Kind, np.ndarray]:
    """Counters that each kind of cell may have, increasing.

    Raises
    ------
    ModelError
        If there are too many.
    """
    nothing = np.zeros(1, np.int64)
    known: dict[Kind, set[int]] = {}
    fresh: dict[Kind, set[int]] = {}

    def note(kind: Kind, packed: np.ndarray) -> None:
        new = set(packed.tolist()) - known.get(kind, set())
        if new:
            known.setdefault(kind, set()).update(new)
            fresh.setdefault(kind, set()).update(new)

    for kind, program in entering:
        for _, packed in outcomes(tab, program, nothing):
            note(kind, packed)
    by_actor: dict[Kind, list[Deed]] = {}
    waiting: dict[Kind, list[Deed]] = {}  # for a partner
    for deed in deeds_of(tab, lattices):
        by_actor.setdefault(deed.actor, []).append(deed)
        if deed.partner is not None:
            waiting.setdefault(deed.partner, []).append(deed)
    while fresh:
        kind = next(iter(fresh))
        is_first = fresh[kind] == known[kind]
        packed = np.array(sorted(fresh.pop(kind)), np.int64)
        tasks = [(d, packed) for d in by_actor.get(kind, ())]
        if is_first:
            # those who waited for this one go through with all they have
            for deed in waiting.get(kind, ()):
                if known.get(deed.actor):
                    tasks.append((deed, np.array(sorted(known[deed.actor]), np.int64)))
        for deed, cells in tasks:
            if deed.partner is not None and not known.get(deed.partner):
                continue
            for goal, program, _ in deed.products:
                for _, made in made_of(tab, program, cells):
                    note(goal, made)
        if sum(map(len, known.values())) > MOST_STATES:
            raise ModelError(
                f"mean field: expected at most {MOST_STATES:,} combinations of species, counters and "
                "compartments, got more; use smaller counters."
            )
    return {kind: np.array(sorted(known[kind]), np.int64) for kind in sorted(known)}
