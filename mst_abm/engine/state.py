"""Allocation, enlargement and digest of the state of a batch of bodies."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.engine.tables import (
    CLASS_RATES,
    IDENTITY,
    MAX_CLASSES,
    NODES,
    PAIR,
    POST,
    PROGRESS,
    ROW_RATES,
    SENT,
    SPACE_RATES,
    TURN,
    WAITING,
    Body,
    Border,
    Geometry,
    Lattice,
    Mixed,
    Outbox,
    Pool,
    Rates,
    Scratch,
    Tables,
)


def make_identity(shape: tuple[int, ...], is_recorded: bool) -> np.ndarray:
    """Identity records, of one place per body when not recorded."""
    return np.zeros(shape if is_recorded else (shape[0], 1), IDENTITY)


@dataclass
class State:
    """All arrays that change; enlarged by replacement. ``border`` is empty between intervals."""

    lattice: Lattice
    border: Border
    mixed: Mixed
    pool: Pool
    outbox: Outbox
    body: Body
    levels: tuple[np.ndarray, ...] = ()  # of each field now: (R, patches, nz, ny, nx) blocks


def make_mixed(tab: Tables, n_bodies: int, slots: np.ndarray) -> Mixed:
    """Mixed compartments with room for ``slots`` cells each."""
    first = np.concatenate([[0], np.cumsum(slots)]).astype(np.int64)
    total = max(int(first[-1]), 1)
    return Mixed(
        first=first,
        species=np.zeros((n_bodies, total), np.uint16),
        counters=np.zeros((n_bodies, total if tab.has_counters else 1), np.uint16),
        bounds=np.zeros((n_bodies, max(len(slots), 1), tab.n_classes + 2), np.int64),
        identity=make_identity((n_bodies, total), tab.has_identity),
    )


def make_pool(tab: Tables, n_bodies: int, n_patches: int, depth: int) -> Pool:
    """Waiting pools of ``depth`` cells per patch."""
    return Pool(
        n=np.zeros((n_bodies, n_patches), np.int64),
        cells=np.zeros((n_bodies, n_patches, depth), WAITING),
        identity=make_identity((n_bodies, n_patches * depth), tab.has_identity),
    )


def make_outbox(tab: Tables, n_bodies: int, n_patches: int, depth: int) -> Outbox:
    """Outboxes of ``depth`` cells per patch."""
    shape = (n_bodies, n_patches, depth)
    return Outbox(
        n=np.zeros(shape[:2], np.int64),
        done=np.zeros(shape[:2], np.int64),
        cells=np.zeros(shape, SENT),
        identity=make_identity((n_bodies, n_patches * depth), tab.has_identity),
    )


def most_sites(geo: Geometry) -> int:
    """Sites of the largest tile, at least 1."""
    return int((geo.tiles["last"] - geo.tiles["first"]).max(initial=1))


def most_at_once(geo: Geometry) -> int:
    """Tiles of one colour, where there are most of them: so many may work at once."""
    return max(int(np.bincount(tiles_of(geo, k)["colour"]).max()) for k in range(len(geo.patches)))


def is_tiled(geo: Geometry) -> bool:
    """Whether a patch consists of more than one tile."""
    return geo.n_units > len(geo.patches)


def make_border(geo: Geometry, depth: int) -> Border:
    """Outboxes of ``depth`` posts per tile; a single place without tiles."""
    units = geo.n_units if is_tiled(geo) else 1
    return Border(
        heads=np.zeros((units, 27), np.uint16),
        n=np.zeros(units, np.int64),
        posts=np.zeros((units, depth if is_tiled(geo) else 1), POST),
        drawn=np.zeros(units, np.int64),
    )


def enlarge_border(geo: Geometry, state: State) -> None:
    """Double the depth of the tiles' outboxes."""
    old = state.border
    state.border = make_border(geo, 2 * old.posts.shape[1])
    state.border.heads[:], state.border.n[:] = old.heads, old.n
    state.border.posts[:, : old.posts.shape[1]] = old.posts
    state.border.drawn[:] = old.drawn


