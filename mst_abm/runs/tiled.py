"""Patches of many tiles through exchange intervals, on any number of threads.

Within a colour tiles do not meet, so threads share them out; a window is sixteen such shares, eight
to live and eight to settle. Results do not depend on the number of threads: draws have addresses, lists
belong to tiles, counts are integers, and cells sent are put in order of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

#: Window in units of the time in which the busiest cell tries one thing: the default, and how the
#: error of the active time of a moving cell grows with it (docs/algorithm.md, "Tiled mode").
TRIES_PER_WINDOW = 5.0
ERROR_SCALE, ERROR_TRIES, ERROR_SIDE = 0.0021, 15.0, 16.0


@dataclass
class Worker:
    """One thread's rates, draws and scratch."""

    rates: Rates
    draws: Draws
    scratch: Scratch


def derived_window(rates: Rates, tab: Tables, compartment: int) -> float:
    """h: so long that the busiest species tries TRIES_PER_WINDOW things, inf if none acts."""
    rows = slice(compartment * tab.n_species, (compartment + 1) * tab.n_species)
    acts = tab.rows["class_of"][rows] >= 0
    tries = (rates.rows["single"] + rates.rows["paired"])[rows][acts].max(initial=0.0)
    return TRIES_PER_WINDOW / tries if tries > 0.0 else math.inf


def estimated_error(window_h: float, tries_per_h: float, side: int) -> float:
    """Relative error of the active time of a moving cell that windows of this length bring.

    0.0021 (tries per window / 15)^2 (16 / side)^1.5
    """
    tries = window_h * tries_per_h
    return ERROR_SCALE * (tries / ERROR_TRIES) ** 2 * (ERROR_SIDE / side) ** 1.5


class TiledPatches:
    """Runs the patches of a body that consist of many tiles.

    ``longest``: window in h, 0 = derived from the rates of every interval.
    """

    def __init__(self, tab: Tables, geo: Geometry, threads: int, longest: float) -> None:
        self.tables, self.geometry = tab, geo
        self.longest, self.threads = longest, threads
        self.windows: list[float] = []  # shortest and longest used, h
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        patches = range(len(geo.patches))
        self._order = [np.argsort(tiles_of(geo, k)["colour"], kind="stable") for k in patches]
        self._shares = [self._share_out(k) for k in patches]

    def _share_out(self, k: int) -> list[list[np.ndarray]]:
        """Tiles by phase and thread; a single thread needs no halt between colours."""
        order = self._order[k]
        if self.threads == 1:
            return [[order]]
        colour = tiles_of(self.geometry, k)["colour"]
        phases = [order[colour[order] == c] for c in np.unique(colour)]
        return [[tiles[i :: self.threads] for i in range(self.threads)] for tiles in phases]

    def run(
        self, state: State, workers: list[Worker], key: np.uint64, r: int, k: int, window: int,
        begin: float, end: float,
    ) -> None:  # fmt: skip
        """Patch k of body r through one exchange interval, in equal windows."""
        compartment = int(self.geometry.patches["compartment"][k])
        longest = self.longest or derived_window(workers[0].rates, self.tables, compartment)
        n = max(1, math.ceil((end - begin) / longest * (1 - 1e-12)))
        width = (end - begin) / n
        self.windows = [min([width, *self.windows[:1]]), max([width, *self.windows[1:]])]
        self._prepare(state, workers, k)
        state.body.progress["candidate"][r] = 0
        at = state, workers, key, r, k, window
        for w in range(n):
            for worker in workers:
                turn = worker.scratch.turn
                turn["begin"], turn["end"] = begin + w * width, begin + (w + 1) * width
                turn["ticks"] = LAST / width
            if state.pool.n[r, k]:
                land_waiting(
                    self.tables, self.geometry, state.lattice, workers[0].scratch, state.pool,
                    state.body, workers[0].rates, key, r, k, window,
                )  # fmt: skip
            self._pass(*at, self._shares[k], is_settling=False)
            is_left = self._pass(*at, self._shares[k], is_settling=True)
            # what is still late after that is little: not worth a halt between colours
            while is_left:
                is_left = self._pass(*at, [[self._order[k]]], is_settling=True)
        state.body.progress["candidate"][r] = 0
        self._gather(state, workers, r, k)

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
        phases: list[list[np.ndarray]], *, is_settling: bool,
    ) -> bool:  # fmt: skip
        """Every tile takes a turn; whether something is left to settle."""

        def share(worker: Worker, tiles: np.ndarray, at: int) -> tuple[int, int, bool]:
            return take_turns(
                self.tables, self.geometry, state.lattice, state.border, worker.scratch,
                state.pool, state.body, worker.rates, worker.draws, key, r, k, window, tiles, at,
                is_settling,
            )  # fmt: skip

        is_left = False
        for shares in phases:
            # (thread, where it goes on)
            unfinished = [(i, 0) for i, tiles in enumerate(shares) if len(tiles)]
            while unfinished:
                calls = [partial(share, workers[i], shares[i], at) for i, at in unfinished]
                results = zip(unfinished, self._together(calls), strict=True)
                unfinished = []
                for (i, _), (code, at, left) in results:
                    is_left = is_left or left
                    if code != codes.DONE:
                        self._make_room(state, workers, code, i)
                        unfinished.append((i, int(at)))
        return is_left

    def _together(self, calls: list[Callable]) -> list:
        if self._pool is None or len(calls) < 2:
            return [call() for call in calls]
        return [f.result() for f in [self._pool.submit(call) for call in calls]]

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
