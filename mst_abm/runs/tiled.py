"""Patches of many tiles through exchange intervals, on any number of threads.

Within a colour tiles do not meet, so threads share them out; a window has sixteen phases, eight
colours to live and eight to settle, between which the threads meet at a gate. Results do not depend on
the number of threads: draws have addresses, lists belong to tiles, counts are integers, and cells sent
are put in order of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial

import numpy as np

from mst_abm.engine import status as codes
from mst_abm.engine.border import LAST
from mst_abm.engine.rng import Draws
from mst_abm.engine.state import (
    State,
    enlarge_border,
    enlarge_outbox,
    enlarge_scratch,
    tiles_of,
)
from mst_abm.engine.tables import Geometry, Rates, Scratch, Tables
from mst_abm.engine.tiles import land_waiting, take_turns
from mst_abm.errors import EngineError
from mst_abm.model.compile import CompiledModel
from mst_abm.scenario.definition import Run

#: Default window: so long that the busiest cell tries so many things.
TRIES_PER_WINDOW = 0.25
#: How far the most sensitive of what was measured is off for each try in a window: cells that spread through
#: a crowd, with all of a front at an edge of tiles, and density by layer from the edge (docs/algorithm.md).
ERROR_PER_TRY = 0.003
#: Error from which on a window is called too long.
LARGEST_ERROR = 0.005
#: Tries below which a window costs more than what happens in it.
FEWEST_TRIES = 0.005


@dataclass
class Worker:
    """One thread's rates, draws and scratch."""

    rates: Rates
    draws: Draws
    scratch: Scratch


def tile_side(run: Run) -> int | None:
    """Side of the tiles a run asks for, 0 = the usual; None in exact mode."""
    return run.tile if run.mode == "tiled" else None


def window_error(tries: float) -> float:
    """Estimated relative error that windows bring, from tries of the busiest cell in one."""
    return ERROR_PER_TRY * tries


def least_side(geo: Geometry, compartment: int) -> int:
    """Shortest side of a tile along the axes that are cut, in sites."""
    space = geo.spaces[compartment]
    first = int(space["tile_first"])
    counts = {axis: int(space[f"tiles_{axis}"]) for axis in "xyz"}
    tiles = geo.tiles[first : first + math.prod(counts.values())]
    return min(int(tiles[f"n{axis}"].min()) for axis, n in counts.items() if n > 1)


@dataclass(frozen=True)
class Share:
    """One thread's tiles of a window, phase by phase."""

    tiles: np.ndarray
    phases: np.ndarray  # bounds of the phases within ``tiles``
    n_living: int  # phases before the others, which settle

    @classmethod
    def of(cls, living: list[np.ndarray], settling: list[np.ndarray]) -> Share:
        parts = [*living, *settling]
        bounds = np.cumsum([0, *map(len, parts)])
        return cls(np.concatenate(parts), bounds, len(living))


@dataclass(frozen=True)
class Plan:
    """How a patch of many tiles is going to run, by its rates at time zero."""

    compartment: str
    n_tiles: int
    side: int  # the shortest
    window_h: float
    tries: float  # of the busiest cell in a window

    @property
    def error(self) -> float:
        return window_error(self.tries)


def plans(compiled: CompiledModel, run: Run, edges: np.ndarray) -> list[Plan]:
    """One for every compartment that is cut into tiles; ``edges``: of exchange, which no window spans."""
    found = []
    longest = float(np.diff(edges).max())
    for m, name in enumerate(compiled.compartment_names):
        space = compiled.geometry.spaces[m]
        n_tiles = int(space["tiles_x"] * space["tiles_y"] * space["tiles_z"])
        if n_tiles > 1:
            n_species = compiled.tables.n_species
            rates = compiled.nominal_rates[m * n_species : (m + 1) * n_species]
            busiest = float(rates.max(initial=0.0))
            window = run.window_h or (TRIES_PER_WINDOW / busiest if busiest else run.until_h)
            window = min(window, longest)
            side = least_side(compiled.geometry, m)
            found.append(Plan(name, n_tiles, side, window, window * busiest))
    return found