def make_scratch(tab: Tables, geo: Geometry, n_tallies: int) -> Scratch:
    """What one thread works with beside its rates."""
    depth = 1024 if is_tiled(geo) else 1
    return Scratch(
        turn=np.zeros(1, TURN),
        path=np.zeros(32, np.int64),
        late=np.zeros(tab.n_classes + 2, np.int32),
        neighbour=np.full(27, -1),
        clock=np.zeros(27, np.int64),
        queue=np.zeros(2 * most_sites(geo) if is_tiled(geo) else 1, np.int64),
        counts=np.zeros(tab.n_species, np.int64),
        tally=np.zeros(max(n_tallies, 1), np.int64),
        sent_n=np.zeros(1, np.int64),
        sent=np.zeros(depth, SENT),
        sent_identity=np.zeros(depth if tab.has_identity else 1, IDENTITY),
    )


def enlarge_scratch(tab: Tables, old: Scratch) -> Scratch:
    """The same with twice the room for cells sent."""
    sent = np.concatenate([old.sent, np.zeros_like(old.sent)])
    held = old.sent_identity
    if tab.has_identity:
        held = np.concatenate([held, np.zeros_like(held)])
    return old._replace(sent=sent, sent_identity=held)


def make_state(
    tab: Tables,
    geo: Geometry,
    *,
    replicates: np.ndarray,
    n_tallies: int,
    signals: np.ndarray,
    n_fields: int,
    slots: np.ndarray,
    has_reservoirs: bool = False,
    levels: Sequence[float] = (),
) -> State:
    """State of empty bodies.

    Parameters
    ----------
    replicates : int64, shape (R,)
        Address of each body's draws.
    signals : float64, shape (G,)
        Levels at time zero.
    slots : int64, shape (Q,)
        Room of each mixed compartment.
    levels : one for each field
        Level of every block at time zero.
    """
    n = len(replicates)
    n_patches = len(geo.patches)
    sites = int(geo.patches["last"].max()) if n_patches else 0
    held = max(sites, 1)
    has_flow = bool(n_patches)
    place = np.uint16 if is_tiled(geo) else np.int32
    lattice = Lattice(
        species=np.zeros((n, held), np.uint16),
        counters=np.zeros((n, held if tab.has_counters else 1), np.uint16),
        where=np.zeros((n, held), place),
        order=np.zeros((n, held), place),
        stamp=np.zeros((n, held if is_tiled(geo) else 1), np.uint8),
        bounds=np.zeros((n, max(geo.n_units, 1), tab.n_classes + 2), np.int32),
        fields=np.zeros((n_fields, n, held), np.uint8),
        identity=make_identity((n, held), tab.has_identity),
        sensed=np.ones((n, max(sensed_numbers(tab, geo), 1))),
    )
    progress = np.zeros(n, PROGRESS)
    progress["replicate"] = replicates
    progress["stage"] = -1
    body = Body(
        progress=progress,
        counts=np.zeros((n, tab.n_compartments, tab.n_species), np.int64),
        received=np.zeros((n, tab.n_compartments, tab.n_species), np.int64),
        tally=np.zeros((n, max(n_tallies, 1)), np.int64),
        signals=np.tile(signals, (n, 1)),
        node_signals=np.zeros((n, NODES + 1, len(tab.signals))),
        present=np.zeros((n, tab.n_compartments, tab.n_species), np.bool_),
        births=np.zeros((n, geo.n_units + 1), np.int64),
        held=np.zeros((n, *((tab.n_compartments, tab.n_species) if has_reservoirs else (1, 1)))),
    )
    depth = 16 if has_flow else 1
    return State(
        lattice,
        make_border(geo, 256),
        make_mixed(tab, n, slots),
        make_pool(tab, n, n_patches, depth),
        make_outbox(tab, n, n_patches, depth),
        body,
        tuple(
            np.full((n, *blocks_of(geo, medium)), level)
            for medium, level in zip(tab.media, levels, strict=True)
        ),
    )


def blocks_of(geo: Geometry, medium: np.void) -> tuple[int, int, int, int]:
    """Patches of a field, and blocks of each along z, y, x."""
    patches = geo.spaces["patches"][medium["compartment"]]
    return int(patches), int(medium["nz"]), int(medium["ny"]), int(medium["nx"])


def sensed_numbers(tab: Tables, geo: Geometry) -> int:
    """Numbers that all readings of fields give for one body."""
    return sum(
        int(reading["numbers"]) * math.prod(blocks_of(geo, tab.media[reading["medium"]]))
        for reading in tab.readings
    )


