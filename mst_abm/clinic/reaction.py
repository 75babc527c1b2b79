"""Decisions of a clinician: what is done when something is seen, and who was treated so far.

Reactions are looked at once a day, in the order of the protocol, for every replicate by itself. They see
reports (`mst_abm.clinic.observation`), the latest of each observable, never the truth.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.clinic.observation import DAY_H
from mst_abm.clinic.protocol import Acts

COMPARISONS = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
#: Times closer than this, h, are the same.
SAME_H = 1e-6


@dataclass(frozen=True)
class Condition:
    """A comparison of an observable, in its unit; ``text`` as written."""

    observable: str
    comparison: str
    value: float
    text: str

    def holds(self, seen: Mapping[str, np.ndarray]) -> np.ndarray:
        """Where it holds; not where there has been no report yet."""
        return COMPARISONS[self.comparison](seen[self.observable], self.value)


@dataclass(frozen=True)
class Reaction:
    """What is done when all conditions hold on ``lasting_d`` daily looks on end.

    The window ``first_h`` to ``last_h`` counts from the start of the run, or from the latest start of
    the group ``of``. ``acts`` are timed from the decision, which begins the group ``begins``;
    ``stops`` ends all treatment. It happens ``at_most`` so often, ``apart_h`` or more from the last.
    """

    name: str
    conditions: tuple[Condition, ...]
    acts: Acts
    done: str
    first_h: float = 0.0
    last_h: float = np.inf
    of: str = ""
    begins: str = ""
    stops: bool = False
    lasting_d: int = 1
    at_most: int = 1
    apart_h: float = 0.0

    @property
    def when(self) -> str:
        """The condition in English."""
        text = " and ".join(f"{c.observable} {c.text}" for c in self.conditions)
        if self.lasting_d > 1:
            text += f" on {self.lasting_d} days on end"
        base = f" of {self.of}" if self.of else ""
        if self.last_h < np.inf:
            text += f", from day {self.first_h / DAY_H:g} to {self.last_h / DAY_H:g}{base}"
        elif self.first_h or self.of:
            text += f", from day {self.first_h / DAY_H:g}{base} on"
        return text

    def __str__(self) -> str:
        often = {1: "once", 2: "twice"}.get(self.at_most, f"{self.at_most} times")
        apart = f", {self.apart_h / DAY_H:g} d apart" if self.apart_h and self.at_most > 1 else ""
        limit = "" if self.stops else f"; {often} at most{apart}"
        title = "" if self.done.startswith(self.name) else f"{self.name}: "
        return f"{title}when {self.when}: {self.done}{limit}"


@dataclass(frozen=True)
class Decision:
    """Reaction number ``reaction`` of the protocol taken for a body of the batch.

    ``seen``: latest reports of everything the protocol looks at, in the order of `Clinician.looks_at`.
    """

    body: int
    time_h: float
    reaction: int
    seen: tuple[float, ...]


def looked_at(reactions: Sequence[Reaction]) -> tuple[str, ...]:
    """Observables that conditions name, each once."""
    return tuple(dict.fromkeys(c.observable for r in reactions for c in r.conditions))


class Clinician:
    """Looks at the reports of a batch day by day and decides.

    Parameters
    ----------
    reactions : of the protocol
    begins : h, when planned groups of acts begin
    n : replicates
    """

    def __init__(self, reactions: Sequence[Reaction], begins: Mapping[str, float], n: int) -> None:
        self.reactions = tuple(reactions)
        self.looks_at = looked_at(reactions)
        self.is_stopped = np.zeros(n, bool)
        self._planned = dict(begins)
        names = {*begins, *(r.begins for r in reactions)}
        self._began = {name: np.full(n, -np.inf) for name in sorted(names)}
        self._latest = {name: np.full(n, np.nan) for name in self.looks_at}
        shape = len(self.reactions), n
        self._days = np.zeros(shape, int)
        self._taken = np.zeros(shape, int)
        self._last = np.full(shape, -np.inf)

    def look(self, time_h: float, reports: Mapping[str, np.ndarray]) -> list[Decision]:
        """Decisions of this day; what they do is the caller's."""
        for name, known in self._latest.items():
            known[:] = np.where(np.isnan(reports[name]), known, reports[name])
        for name, begin in self._planned.items():
            if begin <= time_h + SAME_H:
                began = self._began[name]
                began[:] = np.where(self.is_stopped, began, np.maximum(began, begin))
        found = []
        for i, reaction in enumerate(self.reactions):
            for body in np.flatnonzero(self._is_due(i, reaction, time_h)):
                seen = tuple(float(values[body]) for values in self._latest.values())
                found.append(Decision(int(body), time_h, i, seen))
                self._taken[i, body] += 1
                self._last[i, body] = time_h
                self.is_stopped[body] |= reaction.stops
                if reaction.begins:
                    self._began[reaction.begins][body] = time_h
        return found

    def memory(self) -> dict[str, np.ndarray]:
        """What it knows of the patients, by name."""
        found = {name: getattr(self, f"_{name}") for name in ("days", "taken", "last")}
        # a reaction that begins no group has one without a name
        found |= {f"began/{i}": began for i, began in enumerate(self._began.values())}
        found |= {f"latest/{name}": known for name, known in self._latest.items()}
        return found | {"is_stopped": self.is_stopped}

    def recall(self, memory: Mapping[str, np.ndarray]) -> None:
        """Know again what another knew. Changes: everything that `memory` gives."""
        for name, known in self.memory().items():
            known[...] = memory[name]

    def _is_due(self, i: int, reaction: Reaction, time_h: float) -> np.ndarray:
        met = np.ones(len(self.is_stopped), bool)
        for condition in reaction.conditions:
            met &= condition.holds(self._latest)
        self._days[i] = np.where(met, self._days[i] + 1, 0)
        since = time_h - (self._began[reaction.of] if reaction.of else 0.0)
        return (
            (self._days[i] >= reaction.lasting_d)
            & ~self.is_stopped
            & (self._taken[i] < reaction.at_most)
            & (time_h - self._last[i] >= reaction.apart_h - SAME_H)
            & (since >= reaction.first_h - SAME_H)
            & (since <= reaction.last_h + SAME_H)
            & np.isfinite(since)
        )
