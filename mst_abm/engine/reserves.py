"""What kernels know of reservoirs: classes of cells held as numbers of the whole body.

A *state* is a species of the class with its counters. A *deed* is something that a cell of a state does or
suffers; its hazard is base x signal factor x *outlook*, what the cell's place adds to it. Many deeds share an
outlook. An *outgoing* is a cell that a deed sends out of the class or the compartment, or one of the sample that it changes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# What an outlook looks at: nothing, local modifiers, room for a daughter too, cells that act on the
# cell, cells that it acts on.
CERTAIN, PLACE, ROOM, SUFFERS, ACTS = range(5)

RESERVOIR = np.dtype(
    [
        ("compartment", "i8"),
        ("cells", "i8"),  # pattern row of the class
        ("state_first", "i8"),
        ("state_last", "i8"),
        ("outlook_first", "i8"),
        ("outlook_last", "i8"),
        ("on", "i8"),  # pattern row of the sites of probes
        ("modifier_first", "i8"),  # local modifiers of the sites of probes and of cells handed over
        ("modifier_last", "i8"),
        ("probe_first", "i8"),
        ("probe_last", "i8"),
        ("below", "f8"),  # simulated cells
        ("above", "f8"),
        ("share", "f8"),
    ]
)
STATE = np.dtype([("species", "i8"), ("counters", "i8"), ("deed_first", "i8"), ("deed_last", "i8")])
DEED = np.dtype(
    [
        ("base", "f8"),
        ("factor", "i8"),
        ("outlook", "i8"),
        ("state_a", "i8"),  # state of the product, -1 = none
        ("state_b", "i8"),
        ("out_a", "i8"),  # outgoing of the product, -1 = none
        ("out_b", "i8"),
        ("tally", "i8"),
    ]
)
OUTLOOK = np.dtype(
    [
        ("kind", "i8"),
        ("modifier_first", "i8"),
        ("modifier_last", "i8"),
        ("counters", "i8"),
        ("other", "i8"),  # species of the other cell
        ("reach", "i8"),
        ("placement", "i8"),
        ("push", "i8"),
    ]
)
OUTGOING = np.dtype(
    [
        ("compartment", "i8"),
        ("species", "i8"),
        ("counters", "i8"),
        ("reservoir", "i8"),
        ("before", "i8"),  # a cell of the sample that is turned into this one; 0 = it comes in
        ("update", "i8"),  # program of that cell's counters
        ("copies", "f8"),  # simulated cells there for an event of the body
    ]
)


class Reserves(NamedTuple):
    """Reservoirs of a model, constant through a run. C reservoirs."""

    reservoirs: np.ndarray  # (C,) RESERVOIR
    states: np.ndarray  # STATE
    deeds: np.ndarray  # DEED
    outlooks: np.ndarray  # OUTLOOK
    outgoing: np.ndarray  # OUTGOING


class Held(NamedTuple):
    """What reservoirs hold and what is under way. R bodies; the first five are state."""

    numbers: np.ndarray  # (R, states) i8 cells of the whole body
    is_owner: np.ndarray  # (R, C) b1 the reservoir owns the class, not the compartment
    tally: np.ndarray  # (R, T) i8 events of the whole body
    handed: np.ndarray  # (R, M, S) i8 simulated cells put into compartments, less those taken out
    owed: np.ndarray  # (R, outgoing) i8 simulated cells still to be placed
    patch: np.ndarray  # (R, probes) i8 where probes stand in this interval
    site: np.ndarray  # (R, probes) i8
    outlook: np.ndarray  # (R, outlooks) f8 mean over probes at the start of the interval
    later: np.ndarray  # (outlooks,) f8 the same at its end, then the mean of both
    hazard: np.ndarray  # (deeds,) f8 1/h
    total: np.ndarray  # (states,) f8 1/h, all that a cell may do
    fresh: np.ndarray  # (states,) i8
    path: np.ndarray  # (32,) i8


def make_held(res: Reserves, n_bodies: int, n_tallies: int, n_rows: tuple[int, int]) -> Held:
    """Empty reservoirs; ``n_rows``: compartments and species."""
    n_probes = int(res.reservoirs["probe_last"].max(initial=0))

    def whole(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    return Held(
        numbers=whole(n_bodies, len(res.states)),
        is_owner=np.zeros((n_bodies, len(res.reservoirs)), np.bool_),
        tally=whole(n_bodies, max(n_tallies, 1)),
        handed=whole(n_bodies, *n_rows),
        owed=whole(n_bodies, len(res.outgoing)),
        patch=whole(n_bodies, n_probes),
        site=whole(n_bodies, n_probes),
        outlook=np.zeros((n_bodies, len(res.outlooks))),
        later=np.zeros(len(res.outlooks)),
        hazard=np.zeros(len(res.deeds)),
        total=np.zeros(len(res.states)),
        fresh=whole(len(res.states)),
        path=whole(32),
    )