def make_rates(tab: Tables, geo: Geometry) -> Rates:
    """Scratch of one thread."""
    m = tab.n_compartments
    return Rates(
        cumulative=np.zeros(len(tab.channels)),
        entry=np.zeros(len(tab.entries)),
        pair_top=np.zeros(int(np.count_nonzero(tab.channels["verb"] == PAIR))),
        rows=np.zeros(len(tab.rows), ROW_RATES),
        classes=np.zeros((m, MAX_CLASSES), CLASS_RATES),
        spaces=np.zeros(m, SPACE_RATES),
        source=np.zeros(len(tab.sources)),
        factors=np.ones(len(tab.factor_range)),
        weight=np.zeros((max(len(geo.mixed_compartment), 1), MAX_CLASSES + 2)),
    )


def enlarge_mixed(tab: Tables, state: State, slots: np.ndarray) -> None:
    """Give mixed compartments room for ``slots`` cells each, keeping every cell."""
    old = state.mixed
    new = make_mixed(tab, old.species.shape[0], slots)
    new.bounds[:] = old.bounds
    columns = [(old.species, new.species)]
    if tab.has_counters:
        columns.append((old.counters, new.counters))
    if tab.has_identity:
        columns.append((old.identity, new.identity))
    for q in range(len(slots)):
        n = int(old.first[q + 1] - old.first[q])
        a, b = int(old.first[q]), int(new.first[q])
        for source, target in columns:
            target[:, b : b + n] = source[:, a : a + n]
    state.mixed = new


def enlarge_pool(tab: Tables, state: State) -> None:
    """Double the depth of the waiting pools."""
    old = state.pool
    n_bodies, n_patches, depth = old.cells.shape
    state.pool = make_pool(tab, n_bodies, n_patches, 2 * depth)
    _copy_cells(tab, old, state.pool)


def enlarge_outbox(tab: Tables, state: State) -> None:
    """Double the depth of the outboxes."""
    old = state.outbox
    n_bodies, n_patches, depth = old.cells.shape
    state.outbox = make_outbox(tab, n_bodies, n_patches, 2 * depth)
    state.outbox.done[:] = old.done
    _copy_cells(tab, old, state.outbox)


def _copy_cells(tab: Tables, old: Pool | Outbox, new: Pool | Outbox) -> None:
    n_bodies, n_patches, depth = old.cells.shape
    new.n[:] = old.n
    new.cells[:, :, :depth] = old.cells
    if tab.has_identity:
        shaped = new.identity.reshape(n_bodies, n_patches, -1)
        shaped[:, :, :depth] = old.identity.reshape(n_bodies, n_patches, depth)


def tiles_of(geo: Geometry, k: int) -> np.ndarray:
    """Records of the tiles of patch k."""
    space = geo.spaces[geo.patches["compartment"][k]]
    first = int(space["tile_first"])
    return geo.tiles[first : first + int(space["tiles_x"] * space["tiles_y"] * space["tiles_z"])]


def digest_body(tab: Tables, geo: Geometry, state: State, r: int) -> str:
    """Hash of everything body r is made of; spare room does not count."""
    digest = hashlib.sha256()

    def add(array: np.ndarray) -> None:
        digest.update(np.ascontiguousarray(array).tobytes())

    body, lattice, mixed, pool = state.body, state.lattice, state.mixed, state.pool
    for array in (body.counts, body.received, body.tally, body.signals):
        add(array[r])
    for name in ("window", "attempts", "executed"):
        add(body.progress[name][r])
    for levels in state.levels:
        add(levels[r])
    if len(geo.patches):
        add(lattice.species[r])
        add(lattice.counters[r])
        add(lattice.bounds[r])
        for k, patch in enumerate(geo.patches):
            for i, tile in enumerate(tiles_of(geo, k)):
                first = int(patch["first"] + tile["first"])
                acting = int(lattice.bounds[r, patch["unit"] + i, -2])
                add(lattice.order[r, first : first + acting])
            add(pool.cells[r, k, : pool.n[r, k]])
        if tab.has_identity:
            add(lattice.identity[r][lattice.species[r] > 0])
    for q in range(len(geo.mixed_compartment)):
        first = int(mixed.first[q])
        used = slice(first, first + int(mixed.bounds[r, q, -1]))
        add(mixed.bounds[r, q])
        add(mixed.species[r, used])
        if tab.has_counters:
            add(mixed.counters[r, used])
        if tab.has_identity:
            add(mixed.identity[r, used])
    return digest.hexdigest()
