"""A scenario as rate equations: the interface of `mst_abm.runs.simulation`, with means instead of cells.

Numbers are those of simulated cells, as anywhere else, but need not be whole: a share of the body says how numbers
are told, and has no influence. Replicates differ by what a laboratory reports, what is decided on it, and what dies out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mst_abm.clinic.draws import uniforms
from mst_abm.clinic.protocol import Infusion, Reset
from mst_abm.clinic.reaction import Decision
from mst_abm.engine import status as codes
from mst_abm.engine.mean_rates import make_effort
from mst_abm.engine.mean_steps import advance_means, integrate_factors
from mst_abm.errors import EngineError, ModelError
from mst_abm.meanfield.extinction import Classes
from mst_abm.meanfield.plan import OUTSIDE, build_plan
from mst_abm.meanfield.states import Kind
from mst_abm.model.compile import compile_model
from mst_abm.model.species import resolve
from mst_abm.runs.batches import numbers_of
from mst_abm.runs.courses import Courses
from mst_abm.runs.initial import build_items
from mst_abm.runs.timetable import DAY_H, event_yields, multiples, run_edges
from mst_abm.scenario.definition import Scenario
from mst_abm.units import quantity

SAME_H = 1e-9
FIRST_STEP_H = 0.01
#: Distance of edges over the time since the last change of a dose.
WIDER = 0.02


class Drugs(NamedTuple):
    """What a plan of doses comes to: levels of given signals, and integrals up to each edge."""

    given: np.ndarray  # (interval, row, node)
    factors: np.ndarray  # (edge, factor)
    added: np.ndarray  # (edge, level)


class Coming(NamedTuple):
    """Cells that come in: (kind, program of counters, simulated cells); or whose number is set."""

    cells: list[tuple[Kind, int, float]]
    is_reset: bool


class MeanField:
    """Replicates of a scenario as means.

    Parameters
    ----------
    scenario, seed, replicates, first_replicate, left_out : as of `mst_abm.runs.simulation.Simulation`
    fineness : factor on the error that a step may have; with 1 daily numbers are within 0.5 % of the limit
    does_extinction : whether classes that have become few may die out, see `mst_abm.meanfield.extinction`

    Raises
    ------
    ModelError
        If the rules contradict each other or cells do not fit.
    """

    engine = "mean-field"
    #: A run takes seconds: it has none.
    has_checkpoints = False
    threads = 1
    tiled = None

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int | None = None,
        replicates: int = 1,
        first_replicate: int = 0,
        left_out: Sequence[int] = (),
        fineness: float = 1.0,
        does_extinction: bool = True,
    ) -> None:
        self.scenario = scenario
        self.seed = scenario.run.seed if seed is None else seed
        self.numbers = numbers_of(first_replicate, replicates, left_out, seed=self.seed)
        self.replicates = len(self.numbers)
        self._is_over = np.zeros(self.replicates, bool)
        self.fineness = fineness
        self.does_extinction = does_extinction
        # what is kept apart for the sake of a sample is a number like any other here
        model = replace(scenario.model, reservoirs=())
        self.compiled = compile_model(model, scenario.entering)
        self._types = {t.name: t for t in scenario.model.types}
        self._places = {c.name: i for i, c in enumerate(scenario.model.compartments)}
        items = build_items(self.compiled, self.compiled.updates)
        planned = (*scenario.infusions, *scenario.resets)
        self._events = [(event.at_h, self._coming(event)) for event in planned]
        perhaps = [
            self._coming(event)
            for reaction in scenario.reactions
            for event in (*reaction.acts.infusions, *reaction.acts.resets)
        ]
        entering = [
            (kind, program)
            for coming in (*(c for _, c in self._events), *perhaps)
            for kind, program, _ in coming.cells
        ]
        self.tables = self.compiled.tables._replace(**self.compiled.updates.arrays())
        feeding = event_yields(self.compiled)
        self.plan = build_plan(self.compiled, self.tables, items, entering, feeding)
        self._edges = thinned(run_edges(scenario, self.compiled), scenario)
        self.courses = Courses(scenario, self.compiled, self.seed, self.numbers)
        self.courses.set_edges(self._edges)
        self._drugs: dict[int, tuple[np.ndarray, Drugs]] = {}
        self._prepare(items)
        # a field has no space to be shown in
        self.compiled = replace(self.compiled, model=replace(model, fields=()))
        self.time_h = 0.0
        self._apply_events()

    # construction

    def _prepare(self, items: Any) -> None:
        flow, n = self.plan.flow, self.replicates
        self._effort = make_effort(flow)
        levels = [s.initial for s in self.compiled.model.signals]
        levels += [f.initial for f in self.compiled.model.fields]
        self.y = np.tile(self._first_cells(items), (n, 1))
        self.levels = np.tile(np.array(levels, float), (n, 1))
        # one more for events that are booked elsewhere
        self._tally = np.zeros((n, len(self.compiled.tallies) + 1))
        self._infused = np.zeros((n, self.tables.n_compartments, self.tables.n_species))
        self._step_h = np.full(n, FIRST_STEP_H)
        self._tried = np.zeros(n, np.int64)
        self.classes = Classes(flow, self.plan.shares(self.compiled), n)
        rows = self.tables.signals["given"]
        self._given_row = np.concatenate([rows, np.full(len(flow.levels) - len(rows), -1)])
        self._steepest = np.zeros(len(flow.factor_range))
        contexts = flow.contexts[flow.event_context]
        lone = contexts["crowd"] < 0
        np.maximum.at(self._steepest, contexts["factor"][lone], flow.event_base[lone])

    def _first_cells(self, items: Any) -> np.ndarray:
        y = np.zeros(len(self.plan.flow.row))
        y[OUTSIDE] = 1.0
        for i in range(len(items.species)):
            m = int(items.compartment[i])
            if m in self.plan.anatomies:
                patches = int(self.compiled.geometry.spaces[m]["patches"])
                number = self.plan.anatomies[m].placed[i] * patches
            else:
                number = float(items.total[i] if items.total[i] >= 0 else items.amount[i])
            kind = Kind(m, int(items.species[i]))
            for state, share in self.plan.spread(kind, int(items.update[i])):
                y[state] += number * share
        return y

    def _coming(self, event: Infusion | Reset) -> Coming:
        if isinstance(event, Reset):
            where, cells = "set", ((event.compartment, event.product, event.number),)
        else:
            where, cells = "infusion", event.cells
        rows = []
        for name, product, number in cells:
            m = self._places[name]
            space = self.compiled.geometry.spaces[m]
            if where == "infusion" and space["capacity"]:
                raise ModelError(
                    f"an infusion goes into '{name}', which has a capacity of {space['capacity']} "
                    "sites; infuse into a mixed compartment without a capacity."
                )
            species = resolve(product, None, self._types, where)
            program = self.compiled.updates.program(None, species, product, "same")
            kind = Kind(m, self.compiled.species_number(species), bool(space["is_lattice"]))
            share = 1.0 if where == "set" else float(space["share"])
            rows.append((kind, program, float(number) * share))
        return Coming(rows, isinstance(event, Reset))

    # time

    @property
    def record_times_h(self) -> np.ndarray:
        """Times at which counts are recorded, h."""
        return multiples(self.scenario.run.counts_every_h, self.scenario.run.until_h)

    @property
    def snapshot_times_h(self) -> np.ndarray:
        """None: there are no cells to show."""
        return np.zeros(0)

    @property
    def edges_h(self) -> np.ndarray:
        """Edges of the intervals by which levels of drugs are averaged, h."""
        return self._edges

    @property
    def interval(self) -> int:
        """Intervals that are done."""
        return int(np.searchsorted(self._edges, self.time_h + SAME_H, side="right")) - 1

    def advance(self, to: float | str, *, halts: Callable[[], bool] | None = None) -> None:
        """Run to a time, h or a text such as "8 d".

        ``halts`` is asked now and then whether to stop where the run stands.

        Raises
        ------
        EngineError
            If the time lies in the past or beyond the run, or a rate is not finite.
        """
        goal = quantity(to, "time") if isinstance(to, str) else float(to)
        end = float(self._edges[-1])
        if goal > end * (1 + 1e-12) + SAME_H or goal < self.time_h - SAME_H:
            raise EngineError(
                f"advance(to={to!r}): expected a time from {self.time_h:g} h to the end of the "
                f"run at {end:g} h; make run.until later."
            )
        while self.time_h < goal - SAME_H:
            stop = min([goal, *(t for t in self._next_events() if t < goal)])
            for r in map(int, np.flatnonzero(~self._is_over)):
                self._integrate(r, stop)
                self._decide_extinction(r, stop)
            self.time_h = stop
            self._apply_events()
            if halts is not None and halts():
                return

    def dismiss(self, bodies: np.ndarray) -> None:
        """Follow bodies (replicate,) bool no longer: they stay as they are, and nothing is given to them."""
        self._is_over |= bodies
        self.courses.clinician.is_stopped |= bodies

    def _next_events(self) -> list[float]:
        """When cells come in, something may be decided, or a day is over and classes may have died out."""
        times = [at for at, _ in self._events if at > self.time_h + SAME_H]
        times.append((math.floor((self.time_h + SAME_H) / DAY_H) + 1) * DAY_H)
        return times + self.courses.next_look_h(self.time_h)

    def _integrate(self, r: int, stop: float) -> None:
        drugs = self._drugs_of(r)
        code, reached, step, tried = advance_means(
            self.plan.flow, self._effort, self.y[r], self.levels[r], self._tally[r], self._edges,
            drugs.factors, drugs.added, self._steepest, self.time_h, stop, self._step_h[r],
            self.fineness,
        )  # fmt: skip
        if code != codes.DONE:
            raise EngineError(
                f"replicate {self.numbers[r]} at {reached:g} h: a rate became infinite or "
                "undefined; look for a modifier without an upper bound."
            )
        self._step_h[r] = step
        self._tried[r] += tried

    def _decide_extinction(self, r: int, now_h: float) -> None:
        """Classes that have become few: their hazards are those of the step just made."""
        replicate = self.numbers[r : r + 1]

        def uniform(number: int, draw: int) -> float:
            return float(uniforms(self.seed, replicate, f"extinction {number} {draw}")[0])

        if not self.does_extinction:
            return
        hazard = self._effort.hazard
        if self.classes.look(r, now_h, self.y[r], hazard, uniform):
            self._step_h[r] = min(self._step_h[r], FIRST_STEP_H)

    def _drugs_of(self, r: int) -> Drugs:
        """Integrals of a replicate's plan; those who are given the same share them."""
        number, given = int(self.courses.plan[r]), self.courses.levels(r)
        if number not in self._drugs or self._drugs[number][0] is not given:
            flow = self.plan.flow
            factors = np.zeros((len(self._edges), len(flow.factor_range)))
            integrate_factors(flow, self._edges, self._given_row, given, factors)
            added = np.zeros((len(self._edges), len(flow.levels)))
            inputs = self.courses.inputs(r)
            added[1:, : inputs.shape[1]] = np.cumsum(inputs, axis=0)
            self._drugs[number] = given, Drugs(given, factors, added)
        return self._drugs[number][1]

    # protocol

    def _apply_events(self) -> None:
        """What is decided now, then infusions and resets."""
        if self.courses.is_look(self.time_h):
            self.courses.look(self.time_h, self.cells, self.signals)
        for at, coming in self._events:
            if abs(at - self.time_h) < SAME_H:
                self._enter(coming, self.courses.treated)
        for body, decided in self.courses.due(self.time_h):
            self._enter(self._coming(decided), np.array([body]))

    def _enter(self, coming: Coming, bodies: np.ndarray) -> None:
        for kind, program, number in coming.cells:
            for r in bodies:
                new = number
                if coming.is_reset:
                    new = self._make_place(r, kind, number)
                elif new:
                    self._infused[r, kind.compartment, kind.species] += new
                for state, share in self.plan.spread(kind, program):
                    self.y[r, state] += new * share
                self._step_h[r] = min(self._step_h[r], FIRST_STEP_H)

    def _make_place(self, r: int, kind: Kind, number: float) -> float:
        """Take cells out until no more than ``number`` are there; returns how many are lacking then."""
        mine = self.plan.states(kind)
        present = float(self.y[r, mine].sum())
        if present > number:
            self.y[r, mine] *= number / present
        return max(number - present, 0.0)

    # looking

    @property
    def decisions(self) -> list[Decision]:
        """What was decided so far, in order of time."""
        return list(self.courses.decisions)

    @property
    def counts(self) -> dict[str, np.ndarray]:
        """Mean numbers of simulated cells, all patches together: float64 (replicate, species) each."""
        row = self.plan.flow.row
        shape = (self.replicates, self.tables.n_compartments, self.tables.n_species)
        found = np.zeros((self.replicates, shape[1] * shape[2]))
        here = row >= 0
        for r in range(self.replicates):
            found[r] = np.bincount(row[here], self.y[r, here], shape[1] * shape[2])
        counts = found.reshape(shape)
        counts[:, :, 0] = self._vacant(counts)
        return {name: counts[:, m] for m, name in enumerate(self.compiled.compartment_names)}

    def _vacant(self, counts: np.ndarray) -> np.ndarray:
        """Vacant sites of lattices, which have number 0 among species."""
        spaces = self.compiled.geometry.spaces
        sites = spaces["nx"] * spaces["ny"] * spaces["nz"] * spaces["patches"]
        vacant = sites - counts[:, :, 1:].sum(axis=2)
        return np.where(spaces["is_lattice"].astype(bool), np.maximum(vacant, 0.0), 0.0)

    @property
    def cells(self) -> dict[str, np.ndarray]:
        """The same as counts: nothing is held apart."""
        return self.counts

    @property
    def tally(self) -> np.ndarray:
        """Mean events since the start: float64 (replicate, channel)."""
        return self._tally[:, :-1].copy()

    @property
    def received(self) -> np.ndarray:
        """Cells handed over to a compartment: float64 (replicate, compartment, species)."""
        found = self._infused.copy()
        tally, m, species = (self.plan.sent[:, i].astype(np.int64) for i in range(3))
        sent = self._tally[:, tally] * self.plan.sent[:, 3]
        for r in range(self.replicates):
            np.add.at(found[r], (m, species), sent[r])
        return found

    @property
    def waiting(self) -> dict[str, np.ndarray]:
        """Cells that wait for a place on a lattice: float64 (replicate,) each."""
        found = {}
        for m, name in enumerate(self.compiled.compartment_names):
            if m in self.plan.anatomies:
                kinds = [k for k in self.plan.first if k.waits and k.compartment == m]
                states = np.concatenate([np.zeros(0, np.int64), *map(self.plan.states, kinds)])
                found[name] = self.y[:, states].sum(axis=1)
        return found

    @property
    def signals(self) -> np.ndarray:
        """Levels now: float64 (replicate, signal)."""
        found = self.levels[:, : len(self.compiled.model.signals)].copy()
        done = self.interval
        for r in range(self.replicates):
            given = self.courses.levels(r)
            for g, row in enumerate(self.tables.signals["given"]):
                if row >= 0 and done > 0:
                    found[r, g] = given[done - 1, row, -1]
        return found

    @property
    def statistics(self) -> dict[str, float]:
        """Steps tried, all replicates together, and states that numbers are kept of."""
        return {"steps": int(self._tried.sum()), "states": len(self.plan.flow.row)}

    @property
    def reservoirs(self) -> tuple[()]:
        """None: no class is too rare for a mean."""
        return ()

    def agents(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """Refused: there are no cells to show.

        Raises
        ------
        EngineError
        """
        raise EngineError("a mean-field run has no cells to show; run the scenario with cells.")

    def field_levels(self, replicate: int = 0) -> dict[str, np.ndarray]:
        """None: a field is one mean level, which is not recorded."""
        return {}

    def digest(self, replicate: int | None = None) -> str:
        """Hash of the state, of one replicate or of all."""
        chosen = range(self.replicates) if replicate is None else [replicate]
        digest = hashlib.sha256()
        for r in chosen:
            for array in (self.y, self.levels, self._tally):
                digest.update(np.ascontiguousarray(array[r]).tobytes())
        return digest.hexdigest()


def thinned(edges: np.ndarray, scenario: Scenario) -> np.ndarray:
    """Edges that levels of drugs ask for: the longer since a dose began or ended, the wider apart.

    A level is a sum of exponentials, and what is left of it long after a dose changes slowly. Where doses may be decided on
    all edges stay.
    """
    if scenario.reactions:
        return edges
    doses = {t for d in scenario.doses for t in (d.start_h, d.start_h + d.duration_h)}
    records = multiples(scenario.run.counts_every_h, scenario.run.until_h)
    needed = np.sort(np.concatenate([sorted(doses), records]))
    place = np.minimum(np.searchsorted(needed, edges - SAME_H), len(needed) - 1)
    is_needed = np.abs(needed[place] - edges) < SAME_H
    changes = np.array(sorted({0.0, *doses}))
    since = edges - changes[np.searchsorted(changes, edges + SAME_H) - 1]
    kept = [0]
    for i in range(1, len(edges)):
        is_wide = edges[i] - edges[kept[-1]] >= WIDER * since[i]
        if is_wide or is_needed[i] or i == len(edges) - 1:
            kept.append(i)
    return edges[kept]


__all__ = ["MeanField"]
