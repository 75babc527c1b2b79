"""From a run to its endpoints: daily samples, what a laboratory reports of them, what befell the patients.

What befalls a patient follows from the truth; endpoints are computed twice, from what was reported
and from the truth, by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.clinic.chemotherapy import chemotherapy, first_course_end_h
from mst_abm.clinic.course import DAY_H, Course
from mst_abm.clinic.draws import uniforms
from mst_abm.clinic.endpoints import FINE, endpoints_for, evaluate
from mst_abm.clinic.hazards import befall
from mst_abm.clinic.laboratory import Laboratory, lacking
from mst_abm.clinic.observation import Observation, day_of
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


@dataclass(frozen=True)
class Results:
    """Endpoints by name from what was reported and from the truth, and the laboratory series."""

    reported: dict[str, np.ndarray]
    true: dict[str, np.ndarray]
    observed: Observed | None


def read_endpoints(
    scenario: Scenario, samples: Samples, *, seed: int, replicates: np.ndarray
) -> Results:
    """Endpoints and laboratory series from what was read off a run."""
    if not samples.daily:
        return Results({}, {}, None)
    times_h, truth = _stacked(samples.daily)
    observation = Observation(scenario.observables, seed, replicates)
    _, reported = _stacked([(t, observation.report(day_of(t), s)) for t, s in samples.daily])
    # a level of nothing is a level: without exposure nobody falls ill
    levels = {item.name for item in scenario.observables if item.signal}
    absent = lacking(truth) - levels
    true_course = _course(scenario, times_h, truth, absent, seed, replicates)
    fine_times_h, fine = _stacked(samples.fine)
    true_course = replace(true_course, fine_times_h=fine_times_h, fine=fine)
    seen = {name: values for name, values in reported.items() if name not in absent}
    course = replace(true_course, series=seen, fine_times_h=times_h, fine=seen)
    rules = endpoints_for(scenario.observables, scenario.model.hazards)
    observed = Observed(times_h, truth, reported)
    return Results(evaluate(rules, course), evaluate(rules, true_course), observed)


def _course(
    scenario: Scenario,
    times_h: np.ndarray,
    truth: dict[str, np.ndarray],
    absent: set[str],
    seed: int,
    replicates: np.ndarray,
) -> Course:
    """The true course of the patients; what befell them follows from the truth alone."""
    present = {name: values for name, values in truth.items() if name not in absent}
    drugs = chemotherapy(scenario.model, scenario.observables)
    fates = befall(
        [h for h in scenario.model.hazards if set(present).issuperset(h.needs)],
        times_h,
        present,
        lambda name: uniforms(seed, replicates, name),
    )
    return Course(
        times_h=times_h,
        series=present,
        chemotherapy_end_h=first_course_end_h(scenario.doses, drugs),
        infusions_h=tuple(infusion.at_h for infusion in scenario.infusions),
        fates=fates,
    )


def _stacked(
    samples: list[tuple[float, dict[str, np.ndarray]]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times, and series (replicate, sample) by name."""
    names = samples[0][1] if samples else ()
    times = np.array([time_h for time_h, _ in samples])
    return times, {name: np.stack([s[name] for _, s in samples], axis=1) for name in names}
