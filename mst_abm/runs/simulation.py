"""A batch of replicates of one scenario, advanced from exchange edge to exchange edge."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from mst_abm.clinic.protocol import Infusion, Reset
from mst_abm.clinic.reaction import Decision
from mst_abm.engine import status as codes
from mst_abm.engine.advance import advance_bodies
from mst_abm.engine.place import infuse, populate, reset_number
from mst_abm.engine.rng import make_draws
from mst_abm.engine.state import (
    digest_body,
    enlarge_mixed,
    enlarge_outbox,
    enlarge_pool,
    is_tiled,
    make_rates,
    make_scratch,
    make_state,
    most_at_once,
    most_sites,
)
from mst_abm.engine.tables import Geometry, Schedule
from mst_abm.errors import EngineError, ModelError
from mst_abm.model.compile import compile_model
from mst_abm.model.geometry import coordinates
from mst_abm.model.species import resolve
from mst_abm.runs.batches import numbers_of
from mst_abm.runs.courses import Courses
from mst_abm.runs.fields import SpreadingFields
from mst_abm.runs.initial import build_items
from mst_abm.runs.needs import Needs, needs_of, refuse_memory
from mst_abm.runs.pace import Pace
from mst_abm.runs.reservoirs import Reservoirs
from mst_abm.runs.tiled import TiledPatches, Worker, tile_side
from mst_abm.runs.timetable import event_yields, multiples, run_edges
from mst_abm.scenario.definition import Scenario
from mst_abm.units import quantity

#: Windows handed to the engine in one call: short enough to answer Ctrl-C and show progress.
WINDOWS_PER_CALL = 48
#: Limits of the addresses of draws and identities (see `mst_abm.engine.rng`, `new_id`).
MOST_UNITS, MOST_INTERVALS, MOST_IN_TILE = 2**20 - 4096, 2**20 - 1, 2**16 - 1


class Entering(NamedTuple):
    """(compartment, species, counter program, body-scale number) of cells that come in at once.

    ``is_reset``: instead of that they replace those there, and the number is of simulated cells.
    """

    cells: list[tuple[int, int, int, float]]
    is_reset: bool


class Simulation:
    """Replicates ``first_replicate ... first_replicate + replicates - 1`` of a scenario.

    Parameters
    ----------
    scenario : Scenario
    seed : int, optional
        Instead of the scenario's own; 0 <= seed < 2**64.
    replicates, first_replicate : int
        Addresses of the draws: replicate i gives the same bits alone or among others.
    threads : int
        Bodies are shared out; results do not depend on it.
    left_out : sequence of int
        Replicates of the range that are not run.

    Raises
    ------
    ModelError
        If the rules contradict each other or cells do not fit.
    """

    engine = "cells"
    has_checkpoints = True

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        replicates: int = 1,
        first_replicate: int = 0,
        threads: int = 1,
        left_out: Sequence[int] = (),
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.run.seed if seed is None else seed
        #: Number of every replicate.
        self.numbers = numbers_of(first_replicate, replicates, left_out, seed=self.seed)
        self.replicates = replicates = len(self.numbers)
        self.key = np.uint64(self.seed)
        self.compiled = compile_model(scenario.model, scenario.entering, tile_side(scenario.run))
        self._types = {t.name: t for t in scenario.model.types}
        self._places = {c.name: i for i, c in enumerate(scenario.model.compartments)}
        items = build_items(self.compiled, self.compiled.updates)
        self._events = [
            (event.at_h, self._entering(event)) for event in (*scenario.infusions, *scenario.resets)
        ]
        for reaction in scenario.reactions:
            for event in (*reaction.acts.infusions, *reaction.acts.resets):
                self._entering(event)  # refuses what cannot be done before the run
        self.tables = self.compiled.tables._replace(
            has_identity=scenario.run.records_identity, **self.compiled.updates.arrays()
        )
        self.geometry = self.compiled.geometry
        self._edges = run_edges(scenario, self.compiled)
        check_addresses(self.geometry, len(self._edges) - 1)
        self.courses = Courses(scenario, self.compiled, self.seed, self.numbers)
        self.courses.set_edges(self._edges)
        #: What one event of each tally adds to each signal; empty where none does.
        self._yields = event_yields(self.compiled)
        refuse_memory(self.needs())
        self._populate(items)
        # threads share out bodies, or the tiles of one body after another
        cuts = is_tiled(self.geometry)
        useful = most_at_once(self.geometry) if cuts else replicates
        # more threads than work, or many more than processors, only wait for each other
        self.threads = max(1, min(threads, useful, 4 * (os.cpu_count() or 1)))
        n_tallies = len(self.compiled.tallies)
        self.workers = [
            Worker(
                make_rates(self.tables, self.geometry),
                make_draws(),
                make_scratch(self.tables, self.geometry, n_tallies),
            )
            for _ in range(self.threads)
        ]
        self.tiled = (
            TiledPatches(self.tables, self.geometry, self.threads, scenario.run.window_h)
            if cuts
            else None
        )
        self._fields = (
            SpreadingFields(self.compiled, self.tables, self.geometry)
            if scenario.model.fields
            else None
        )
        self.time_h = 0.0
        self._interval = 0
        self.reservoirs = Reservoirs(self)
        self.pace = Pace(self)
        self._apply_events()

    # construction

    def _entering(self, event: Infusion | Reset) -> Entering:
        """Cells that come in, or whose number is set."""
        if isinstance(event, Reset):
            where, cells = "set", ((event.compartment, event.product, event.number),)
        else:
            where, cells = "infusion", event.cells
        rows = []
        for compartment, product, number in cells:
            species = resolve(product, None, self._types, where)
            self._check_room(compartment, number, where)
            program = self.compiled.updates.program(None, species, product, "same")
            rows.append(
                (self._places[compartment], self.compiled.species_number(species), program, number)
            )
        return Entering(rows, isinstance(event, Reset))

    def _check_room(self, name: str, number: float, where: str) -> None:
        """Refuse what a compartment with sites cannot take whatever happens in it."""
        compartment = self.scenario.model.compartments[self._places[name]]
        if compartment.kind != "mixed" or compartment.capacity == 0:
            return
        if where == "infusion":
            raise ModelError(
                f"an infusion goes into '{name}', which has a capacity of {compartment.capacity} "
                "sites; infuse into a mixed compartment without a capacity."
            )
        if number > compartment.capacity:
            raise ModelError(
                f"protocol: {number:g} cells are set in '{name}', which has a capacity of "
                f"{compartment.capacity} sites; lower the number or enlarge the compartment."
            )

    def _populate(self, items) -> None:
        tab, geo, compiled = self.tables, self.geometry, self.compiled
        slots = np.zeros(len(geo.mixed_compartment), np.int64)
        for q, m in enumerate(geo.mixed_compartment):
            capacity = geo.spaces[m]["capacity"]
            wanted = np.ceil(items.amount[items.compartment == m]).sum() + 1
            slots[q] = capacity if capacity else max(16, int(1.25 * wanted))
            if capacity and wanted - 1 > capacity:
                raise ModelError(
                    f"initial cells of '{compiled.compartment_names[m]}': {wanted - 1:.0f} cells "
                    f"do not fit {capacity} sites."
                )
        self.state = make_state(
            tab,
            geo,
            replicates=self.numbers,
            n_tallies=len(compiled.tallies),
            signals=np.array([s.initial for s in compiled.model.signals]),
            n_fields=len(compiled.fields),
            slots=slots,
            has_reservoirs=bool(compiled.model.reservoirs),
            levels=[f.initial for f in compiled.model.fields],
        )
        masks = [[s.type == kind for s in compiled.species] for _, kind in compiled.fields]
        sites = [int(p["last"] - p["first"]) for p in geo.patches]
        missing = populate(
            tab,
            geo,
            self.state.lattice,
            self.state.mixed,
            self.state.body,
            items,
            np.array([how == "distance" for how, _ in compiled.fields], bool),
            np.array(masks, bool).reshape(len(masks), tab.n_species),
            np.zeros(max(sites, default=1), np.int32),
            self.key,
            0,
            self.replicates,
        )
        if missing:
            raise ModelError(
                f"{missing} initial cells found no vacant site; lower their numbers or enlarge "
                "the lattice."
            )

    def needs(self, snapshot_replicates: int = 1) -> Needs:
        """What the run needs of memory and disc, predicted from its first cells."""
        return needs_of(
            self.scenario,
            self.compiled,
            replicates=self.replicates,
            snapshot_replicates=snapshot_replicates,
        )

    # time

    @property
    def record_times_h(self) -> np.ndarray:
        """Times at which counts are recorded, h."""
        return multiples(self.scenario.run.counts_every_h, self.scenario.run.until_h)

    @property
    def snapshot_times_h(self) -> np.ndarray:
        """Times at which all cells are recorded, h; none when snapshots are off."""
        run = self.scenario.run
        if run.snapshots_every_h <= 0:
            return np.zeros(0)
        return multiples(run.snapshots_every_h, run.until_h)

    @property
    def edges_h(self) -> np.ndarray:
        """Edges of the exchange intervals, h."""
        return self._edges

    @property
    def interval(self) -> int:
        """Exchange intervals that are done."""
        return self._interval

    def stand_at(self, interval: int, edges: np.ndarray) -> None:
        """Set the clock, on edges that may be another run's up to now; the state is the caller's."""
        if not np.array_equal(edges, self._edges):
            self._edges = np.array(edges, float)
            self.courses.set_edges(self._edges)
        self._interval, self.time_h = interval, float(self._edges[interval])

    def advance(self, to: float | str, *, halts: Callable[[], bool] | None = None) -> None:
        """Run to a time, h or a text such as "8 d".

        A time between two exchange edges becomes an edge of its own; what follows is then a
        different, equally valid draw. ``halts`` is asked now and then whether to stop on the edge that
        has just been reached; called again, the run goes on to the same bits.

        Raises
        ------
        EngineError
            If the time lies in the past or beyond the run, or a rate is not finite.
        """
        goal = quantity(to, "time") if isinstance(to, str) else float(to)
        if goal > self._edges[-1] * (1 + 1e-12) + 1e-9 or goal < self.time_h - 1e-9:
            raise EngineError(
                f"advance(to={to!r}): expected a time from {self.time_h:g} h to the end of the "
                f"run at {self._edges[-1]:g} h; make run.until later."
            )
        at = int(np.searchsorted(self._edges, goal - 1e-9))
        if abs(self._edges[min(at, len(self._edges) - 1)] - goal) > 1e-9:
            self._edges = np.insert(self._edges, at, goal)
            self.courses.set_edges(self._edges)
        is_watched = bool(self.reservoirs or self._fields or self._yields)
        most = 1 if is_watched or self.pace.quiet is not None else WINDOWS_PER_CALL
        while self._interval < at:
            stop = min(self._next_event(), at, self._interval + most)
            levels = self._spread_fields()
            for first, last, end in self.pace.stretches(stop, at):
                self._live(first, last, end)
            self.state.levels = levels
            self._interval = self.pace.next_edge(at)
            self.time_h = float(self._edges[self._interval])
            self._apply_events()
            if halts is not None and halts():
                return

    def _live(self, first: int, last: int, end: int) -> None:
        """Bodies [first, last) from the present edge to edge ``end``, reservoirs and signals with them."""
        begin = self._interval
        self.courses.feed(self.state.body.signals, first, last, begin, end)
        self.reservoirs.begin(begin + 1, first, last)
        before = self._booked(first, last) if self._yields else None
        if self.pace.quiet is not None and end > begin + 1:
            schedule = self.courses.stretch(begin, end)
            self._run_windows(schedule, first, last)
            self.state.body.progress["window"][first:last] = end
            hours = self._edges[end] - self._edges[begin]
        else:
            self._run_windows(self.courses.schedule(begin, end), first, last)
            hours = self._edges[end] - self._edges[end - 1]
        self.reservoirs.end(begin + 1, end + 1, hours, float(self._edges[end]), first, last)
        if before is not None:
            self._feed_signals(self._booked(first, last) - before, first, last)

    def dismiss(self, bodies: np.ndarray) -> None:
        """Follow bodies (replicate,) bool no longer: they stay as they are, and nothing is given to them."""
        self.pace.is_over |= bodies
        self.courses.clinician.is_stopped |= bodies

    def _booked(self, first: int, last: int) -> np.ndarray:
        """Events of the sample since the start, (body, channel), and as many as reservoirs stand for."""
        events = self.state.body.tally[first:last].copy()
        return events + self.reservoirs.sampled_events[first:last] if self.reservoirs else events

    def _spread_fields(self) -> tuple[np.ndarray, ...]:
        """Fields through the coming interval; their levels at its end."""
        if self._fields is None:
            return ()
        begin, end = self._edges[self._interval : self._interval + 2]
        return self._fields.spread(self.state, float(end - begin))

    def _feed_signals(self, events: np.ndarray, first: int, last: int) -> None:
        """Add to signals what the events of a stretch, (body, channel), give them.

        One channel after another, so that a body's sum does not hang on how many are in the batch.
        """
        happened = events.any(axis=0)
        for channel, signal, amount in self._yields:
            if happened[channel]:
                self.state.body.signals[first:last, signal] += amount * events[:, channel]

    def _next_event(self) -> int:
        """The next interval at whose start cells come in or are set, a drug adds to a signal, or
        something may be decided."""
        times = [at for at, _ in self._events if at > self.time_h + 1e-9]
        times += self.courses.next_look_h(self.time_h)
        found = [int(np.searchsorted(self._edges, min(times) - 1e-9))] if times else []
        fed = self.courses.next_fed(self._interval + 1)
        found += [fed] if fed is not None else []
        return min(found, default=len(self._edges))

    def _run_windows(self, schedule: Schedule, first: int, last: int) -> None:
        workers = self.workers[:1] if self.tiled else self.workers
        bounds = np.linspace(first, last, len(workers) + 1).astype(int)
        while True:
            parts = list(zip(bounds[:-1], bounds[1:], workers, strict=True))
            if len(workers) == 1:
                results = [self._advance_part(schedule, *parts[0])]
            else:
                with ThreadPoolExecutor(self.threads) as pool:
                    results = list(pool.map(lambda p: self._advance_part(schedule, *p), parts))
            stopped = [(s, r) for s, r in results if s != codes.DONE]
            if not stopped:
                return
            for code, body in stopped:
                if code == codes.NEED_TURNS:
                    self._run_tiles(schedule, int(body))
                else:
                    self._make_room(code, int(body))

    def _advance_part(
        self, schedule: Schedule, first: int, last: int, worker: Worker
    ) -> tuple[int, int]:
        state = self.state
        return advance_bodies(
            self.tables, self.geometry, state.lattice, state.border, state.mixed, state.pool,
            state.outbox, state.body, schedule, worker.rates, worker.draws, worker.scratch,
            self.key, first, last,
        )  # fmt: skip

    def _run_tiles(self, schedule: Schedule, r: int) -> None:
        """The patch a body has come to, which is cut into tiles, through the present interval."""
        assert self.tiled is not None
        progress = self.state.body.progress
        k, window = int(progress["stage"][r]), int(progress["window"][r]) + 1
        begin, end = schedule.edges[window - schedule.first_window :][:2]
        self.tiled.run(self.state, self.workers, self.key, r, k, window, begin, end)
        progress["stage"][r] = k + 1

    def _make_room(self, code: int, body: int) -> None:
        """Enlarge what a kernel found full; the kernel then goes on where it stopped."""
        if code == codes.NEED_SLOTS:
            self.grow_slots(1, is_full=True)
        elif code == codes.NEED_POOL:
            enlarge_pool(self.tables, self.state)
        elif code == codes.NEED_OUTBOX:
            enlarge_outbox(self.tables, self.state)
        elif code == codes.OUT_OF_DRAWS:
            raise EngineError(
                f"replicate {self.numbers[body]} has more than 4.29e9 candidate events in "
                "one exchange interval; shorten run.exchange."
            )
        else:
            raise EngineError(
                f"replicate {self.numbers[body]} at {self.time_h:g} h: a rate became "
                "infinite or undefined; look for a modifier without an upper bound."
            )

    def grow_slots(self, extra: int | np.ndarray, *, is_full: bool = False) -> None:
        """Room for ``extra`` more cells than any body holds, and half as much again.

        ``is_full``: a kernel asked for more than is known here, so enlarge in any case.
        """
        mixed = self.state.mixed
        used = mixed.bounds[:, : len(mixed.first) - 1, -1].max(axis=0)
        have = np.diff(mixed.first)
        capacity = self.geometry.spaces["capacity"][self.geometry.mixed_compartment]
        # a compartment that is nearly full gets the room; others keep theirs
        wanted = np.where(used + extra + used // 8 >= have, (used + extra) * 3 // 2 + 16, have)
        if np.all(wanted <= have):
            if not is_full:
                return
            wanted = have * 2
        wanted = np.where(capacity > 0, have, wanted)
        enlarge_mixed(self.tables, self.state, wanted.astype(np.int64))

    # protocol

    def _apply_events(self) -> None:
        """What is decided on the present edge, then infusions and resets that fall on it."""
        if self.courses.is_look(self.time_h):
            self.courses.look(self.time_h, self.cells, self.signals)
        bodies = np.setdiff1d(self.courses.treated, np.flatnonzero(self.pace.is_over))
        draw = 0  # of this edge: every event and every cell has numbers of its own
        for at, event in self._events:
            if abs(at - self.time_h) < 1e-9:
                draw = self._enter(event, draw, bodies)
        draws: dict[int, int] = {}
        for body, decided in self.courses.due(self.time_h):
            first = draws.get(body, draw)
            draws[body] = self._enter(self._entering(decided), first, np.array([body]))

    def _enter(self, event: Entering, draw: int, bodies: np.ndarray) -> int:
        """Bring cells into bodies, or set their number; returns the next free draw."""
        if not event.is_reset:
            return self._infuse(event.cells, draw, bodies)
        for compartment, species, program, number in event.cells:
            self._reset(compartment, species, program, int(number), draw, bodies)
            draw += int(number) + 1
        return draw

    def _infuse(self, cells, draw: int, bodies: np.ndarray) -> int:
        """Bring cells in; returns the next free draw."""
        window = self._interval + 1
        for compartment, species, program, number in cells:
            expected = number * float(self.geometry.spaces[compartment]["share"])
            q = int(self.geometry.spaces[compartment]["mixed_index"])
            if q >= 0:
                extra = np.zeros(len(self.geometry.mixed_compartment), np.int64)
                extra[q] = int(expected) + 1
                self.grow_slots(extra)
            while q < 0 and self.state.pool.cells.shape[2] < self.state.pool.n.max() + expected + 2:
                enlarge_pool(self.tables, self.state)
            state = self.state
            for r in bodies:
                code, _ = infuse(
                    self.tables, self.geometry, state.mixed, state.pool, state.body, self.key, r,
                    window, self.time_h, draw, compartment, species, program, expected,
                )  # fmt: skip
                assert code == codes.DONE
            draw += int(expected) + 2
        return draw

    def _reset(
        self,
        compartment: int,
        species: int,
        program: int,
        number: int,
        draw: int,
        bodies: np.ndarray,
    ) -> None:
        q = int(self.geometry.spaces[compartment]["mixed_index"])
        extra = np.zeros(len(self.geometry.mixed_compartment), np.int64)
        extra[q] = number
        capacity = int(self.geometry.spaces[compartment]["capacity"])
        counts = self.state.body.counts[bodies, compartment]
        others = int((counts[:, 1:].sum(axis=1) - counts[:, species]).max(initial=0))
        if capacity and others + number > capacity:
            name = self.compiled.compartment_names[compartment]
            raise EngineError(
                f"protocol: {number} cells are set in '{name}' at {self.time_h:g} h beside {others} "
                f"others, but it has {capacity} sites; set fewer or enlarge it."
            )
        self.grow_slots(extra)
        for r in bodies:
            reset_number(
                self.tables, self.geometry, self.state.mixed, self.state.body, r, compartment,
                species, program, number, self.key, self._interval + 1, self.time_h, draw,
            )  # fmt: skip

    # looking

    @property
    def decisions(self) -> list[Decision]:
        """What was decided so far, in order of time."""
        return list(self.courses.decisions)

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Simulated cells, all patches of a body together: int64 (replicate, species) each."""
        names = self.compiled.compartment_names
        return {name: self.state.body.counts[:, m].copy() for m, name in enumerate(names)}

    @property
    def cells(self) -> dict[str, np.ndarray]:
        """What the sample shows of the body, cells in reservoirs included: float64 (replicate, species)."""
        counts = {name: values.astype(float) for name, values in self.counts.items()}
        for m, values in enumerate(counts.values()) if self.reservoirs else ():
            values += self.state.body.held[:, m]
        return counts

    @property
    def tally(self) -> np.ndarray:
        """Events since the start: int64 (replicate, channel)."""
        return self.state.body.tally.copy()

    @property
    def received(self) -> np.ndarray:
        """Cells handed over to a compartment: int64 (replicate, compartment, species)."""
        return self.state.body.received.copy()

    @property
    def waiting(self) -> dict[str, np.ndarray]:
        """Cells in the waiting pools of lattice compartments: int64 (replicate,) each."""
        geo, result = self.geometry, {}
        for m, name in enumerate(self.compiled.compartment_names):
            space = geo.spaces[m]
            if space["is_lattice"]:
                mine = slice(space["first_patch"], space["first_patch"] + space["patches"])
                result[name] = self.state.pool.n[:, mine].sum(axis=1)
        return result

    @property
    def signals(self) -> np.ndarray:
        """Levels now: float64 (replicate, signal)."""
        levels = self.state.body.signals.copy()
        if self._interval == 0:
            for i, signal in enumerate(self.compiled.model.signals):
                if signal.kind == "drug":
                    levels[:, i] = 0.0
        return levels

    def field_levels(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """Levels of every field now: float64 (patch, z, y, x) by block, of one replicate."""
        names = [field.name for field in self.compiled.model.fields]
        levels = [levels[replicate].copy() for levels in self.state.levels]
        return dict(zip(names, levels, strict=True))

    @property
    def statistics(self) -> dict[str, float]:
        """Candidates tried and events executed, all replicates together.

        In tiled mode also the windows run, tries of the busiest cell in the longest, and the relative
        error estimated for it.
        """
        progress = self.state.body.progress
        found = {name: int(progress[name].sum()) for name in ("attempts", "executed")}
        if self.tiled is not None:
            found |= {
                "windows": self.tiled.n_windows,
                "tries_per_window": self.tiled.tries,
                "window_error": self.tiled.error,
            }
        return found

    def agents(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """Every cell of one replicate as columns, lattices first.

        compartment (u1), patch (u2), species (u2), x, y, z (u2; 0 in mixed compartments),
        counters_0 ... counters_3 (u2), and id, parent, birth_h, clone, generation when recorded.
        """
        geo, state, r = self.geometry, self.state, replicate
        parts: list[dict[str, np.ndarray]] = []
        for k, (m, first, last, _) in enumerate(geo.patches):
            sites = np.flatnonzero(state.lattice.species[r, first:last] != 0)
            place = dict(zip("xyz", coordinates(geo, m, sites), strict=True))
            where = int(k - geo.spaces[m]["first_patch"])
            parts.append(self._agent_columns(state.lattice, r, first + sites, m, where, place))
        for q, m in enumerate(geo.mixed_compartment):
            first = int(state.mixed.first[q])
            slots = first + np.arange(int(state.mixed.bounds[r, q, -1]))
            place = dict.fromkeys("xyz", np.zeros(len(slots), int))
            parts.append(self._agent_columns(state.mixed, r, slots, m, 0, place))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}

    def _agent_columns(self, store, r: int, index: np.ndarray, m: int, patch: int, place) -> dict:
        species = store.species[r, index]
        columns = {
            "compartment": np.full(len(index), m, np.uint8),
            "patch": np.full(len(index), patch, np.uint16),
            "species": species,
            **{axis: values.astype(np.uint16) for axis, values in place.items()},
        }
        counters = np.zeros((4, len(index)), np.uint16)
        if self.tables.has_counters:
            packed = store.counters[r, index]
            types = np.array([s.type for s in self.compiled.species])
            for name in self.compiled.layout.places:
                mine = (types == name)[
                    species
                ]  # by species first: names of cells would fill the memory
                for i, values in enumerate(self.compiled.layout.unpack(name, packed[mine])):
                    counters[i, mine] = values
        columns |= {f"counters_{i}": counters[i] for i in range(4)}
        if self.tables.has_identity:
            names = ("id", "parent", "birth", "clone", "generation")
            records = store.identity[r, index]
            columns |= {"birth_h" if n == "birth" else n: records[n] for n in names}
        return columns

    def digest(self, replicate: int | None = None) -> str:
        """Hash of the full state, of one replicate (by place in the batch) or of all."""
        if replicate is not None:
            body = digest_body(self.tables, self.geometry, self.state, replicate)
            return self.reservoirs.digest(replicate, body)
        digest = hashlib.sha256()
        for r in range(self.replicates):
            digest.update(self.digest(r).encode())
        return digest.hexdigest()


def check_addresses(geometry: Geometry, intervals: int) -> None:
    """Refuse what has no address of its own among the draws and identities.

    Raises
    ------
    ModelError
        If there are too many tiles or exchange intervals, or tiles are too large.
    """
    if geometry.n_units > MOST_UNITS:
        raise ModelError(
            f"expected at most {MOST_UNITS:,} patches or tiles of a body, got {geometry.n_units:,}; "
            "use larger tiles or fewer patches."
        )
    if intervals > MOST_INTERVALS:
        raise ModelError(
            f"expected at most {MOST_INTERVALS:,} exchange intervals, got {intervals:,}; use a longer "
            "run.exchange."
        )
    if is_tiled(geometry) and most_sites(geometry) > MOST_IN_TILE:
        raise ModelError(
            f"run.mode tiled: expected tiles of at most {MOST_IN_TILE:,} sites, got "
            f"{most_sites(geometry):,}; set a smaller run.tile, or shorter ranges of rules."
        )


def simulate(scenario: Scenario, **options) -> Simulation:
    """Run a scenario to its end and return the simulation. Options: those of `Simulation`."""
    simulation = Simulation(scenario, **options)
    simulation.advance(simulation.scenario.run.until_h)
    return simulation


__all__ = ["Simulation", "simulate"]
