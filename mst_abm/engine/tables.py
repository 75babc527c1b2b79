"""What kernels read and change: a few NamedTuples of arrays.

``Tables`` is the model, constant through a run. ``Rates`` is scratch, made anew for every exchange
interval from the tables and the signals. The others are state: a run is their content.

Naming: a *row* is ``compartment * n_species + species``. A *channel* is one thing a cell of one
species can do by itself; a pair channel leads to *entries*, one for each partner species, rule and
outcome. Every channel and entry has a *tally* number, under which its events are booked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# What a channel does.
DIE, BECOME, DIVIDE, MOVE, PAIR, LEAVE, EMIT = range(7)
# Where a daughter goes.
ATTEMPT, VACANT, PUSH = range(3)
# What a local modifier looks at.
NEAR, DISTANCE, SITE, COUNTER, FIELD = range(5)
# How a product's counter comes about.
KEEP, ADD, SET, HALVE_UP, HALVE_DOWN, RESAMPLE = range(6)
# Laws of signal modifiers.
HILL, INVERSE_HILL, LINEAR, STEP, EXPONENTIAL, TABLE = range(6)
# Kinds of signal.
DYNAMIC, GIVEN = range(2)

MAX_CLASSES = 8
MAX_RANGE = 5
NODES = 4  # Gauss-Legendre nodes at which signals are read in an exchange interval


# Parameters are records: a kernel that gets few arrays compiles in a fraction of the time, and
# what belongs together lies in one cache line. Agents are columns.
ROW = np.dtype(  # a species in a compartment
    [
        ("class_of", "i8"),  # rate class, -1 if such a cell never acts
        ("is_static", "i8"),
        ("channel_first", "i8"),
        ("pair_start", "i8"),  # first pair channel: they come last
        ("channel_last", "i8"),
        ("arrive_rate", "f8"),  # per waiting cell, bounds included
        ("arrive_factor", "i8"),
        ("arrive_modifier_first", "i8"),
        ("arrive_modifier_last", "i8"),
        ("arrive_tally", "i8"),
    ]
)
CHANNEL = np.dtype(
    [
        ("verb", "i8"),
        ("base", "f8"),  # 1/h, bounds of local modifiers included
        ("factor", "i8"),  # signal factor, 0 = none
        ("modifier_first", "i8"),
        ("modifier_last", "i8"),
        ("tally", "i8"),
        ("product_a", "i8"),
        ("product_b", "i8"),
        ("update_a", "i8"),
        ("update_b", "i8"),
        ("placement", "i8"),
        ("push", "i8"),
        ("swap", "i8"),  # row of pattern_mask, -1 = none
        ("destination", "i8"),  # compartment of leave and emit
        ("copies", "f8"),  # cells there per cell that leaves, or emitted
        ("reach", "i8"),  # pair channels: 0 = neighbours, R = ball of radius R
        ("pair_table", "i8"),
        ("steer", "i8"),  # reading of a field that a step is biased by, -1 = none
    ]
)
ENTRY = np.dtype(
    [
        ("base", "f8"),
        ("factor", "i8"),
        ("modifier_first", "i8"),
        ("modifier_last", "i8"),
        ("tally", "i8"),
        ("product_a", "i8"),
        ("product_b", "i8"),
        ("update_a", "i8"),
        ("update_b", "i8"),
    ]
)
MODIFIER = np.dtype(  # local; its table is divided by its greatest value, which went into base
    [
        ("kind", "i8"),
        ("target", "i8"),  # pattern row, distance or site field, shift of a counter, or reading
        ("reach", "i8"),  # radius of near, or mask of a counter
        ("table", "i8"),  # first place in modifier_values
        ("length", "i8"),
    ]
)
MEDIUM = np.dtype(  # a field that spreads through the patches of a lattice, on blocks of sites
    [
        ("compartment", "i8"),
        ("side", "i8"),  # sites of a block
        ("width", "f8"),  # um of a block
        ("nx", "i8"),  # blocks of a patch
        ("ny", "i8"),
        ("nz", "i8"),
    ]
)
READING = np.dtype(  # what cells read of a field's mean over the interval, block by block
    [
        ("medium", "i8"),
        ("first", "i8"),  # place in Lattice.sensed of the first block of the first patch
        ("numbers", "i8"),  # of a block: 1 = a factor over its bound, 3 = the bias of a step
        ("term", "i8"),  # factor: its law
        ("bound", "f8"),
        ("strength", "f8"),  # bias: strength g / (|g| + half) along the gradient g
        ("half", "f8"),  # level / um
    ]
)
OPERATION = np.dtype(  # one product counter of an update program
    [
        ("kind", "i8"),
        ("shift", "i8"),  # of the reactant's counter
        ("mask", "i8"),
        ("amount", "i8"),
        ("target", "i8"),  # shift of the product's counter
        ("maximum", "i8"),
        ("weights", "i8"),  # first place in weights, for RESAMPLE
    ]
)
SOURCE = np.dtype(  # arrivals from outside the body
    [
        ("rate", "f8"),
        ("factor", "i8"),
        ("tally", "i8"),
        ("species", "i8"),
        ("update", "i8"),
        ("batch", "i8"),
    ]
)
TERM = np.dtype(  # a signal's law in a factor; p0.. as in `mst_abm.model.laws.PARAMETERS`
    [
        ("signal", "i8"),
        ("kind", "i8"),
        ("geometric", "i8"),
        ("p0", "f8"),
        ("p1", "f8"),
        ("p2", "f8"),
        ("p3", "f8"),
        ("p4", "f8"),
        ("first", "i8"),  # table laws: rows of law
        ("last", "i8"),
    ]
)
SIGNAL = np.dtype(
    [
        ("kind", "i8"),
        ("given", "i8"),  # row of Schedule.given for GIVEN
        ("production", "f8"),
        ("clearance", "f8"),
        ("maximum", "f8"),
        ("half", "f8"),
        ("yield_first", "i8"),
        ("yield_last", "i8"),
        ("clear_first", "i8"),
        ("clear_last", "i8"),
    ]
)
COUNT_TERM = np.dtype(
    [("compartment", "i8"), ("pattern", "i8"), ("rate", "f8")]  # rate per simulated cell
)
SPACE = np.dtype(  # a compartment
    [
        ("nx", "i8"),
        ("ny", "i8"),
        ("nz", "i8"),
        ("periodic_x", "i8"),
        ("periodic_y", "i8"),
        ("periodic_z", "i8"),
        ("tiles_x", "i8"),
        ("tiles_y", "i8"),
        ("tiles_z", "i8"),
        ("tile_first", "i8"),  # its tiles among Geometry.tiles
        ("axis_first", "i8"),  # its part of Geometry.tile_along: x, then y, then z
        ("is_lattice", "i8"),
        ("patches", "i8"),  # per body, 0 for mixed
        ("first_patch", "i8"),  # number of its first patch within a body
        ("neighbours", "i8"),
        ("ball_row", "i8"),  # 0 = 3-D, 1 = 2-D, 2 = 1-D
        ("mixed_index", "i8"),  # number among the mixed compartments, -1 for lattices
        ("capacity", "i8"),  # sites of a mixed compartment, 0 = mass action
        ("room", "f8"),  # mass action: sites the simulated share would hold
        ("share", "f8"),  # of the body that is simulated
        ("source_first", "i8"),
        ("source_last", "i8"),
    ]
)
PATCH = np.dtype(
    [
        ("compartment", "i8"),
        ("first", "i8"),  # sites [first, last) within a body
        ("last", "i8"),
        ("unit", "i8"),  # number of its first tile among the tiles of a body
    ]
)
TILE = np.dtype(  # a box of sites that are stored in a row, and that one thread works on at a time
    [
        ("x", "i8"),  # its lowest corner
        ("y", "i8"),
        ("z", "i8"),
        ("nx", "i8"),
        ("ny", "i8"),
        ("nz", "i8"),
        ("first", "i8"),  # sites [first, last) of the patch
        ("last", "i8"),
        ("colour", "i8"),  # parity of its place on each axis: 0 to 7
        ("magic_x", "i8"),  # multiplier and shift that stand for division by nx and ny
        ("shift_x", "i8"),
        ("magic_y", "i8"),
        ("shift_y", "i8"),
    ]
)
IDENTITY = np.dtype(
    [("id", "u8"), ("parent", "u8"), ("birth", "f8"), ("clone", "u4"), ("generation", "u2")]
)
WAITING = np.dtype([("species", "u2"), ("counters", "u2")])
SENT = np.dtype(
    [
        ("time", "f8"),
        ("copies", "i4"),
        ("destination", "i4"),
        ("species", "u2"),
        ("counters", "u2"),
        ("unit", "i4"),  # tile it left
    ]
)
POST = np.dtype([("site", "u2"), ("next", "u2")])  # site of the receiving tile; 0 ends a chain
TURN = np.dtype(  # one tile's work from one time to another
    [
        ("stage", "i8"),  # where an interrupted turn goes on, 0 = not begun
        ("time", "f8"),  # where an interrupted turn stopped
        ("candidate", "i8"),  # next candidate
        ("attempts", "i8"),
        ("executed", "i8"),
        ("stop", "f8"),  # when the turn ends, or the next waiting cell joins
        ("begin", "f8"),  # of the window
        ("end", "f8"),
        ("ticks", "f8"),  # per h
        ("queued", "i8"),  # cells in Scratch.queue
        ("is_backward", "b1"),  # in this window the colours take turns from the last to the first
        ("is_full", "b1"),  # the outbox may not hold another event's posts
        ("has_appeared", "b1"),  # a species of which there was no cell, perhaps
    ]
)
PROGRESS = np.dtype(
    [
        ("replicate", "i8"),  # address of the body's draws
        ("window", "i8"),  # windows completed
        ("stage", "i8"),  # next patch of an unfinished window, K = mixed; -1 = not begun
        ("time", "f8"),  # where an interrupted stage stopped
        ("candidate", "i8"),  # next candidate of an interrupted stage
        ("attempts", "i8"),
        ("executed", "i8"),
        (
            "has_appeared",
            "b1",
        ),  # a species, in a mixed compartment, for the first time in the window
    ]
)
ROW_RATES = np.dtype(
    [("single", "f8"), ("paired", "f8"), ("arrive", "f8")]  # sums over channels of the row
)
CLASS_RATES = np.dtype(
    [
        ("top", "f8"),  # greatest rate of a species of the class that is present
        ("inverse", "f8"),  # 1 / top, 0 for 0
        ("single", "f8"),  # the same of the sums of single channels alone
        ("paired", "f8"),
    ]
)
SPACE_RATES = np.dtype(
    [
        ("arrive_top", "f8"),
        ("source_sum", "f8"),
        ("density", "f8"),  # mixed: tries to meet per virtual neighbour, as last weighed
    ]
)


class Tables(NamedTuple):
    """The model. S species (0 = empty), M compartments, C rate classes."""

    n_species: int
    n_compartments: int
    n_classes: int
    has_counters: bool
    has_identity: bool
    has_factors: bool
    rows: np.ndarray  # (M*S,) ROW
    channels: np.ndarray  # CHANNEL
    entries: np.ndarray  # ENTRY
    entry_range: np.ndarray  # (pair tables * S, 2) entries of (pair table, partner)
    modifiers: np.ndarray  # MODIFIER
    modifier_values: np.ndarray
    pattern_mask: np.ndarray  # (patterns, S) b1
    operations: np.ndarray  # OPERATION
    update_range: np.ndarray  # (programs, 2) operations of an update program
    weights: np.ndarray  # cumulative weights of initial counters
    sources: np.ndarray  # SOURCE
    factor_range: np.ndarray  # (factors, 2) terms; the mean over an interval of their product
    terms: np.ndarray  # TERM
    law: np.ndarray  # (n, 2) points of table laws
    signals: np.ndarray  # SIGNAL
    count_terms: np.ndarray  # COUNT_TERM
    media: np.ndarray  # MEDIUM
    yields: np.ndarray  # (media, S) level per hour that one cell of a block adds
    readings: np.ndarray  # READING


class Geometry(NamedTuple):
    """Spaces. M compartments, K patches and U tiles per body, Q mixed compartments.

    Sites of a patch are numbered tile by tile; in exact mode a patch is one tile.
    """

    spaces: np.ndarray  # (M,) SPACE
    patches: np.ndarray  # (K,) PATCH
    n_units: int  # U
    tiles: np.ndarray  # TILE of each lattice compartment
    tile_along: np.ndarray  # i8 place of the tile that holds a coordinate, per compartment and axis
    mixed_compartment: np.ndarray  # (Q,)
    direction: np.ndarray  # (M, 26, 3) i1 steps to neighbours
    ball: np.ndarray  # (3, n, 3) i1 offsets by distance
    ball_count: np.ndarray  # (3, MAX_RANGE + 1) offsets within R


class Lattice(NamedTuple):
    """Patches of all bodies. R bodies, U tiles each, N sites in a body.

    A tile lists its acting cells from the left end of its part of ``order``, by class, and from the
    right end those that *wait*: that came from another tile and whose clock is not the tile's.
    """

    species: np.ndarray  # (R, N) u2
    counters: np.ndarray  # (R, N) u2, or (R, 1)
    where: np.ndarray  # (R, N) i4 or u2 place in order, undefined for sites with no acting cell
    order: np.ndarray  # (R, N) i4 or u2 numbers of sites within the tile
    stamp: np.ndarray  # (R, N) u1 clock of a waiting cell, 0 = the tile's; or (R, 1)
    bounds: np.ndarray  # (R, U, C + 2) i4 bounds of the classes, then the number of waiting cells
    fields: np.ndarray  # (F, R, N) u1 sites to the nearest cell of a static type, or contacts
    sensed: np.ndarray  # (R, n) f8 what readings give in this interval, patch by patch; or (R, 1)
    identity: np.ndarray  # (R, N) IDENTITY, or (R, 1)


class Mixed(NamedTuple):
    """Mixed compartments of all bodies: cells in segments by class, the idle last."""

    first: np.ndarray  # (Q + 1,) first slot of a compartment within a body
    species: np.ndarray  # (R, slots) u2
    counters: np.ndarray
    bounds: np.ndarray  # (R, Q, C + 2) i8, relative to first
    identity: np.ndarray


class Pool(NamedTuple):
    """Cells waiting for a place on a patch."""

    n: np.ndarray  # (R, K) i8
    cells: np.ndarray  # (R, K, depth) WAITING
    identity: np.ndarray  # (R, K * depth)


class Outbox(NamedTuple):
    """Cells that left a patch in this interval, in order of time."""

    n: np.ndarray  # (R, K) i8
    done: np.ndarray  # (R, K) i8 already handed over
    cells: np.ndarray  # (R, K, depth) SENT
    identity: np.ndarray  # (R, K * depth)


class Body(NamedTuple):
    """Counts, tallies, signals and progress of every body."""

    progress: np.ndarray  # (R,) PROGRESS
    counts: np.ndarray  # (R, M, S) i8
    received: np.ndarray  # (R, M, S) i8 cells handed over by another compartment or a protocol
    tally: np.ndarray  # (R, T) i8
    signals: np.ndarray  # (R, G) f8 at the start of the window
    node_signals: np.ndarray  # (R, NODES + 1, G) f8 within and at the end of it
    present: np.ndarray  # (R, M, S) b1 species that have been there in this window
    births: np.ndarray  # (R, U + 1) i8 ordinals of identities in this window
    held: (
        np.ndarray
    )  # (R, M, S) f8 cells of the sample that reservoirs stand for; (R, 1, 1) without


class Border(NamedTuple):
    """What tiles of one body tell each other: sites of a neighbour that were changed.

    Empty between exchange intervals. One place each when no lattice is cut into tiles.
    """

    heads: np.ndarray  # (U, 27) u2 last post for the neighbour in a direction, 0 = none
    n: np.ndarray  # (U,) i8
    posts: np.ndarray  # (U, depth) POST
    drawn: np.ndarray  # (U,) i8 candidates used in this interval


class Schedule(NamedTuple):
    """The windows of one call, the same for every body; levels follow the plan of its treatment."""

    edges: np.ndarray  # (W + 1,) h
    first_window: int  # number of the first window, from 1
    given: (
        np.ndarray
    )  # (P, W, rows, NODES + 1) signals that do not depend on cells; last: at the end
    plan: np.ndarray  # (R,) i8 which of the P holds for a body


class Rates(NamedTuple):
    """Scratch of one thread, for one body and one interval."""

    cumulative: np.ndarray  # (channels,) running sums within a row (pair sums start again)
    entry: np.ndarray  # (entries,) running sums within (pair table, partner)
    pair_top: np.ndarray  # (pair tables,) greatest sum over partners
    rows: np.ndarray  # (M*S,) ROW_RATES
    classes: np.ndarray  # (M, C) CLASS_RATES
    spaces: np.ndarray  # (M,) SPACE_RATES
    source: np.ndarray  # (sources,) running sums within a compartment
    factors: np.ndarray  # (factors,)
    weight: np.ndarray  # (Q or 1, MAX_CLASSES + 2) of each class, of arrivals, of both together


class Scratch(NamedTuple):
    """What one thread needs while it works on a tile."""

    turn: np.ndarray  # (1,) TURN
    path: np.ndarray  # (32,) sites of a pushed chain
    late: np.ndarray  # (C + 2,) i4 bounds of the cells that catch up
    neighbour: np.ndarray  # (27,) i8 tiles of the patch by direction, -1 = none
    clock: np.ndarray  # (27,) i8 tick a neighbour stands at
    queue: np.ndarray  # i8 heap of (tick, site) of waiting cells that join in this turn
    counts: np.ndarray  # (S,) i8 change of counts by tiles
    tally: np.ndarray  # (T,) i8 events of tiles
    sent_n: np.ndarray  # (1,) i8
    sent: np.ndarray  # (depth,) SENT
    sent_identity: np.ndarray  # (depth,) IDENTITY, or (1,)