class TiledPatches:
    """Runs the patches of a body that consist of many tiles.

    ``longest``: window in h, 0 = derived from the rates of every interval.
    """

    def __init__(self, tab: Tables, geo: Geometry, threads: int, longest: float) -> None:
        self.tables, self.geometry = tab, geo
        self.longest, self.threads = longest, threads
        self.n_windows = 0
        self.tries = 0.0  # of the busiest cell in the longest window
        self.error = 0.0  # estimated for it
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        patches = range(len(geo.patches))
        order = [np.argsort(tiles_of(geo, k)["colour"], kind="stable") for k in patches]
        # Forward and backward, for every other window. Within a window one direction throughout: a tile
        # clears its posts at its next turn, and by then every neighbour must have had one.
        directions = [(forward, forward[::-1]) for forward in order]
        self._shares = [
            [self._share_out(k, way) for way in ways] for k, ways in enumerate(directions)
        ]
        # what is still late after a window's shares is little: not worth a halt between colours
        self._rest = [[[Share.of([], [way])] for way in ways] for ways in directions]

    @property
    def work(self) -> tuple[int, float, float]:
        """Windows run, tries of the busiest cell in the longest, the error estimated for it."""
        return self.n_windows, self.tries, self.error

    @work.setter
    def work(self, done: tuple[int, float, float]) -> None:
        self.n_windows, self.tries, self.error = done

    def _share_out(self, k: int, order: np.ndarray) -> list[Share]:
        """A share for every thread; a single one needs no halt between colours."""
        if self.threads == 1:
            return [Share.of([order], [order])]
        colour = tiles_of(self.geometry, k)["colour"]
        parts = [order[colour[order] == c] for c in dict.fromkeys(colour[order])]
        mine = [[tiles[i :: self.threads] for tiles in parts] for i in range(self.threads)]
        return [Share.of(tiles, tiles) for tiles in mine]

    def run(
        self, state: State, workers: list[Worker], key: np.uint64, r: int, k: int, window: int,
        begin: float, end: float,
    ) -> None:  # fmt: skip
        """Patch k of body r through one exchange interval, in equal windows."""
        compartment = int(self.geometry.patches["compartment"][k])
        busiest = self._busiest(workers[0].rates, compartment)
        longest = self.longest or (TRIES_PER_WINDOW / busiest if busiest > 0.0 else math.inf)
        n = max(1, math.ceil((end - begin) / longest * (1 - 1e-12)))
        width = (end - begin) / n
        self.n_windows += n
        self.tries = max(self.tries, width * busiest)
        self.error = max(self.error, window_error(width * busiest))
        self._prepare(state, workers, k)
        state.body.progress["candidate"][r] = 0
        at = state, workers, key, r, k, window
        for w in range(n):
            direction = (window + w) % 2
            for worker in workers:
                turn = worker.scratch.turn
                turn["begin"], turn["end"] = begin + w * width, begin + (w + 1) * width
                turn["ticks"] = LAST / width
                turn["is_backward"] = direction == 1
            if state.pool.n[r, k]:
                land_waiting(
                    self.tables, self.geometry, state.lattice, workers[0].scratch, state.pool,
                    state.body, workers[0].rates, key, r, k, window,
                )  # fmt: skip
            is_left = self._pass(*at, self._shares[k][direction])
            while is_left:
                is_left = self._pass(*at, self._rest[k][direction])
        state.body.progress["candidate"][r] = 0
        self._gather(state, workers, r, k)

    def _busiest(self, rates: Rates, compartment: int) -> float:
        """Tries of the busiest species, 1/h."""
        tab = self.tables
        rows = slice(compartment * tab.n_species, (compartment + 1) * tab.n_species)
        tries = (rates.rows["single"] + rates.rows["paired"])[rows]
        return float(tries[tab.rows["class_of"][rows] >= 0].max(initial=0.0))

    def _prepare(self, state: State, workers: list[Worker], k: int) -> None:
        first = int(self.geometry.patches["unit"][k])
        units = slice(first, first + len(tiles_of(self.geometry, k)))
        state.border.drawn[units] = 0
        state.border.n[units] = 0
        state.border.heads[units] = 0
        for worker in workers[1:]:
            for mine, first_one in zip(worker.rates, workers[0].rates, strict=True):
                mine[...] = first_one
        for worker in workers:
            turn = worker.scratch.turn
            turn[:] = np.zeros(1, turn.dtype)
            worker.scratch.counts[:] = 0
            worker.scratch.tally[:] = 0
            worker.scratch.sent_n[:] = 0

    def _pass(
        self, state: State, workers: list[Worker], key: np.uint64, r: int, k: int, window: int,
        shares: list[Share],
    ) -> bool:  # fmt: skip
        """Every thread works through its share; whether something is left to settle."""
        gate = np.zeros(len(shares[0].phases), np.int64)

        def work(i: int, phase: int, at: int) -> tuple[int, int, int, bool]:
            share, worker = shares[i], workers[i]
            return take_turns(
                self.tables, self.geometry, state.lattice, state.border, worker.scratch,
                state.pool, state.body, worker.rates, worker.draws, key, r, k, window, share.tiles,
                share.phases, share.n_living, gate, len(shares), phase, at,
            )  # fmt: skip

        is_left = False
        # (thread, phase and tile where it goes on)
        unfinished = [(i, 0, 0) for i in range(len(shares))]
        while unfinished:
            gate[:] = 0
            results = self._together([partial(work, *place) for place in unfinished], gate)
            places, unfinished = unfinished, []
            for (i, _, _), (code, phase, at, left) in zip(places, results, strict=True):
                is_left = is_left or left
                if code != codes.DONE:
                    self._make_room(state, workers, code, i)
                    unfinished.append((i, int(phase), int(at)))
        return is_left

    def _together(self, calls: list[Callable], gate: np.ndarray) -> list:
        """Results of calls that wait for each other at a gate; the first is made by this thread."""
        if self._pool is None or len(calls) < 2:
            return [call() for call in calls]
        others: list[Future] = []
        try:
            for call in calls[1:]:
                others.append(self._pool.submit(call))
            return [calls[0](), *(f.result() for f in others)]
        except BaseException:
            # an interruption, perhaps before this thread set out: nobody may wait for it
            gate[-1] = 1
            wait(others)
            raise

    def _make_room(self, state: State, workers: list[Worker], code: int, i: int) -> None:
        """Enlarge what thread i found full; its turn then goes on where it stopped."""
        worker = workers[i]
        if code == codes.NEED_POSTS:
            if worker.scratch.turn["is_full"][0]:
                enlarge_border(self.geometry, state)
                for other in workers:
                    other.scratch.turn["is_full"] = False
        elif code == codes.NEED_OUTBOX:
            worker.scratch = enlarge_scratch(self.tables, worker.scratch)
        elif code == codes.OUT_OF_DRAWS:
            raise EngineError(
                "a tile has more than 4.29e9 candidate events in one exchange interval; shorten "
                "run.exchange or record counts more often."
            )

    def _gather(self, state: State, workers: list[Worker], r: int, k: int) -> None:
        """Threads' changes into the body; cells sent in order of time."""
        compartment = int(self.geometry.patches["compartment"][k])
        body, out = state.body, state.outbox
        for worker in workers:
            body.counts[r, compartment] += worker.scratch.counts
            body.tally[r] += worker.scratch.tally
            for name in ("attempts", "executed"):
                body.progress[name][r] += worker.scratch.turn[name][0]
        sent = np.concatenate([w.scratch.sent[: w.scratch.sent_n[0]] for w in workers])
        while out.cells.shape[2] < len(sent):
            enlarge_outbox(self.tables, state)
            out = state.outbox
        order = np.lexsort((sent["unit"], sent["time"]))
        out.n[r, k] = len(sent)
        out.cells[r, k, : len(sent)] = sent[order]
        if self.tables.has_identity:
            held = np.concatenate([w.scratch.sent_identity[: w.scratch.sent_n[0]] for w in workers])
            depth = out.cells.shape[2]
            out.identity[r, k * depth : k * depth + len(sent)] = held[order]
