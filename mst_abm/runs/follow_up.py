"""From a run to its endpoints: daily samples, what a laboratory reports of them, what befell the patients.

What befalls a patient follows from the truth; endpoints are computed twice, from what was reported
and from the truth, by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.clinic.course import Course
from mst_abm.clinic.draws import uniforms
from mst_abm.clinic.endpoints import FINE, endpoints_for, evaluate
from mst_abm.clinic.given import acts_of, chemotherapy, first_course_end_h, infused_h
from mst_abm.clinic.hazards import Fate, befall
from mst_abm.clinic.laboratory import Laboratory
from mst_abm.clinic.observation import DAY_H, Observation, day_of
from mst_abm.clinic.protocol import Acts
from mst_abm.clinic.reaction import Decision
from mst_abm.clinic.response import lost_day
from mst_abm.records.schema import Observed

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario


@dataclass
class Samples:
    """What was read off a run: everything once a day, and at every record what endpoints need finely."""

    daily: list[tuple[float, dict[str, np.ndarray]]] = field(default_factory=list)
    fine: list[tuple[float, dict[str, np.ndarray]]] = field(default_factory=list)

    def take(self, laboratory: Laboratory, sim: Any) -> None:
        """Read a record."""
        if laboratory.names and sim.time_h >= len(self.daily) * DAY_H - 1e-9:
            self.daily.append((sim.time_h, laboratory.read(sim.cells, sim.signals)))
        if set(FINE).intersection(laboratory.names):
            levels = laboratory.read_levels(sim.signals)
            self.fine.append((sim.time_h, {name: levels[name] for name in FINE}))

    def memory(self) -> dict[str, np.ndarray]:
        """Everything read so far, by name; of every series (sample, replicate)."""
        found = {}
        for kind in ("daily", "fine"):
            samples = getattr(self, kind)
            found[f"{kind}/times"] = np.array([time_h for time_h, _ in samples], float)
            for name in samples[0][1] if samples else ():
                found[f"{kind}/series/{name}"] = np.stack([s[name] for _, s in samples])
        return found

    @classmethod
    def recalled(cls, memory: Mapping[str, np.ndarray]) -> Samples:
        """The samples of a memory."""
        found = cls()
        for kind in ("daily", "fine"):
            start = f"{kind}/series/"
            series = {n.removeprefix(start): a for n, a in memory.items() if n.startswith(start)}
            for i, time_h in enumerate(memory[f"{kind}/times"]):
                rows = {name: values[i] for name, values in series.items()}
                getattr(found, kind).append((float(time_h), rows))
        return found


@dataclass(frozen=True)
class Results:
    """Endpoints by name from what was reported and from the truth, and the laboratory series."""

    reported: dict[str, np.ndarray]
    true: dict[str, np.ndarray]
    observed: Observed | None


def read_endpoints(
    scenario: Scenario,
    samples: Samples,
    *,
    seed: int,
    replicates: np.ndarray,
    decisions: Sequence[Decision] = (),
) -> Results:
    """Endpoints and laboratory series from what was read off a run, and what was decided in it.

    What was never there in a replicate gives no endpoint of that replicate, whatever was there in others of
    its batch: a replicate is the same alone and among others.
    """
    if not samples.daily:
        return Results({}, {}, None)
    times_h, truth = _stacked(samples.daily)
    observation = Observation(scenario.observables, seed, replicates)
    _, reported = _stacked([(t, observation.report(day_of(t), s)) for t, s in samples.daily])
    fine_times_h, fine = _stacked(samples.fine)
    n = len(replicates)
    found: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
    for absent, members in _groups(scenario, truth):
        present = {name: v[members] for name, v in truth.items() if name not in absent}
        fates = _fates(scenario, times_h, present, seed, replicates[members])
        places = {int(body): i for i, body in enumerate(members)}
        mine = [replace(d, body=places[d.body]) for d in decisions if d.body in places]
        true_course = _course(scenario, times_h, present, mine, len(members))
        true_course = replace(
            true_course,
            fates=fates,
            fine_times_h=fine_times_h,
            fine={name: v[members] for name, v in fine.items()},
        )
        seen = {name: v[members] for name, v in reported.items() if name not in absent}
        course = replace(true_course, series=seen, fine_times_h=times_h, fine=seen)
        rules = endpoints_for(scenario.observables, scenario.model.hazards)
        for values, of in zip(found, (course, true_course), strict=True):
            for name, part in evaluate(rules, of).items():
                values.setdefault(name, np.full(n, np.nan))[members] = part
    return Results(*found, Observed(times_h, truth, reported))


def _groups(
    scenario: Scenario, truth: Mapping[str, np.ndarray]
) -> list[tuple[set[str], np.ndarray]]:
    """Observables that were never there, and the places in the batch of the replicates that lacked them."""
    # a level of nothing is a level: without exposure nobody falls ill
    levels = {item.name for item in scenario.observables if item.signal}
    counted = [name for name in truth if name not in levels]
    n = len(next(iter(truth.values())))
    was_there = np.array([np.any(truth[name], axis=1) for name in counted], bool).reshape(-1, n)
    kinds, which = np.unique(was_there, axis=1, return_inverse=True)
    return [
        (
            {name for name, was in zip(counted, kind, strict=True) if not was},
            np.flatnonzero(which == k),
        )
        for k, kind in enumerate(kinds.T)
    ]


def ends_h(
    scenario: Scenario,
    samples: Samples,
    *,
    seed: int,
    replicates: np.ndarray,
    decisions: Sequence[Decision] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """(replicate,) times of death, and from which nothing else hangs on the cells, as far as samples tell; not
    a number: not yet."""
    times_h, truth = _stacked(samples.daily)
    fates = _fates(scenario, times_h, truth, seed, replicates)
    course = replace(_course(scenario, times_h, truth, decisions, len(replicates)), fates=fates)
    lost_d = np.full(len(replicates), np.nan)
    if scenario.run.stop == "at relapse" and truth.keys() >= {"marrow_blasts", "anc", "platelets"}:
        lost_d = lost_day(course)
    return course.death_h, lost_d * DAY_H


def _fates(
    scenario: Scenario,
    times_h: np.ndarray,
    series: dict[str, np.ndarray],
    seed: int,
    replicates: np.ndarray,
) -> dict[str, Fate]:
    return befall(
        [h for h in scenario.model.hazards if set(series).issuperset(h.needs)],
        times_h,
        series,
        lambda name: uniforms(seed, replicates, name),
        ends_at_death=scenario.run.stop != "at end",
    )


def _course(
    scenario: Scenario,
    times_h: np.ndarray,
    series: dict[str, np.ndarray],
    decisions: Sequence[Decision],
    n: int,
) -> Course:
    """The patients' course with what each of them was given."""
    planned = Acts(scenario.doses, scenario.infusions)
    given = acts_of(planned, scenario.reactions, decisions, n)
    drugs = chemotherapy(scenario.model, scenario.observables)

    def came(name: str) -> list[tuple[float, ...]]:
        return [infused_h(acts.infusions, scenario.observables, name) for acts in given]

    return Course(
        times_h=times_h,
        series=series,
        chemotherapy_end_h=np.array([first_course_end_h(acts.doses, drugs) for acts in given]),
        infusions_h=came("donor_cells"),
        transfusions_h=came("platelets"),
    )


def _stacked(
    samples: list[tuple[float, dict[str, np.ndarray]]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times, and series (replicate, sample) by name."""
    names = samples[0][1] if samples else ()
    times = np.array([time_h for time_h, _ in samples])
    return times, {name: np.stack([s[name] for _, s in samples], axis=1) for name in names}
