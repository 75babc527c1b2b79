"""What happens to one cell's own numbers: counters, identity, local modifiers' tables.

Shared by the lattice and the mixed kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mst_abm.engine import rng
from mst_abm.engine.kernel import inlined, keep_apart, kernel
from mst_abm.engine.tables import ADD, HALVE_DOWN, HALVE_UP, RESAMPLE, SET


class Address(NamedTuple):
    """Where the draws of a space in a window come from.

    Spaces of a body: its tiles, patch after patch, then the mixed compartments together.
    """

    seed: int
    replicate: int
    window: int
    space: int


@inlined
def updated_counters(tab, update, counters, address, candidate, product):
    """Packed counters of a product, from those of the reactant.

    ``update`` -1 means the product's type has none; a program copies, changes or draws.
    """
    if update < 0:
        return np.uint16(0)
    return counters_by(tab, update, counters, address, candidate, product)


@kernel
def counters_by(tab, update, counters, address, candidate, product):
    """Counters that an update program makes of others."""
    keep_apart()
    packed = np.int64(counters)
    result = np.int64(0)
    first = tab.update_range[update, 0]
    for i in range(first, tab.update_range[update, 1]):
        kind = tab.operations[i].kind
        value = (packed >> tab.operations[i].shift) & tab.operations[i].mask
        if kind == ADD:
            value += tab.operations[i].amount
        elif kind == SET:
            value = tab.operations[i].amount
        elif kind == HALVE_UP:
            value = (value + 1) >> 1
        elif kind == HALVE_DOWN:
            value = value >> 1
        elif kind == RESAMPLE:
            u, _, _ = rng.detail(
                address.seed,
                address.replicate,
                address.window,
                address.space,
                candidate,
                rng.COUNTING + 4 * product + i - first,
            )
            value = 0
            while (
                value < tab.operations[i].maximum
                and u >= tab.weights[tab.operations[i].weights + value]
            ):
                value += 1
        value = min(max(value, 0), tab.operations[i].maximum)
        result |= value << tab.operations[i].target
    return np.uint16(result)


@kernel
def table_value(tab, modifier, x):
    """Value of a modifier's table at an integer, constant beyond its end."""
    last = tab.modifiers[modifier].length - 1
    return tab.modifier_values[tab.modifiers[modifier].table + min(x, last)]


@kernel
def table_value_between(tab, modifier, x):
    """The same at a mean count, linear between integers (mixed compartments)."""
    last = tab.modifiers[modifier].length - 1
    low = min(int(x), last)
    high = min(low + 1, last)
    start = tab.modifiers[modifier].table
    a = tab.modifier_values[start + low]
    return a + (tab.modifier_values[start + high] - a) * (x - low) if high > low else a


@kernel
def write_identity(identity, i, id_, parent, birth, clone, generation):
    cell = identity[i]
    cell.id = id_
    cell.parent = parent
    cell.birth = birth
    cell.clone = clone
    cell.generation = generation


@kernel
def copy_identity(source, i, target, j):
    """Copy one record between tables of a body."""
    a, b = source[i], target[j]
    b.id = a.id
    b.parent = a.parent
    b.birth = a.birth
    b.clone = a.clone
    b.generation = a.generation


@kernel
def swap_identity(identity, i, j):
    keep_apart()
    cell = identity[i]
    id_, parent, birth = cell.id, cell.parent, cell.birth
    clone, generation = cell.clone, cell.generation
    copy_identity(identity, j, identity, i)
    write_identity(identity, j, id_, parent, birth, clone, generation)


@kernel
def new_id(window, unit, ordinal):
    """64 bits: window (20), tile or mixed compartments (20), ordinal of the birth in both (24)."""
    return np.uint64((window << 44) | (unit << 24) | ordinal)


@kernel
def child_identity(identity, mother, child, birth, id_):
    """A daughter's record, from the mother's."""
    keep_apart()
    write_identity(
        identity,
        child,
        id_,
        identity[mother].id,
        birth,
        identity[mother].clone,
        identity[mother].generation + 1,
    )
