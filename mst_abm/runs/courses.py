"""What every replicate of a batch is given: what was planned, and what is decided in the run.

As long as nothing is decided all replicates share one plan, and levels of drugs are computed once. A
decision gives a replicate a plan of its own, or that of others who were given the same at the same times.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mst_abm.clinic.laboratory import Laboratory
from mst_abm.clinic.observation import DAY_H, Observation, day_of
from mst_abm.clinic.protocol import Dose, Infusion, Reset, stopped
from mst_abm.clinic.reaction import Clinician, Decision
from mst_abm.engine.signals import NODE
from mst_abm.engine.tables import Schedule
from mst_abm.model.compile import CompiledModel
from mst_abm.runs.timetable import given_levels, signal_inputs
from mst_abm.scenario.definition import Scenario

SAME_H = 1e-9
Doses = tuple[Dose, ...]


class Courses:
    """Plans of drugs by replicate, cells that are to come in, and the clinician.

    Parameters
    ----------
    replicates : their numbers, for the addresses of observations
    """

    def __init__(
        self, scenario: Scenario, compiled: CompiledModel, seed: int, replicates: np.ndarray
    ) -> None:
        n = len(replicates)
        self.scenario, self.compiled = scenario, compiled
        self.plan = np.zeros(n, np.int64)
        self.decisions: list[Decision] = []
        self.clinician = Clinician(scenario.reactions, dict(scenario.groups), n)
        self._observation = Observation(scenario.observables, seed, replicates)
        self._laboratory = Laboratory(
            scenario.observables if scenario.reactions else (),
            compiled.species,
            scenario.model.compartments,
            [signal.name for signal in scenario.model.signals],
        )
        #: Plans: doses, and by interval the levels of signals and what drugs add to others.
        self._doses: list[Doses] = [scenario.doses]
        self._used = np.zeros(1, np.int64)  # plans that somebody follows
        self._levels: list[tuple[np.ndarray, np.ndarray]] = []
        self._fed: list[np.ndarray] = []  # intervals in which a drug adds to a signal
        self._edges = np.zeros(0)
        #: What was decided and is still to come: (h, body, event), in the order of decisions.
        self._decided: list[tuple[float, int, Infusion | Reset]] = []

    # drugs

    def set_edges(self, edges: np.ndarray) -> None:
        """Compute the levels of all plans for these exchange intervals."""
        self._edges = edges
        self._levels = [self._computed(doses) for doses in self._doses]
        self._fed = [_fed(levels) for levels in self._levels]

    def _computed(self, doses: Doses) -> tuple[np.ndarray, np.ndarray]:
        given = given_levels(self.scenario, self.compiled.given_signals, self._edges, doses)
        return given, signal_inputs(self.compiled, given, self._edges)

    def doses(self, body: int) -> Doses:
        """Everything a replicate is given, as far as it is decided."""
        return self._doses[self.plan[body]]

    def levels(self, body: int = 0) -> np.ndarray:
        """Signals that no cell influences, (interval, signal, node)."""
        return self._levels[self.plan[body]][0]

    def inputs(self, body: int = 0) -> np.ndarray:
        """What drugs add to signals, (interval, signal)."""
        return self._levels[self.plan[body]][1]

    def schedule(self, begin: int, end: int) -> Schedule:
        """Intervals [begin, end) for the engine."""
        if len(self._used) == 1:
            given = self._levels[self._used[0]][0][None, begin:end]
        else:
            given = np.stack([self._levels[p][0][begin:end] for p in self._used])
        return Schedule(
            edges=self._edges[begin : end + 1],
            first_window=begin + 1,
            given=given,
            plan=np.searchsorted(self._used, self.plan),
        )

    def stretch(self, begin: int, end: int) -> Schedule:
        """Intervals [begin, end) as one."""
        edges = self._edges[[begin, end]]
        times = edges[0] + np.diff(edges) * np.append(NODE, 1.0)
        places = np.append(NODE, 1.0)
        i = np.clip(np.searchsorted(self._edges, times, side="right") - 1, begin, end - 1)
        within = (times - self._edges[i]) / (self._edges[i + 1] - self._edges[i])
        node = np.abs(within[:, None] - places).argmin(axis=1)
        given = np.stack([self._levels[p][0][i, :, node].T for p in self._used])
        return Schedule(
            edges=edges,
            first_window=begin + 1,
            given=np.ascontiguousarray(given[:, None]),
            plan=np.searchsorted(self._used, self.plan),
        )

    def feed(self, signals: np.ndarray, first: int, last: int, begin: int, end: int) -> None:
        """Add to signals of bodies [first, last) what drugs give in intervals [begin, end).

        Changes: signals (replicate, signal).
        """
        mine = signals[first:last]
        for p in self._used:
            mine[self.plan[first:last] == p] += self._levels[p][1][begin:end].sum(axis=0)

    def next_fed(self, interval: int) -> int | None:
        """The first interval from ``interval`` on in which a drug adds to a signal."""
        fed = [self._fed[p][self._fed[p] >= interval] for p in self._used]
        return min((int(found[0]) for found in fed if len(found)), default=None)

    # decisions

    def next_look_h(self, time_h: float) -> list[float]:
        """When something may come from a decision: the next day, and what is decided already."""
        if not self.scenario.reactions:
            return []
        day = (day_of(time_h) + 1) * DAY_H
        return [day, *(at for at, *_ in self._decided if at > time_h + SAME_H)]

    def is_look(self, time_h: float) -> bool:
        """Whether this is the time of day at which the reports come."""
        is_daily = abs(time_h - day_of(time_h) * DAY_H) < SAME_H
        return bool(self.scenario.reactions) and is_daily and time_h < self.scenario.run.until_h

    def look(self, time_h: float, counts: dict[str, np.ndarray], signals: np.ndarray) -> None:
        """Decide on what is seen now."""
        truth = self._laboratory.read(counts, signals)
        reports = self._observation.report(day_of(time_h), truth)
        for decision in self.clinician.look(time_h, reports):
            self._take(decision)
        self._used = np.unique(self.plan)

    def _take(self, decision: Decision) -> None:
        self.decisions.append(decision)
        reaction, body = self.scenario.reactions[decision.reaction], decision.body
        acts = reaction.acts.shifted(decision.time_h)
        doses = self.doses(body) + acts.doses
        if reaction.stops:
            doses = stopped(doses, decision.time_h)
            self._decided = [item for item in self._decided if item[1] != body]
        events = (*acts.infusions, *acts.resets)
        self._decided += [(event.at_h, body, event) for event in events]
        if doses != self.doses(body):
            self.plan[body] = self._plan_of(tuple(sorted(doses, key=lambda dose: dose.start_h)))

    def _plan_of(self, doses: Doses) -> int:
        """Number of the plan with these doses; one that nobody follows makes room for a new one."""
        if doses in self._doses:
            return self._doses.index(doses)
        levels = self._computed(doses)
        idle = set(range(1, len(self._doses))) - set(self.plan.tolist())
        if idle:
            number = min(idle)
            self._doses[number], self._levels[number] = doses, levels
            self._fed[number] = _fed(levels)
            return number
        self._doses.append(doses)
        self._levels.append(levels)
        self._fed.append(_fed(levels))
        return len(self._doses) - 1

    def due(self, time_h: float) -> list[tuple[int, Infusion | Reset]]:
        """What was decided to happen at this time: (body, event), taken off the list."""
        now = [(body, e) for at, body, e in self._decided if abs(at - time_h) < SAME_H]
        self._decided = [item for item in self._decided if item[0] > time_h + SAME_H]
        return now

    # memory

    def memory(self) -> dict[str, np.ndarray]:
        """What was decided and seen so far, by name; plans of drugs follow from it."""
        n = len(self.clinician.looks_at)
        seen = np.array([d.seen for d in self.decisions], float).reshape(len(self.decisions), n)
        return {
            "decided/body": np.array([d.body for d in self.decisions], np.int64),
            "decided/time": np.array([d.time_h for d in self.decisions], float),
            "decided/reaction": np.array([d.reaction for d in self.decisions], np.int64),
            "decided/seen": seen,
            **{f"clinician/{name}": array for name, array in self.clinician.memory().items()},
        }

    def recall(self, memory: Mapping[str, np.ndarray], time_h: float) -> None:
        """Stand where another stood at a time of a run: its decisions are taken once more.

        Changes: everything but the edges.
        """
        self.plan[:] = 0
        self._doses, self._levels, self._fed = self._doses[:1], self._levels[:1], self._fed[:1]
        self.decisions, self._decided = [], []
        columns = (memory[f"decided/{name}"] for name in ("body", "time", "reaction", "seen"))
        for body, at, reaction, seen in zip(*columns, strict=True):
            self._take(Decision(int(body), float(at), int(reaction), tuple(map(float, seen))))
        self._used = np.unique(self.plan)
        self._decided = [item for item in self._decided if item[0] > time_h + SAME_H]
        known = {name: memory[f"clinician/{name}"] for name in self.clinician.memory()}
        self.clinician.recall(known)

    @property
    def treated(self) -> np.ndarray:
        """Bodies whose treatment goes on."""
        return np.flatnonzero(~self.clinician.is_stopped)


def _fed(levels: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Intervals in which a drug adds to a signal."""
    return np.flatnonzero(levels[1].any(axis=1))
