"""Hypotheses about a trial, mechanism by mechanism: which of them its targets allow, and what would tell the rest apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mst_abm.clinic.fitting import is_accepted, judge
from mst_abm.clinic.identification import outcomes, power
from mst_abm.clinic.targets import Comparison
from mst_abm.errors import Problem, ScenarioError, did_you_mean
from mst_abm.runs.calibrate import ParameterSet, Patients, content_of, readings, settle, values_of
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import Pool
from mst_abm.scenario import load_scenario
from mst_abm.scenario.identification import Identification


@dataclass(frozen=True)
class Verdict:
    """A hypothesis beside the targets: a row of comparisons for each parameter set, and which of them pass."""

    name: str
    on: tuple[str, ...]
    rows: tuple[tuple[Comparison, ...], ...]
    passes: tuple[bool, ...]

    @property
    def best(self) -> int:
        """The set whose fitted targets are least surprising, passing ones first."""
        worst = [min((row.tail for row in line), default=np.nan) for line in self.rows]
        return max(range(len(worst)), key=lambda i: (self.passes[i], worst[i], -i))


@dataclass(frozen=True)
class Separation:
    """How often a trial of one measurement refutes one hypothesis where another holds, by their names."""

    measurement: str
    power: dict[tuple[str, str], float]

    @property
    def mean(self) -> float:
        """Over ordered pairs."""
        return float(np.mean(list(self.power.values())))


@dataclass(frozen=True)
class Identified:
    """Verdicts on all hypotheses, and measurements by how well they separate those that pass, best first."""

    identification: Identification
    verdicts: tuple[Verdict, ...]
    separations: tuple[Separation, ...]


def identify(
    asked: Identification,
    folder: Path,
    pool: Pool,
    *,
    signals: Signals | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Identified:
    """Run what is missing; what comes out does not depend on the workers.

    Raises
    ------
    ScenarioError
        With mistakes of the trial or its scenarios, or if they have no such switch.
    RecordError
        If the folder cannot be used or holds something else.
    EngineError
        If patients could not be run.
    """
    _refuse_unknown_switches(asked)
    settle(folder, f"{content_of(asked.trial)}\n{_rest(asked)}", "these hypotheses")
    sets = [
        ParameterSet(i * len(asked.sets) + j, np.zeros(0), (*values, *_switches(asked, on)))
        for i, (_, on) in enumerate(asked.hypotheses)
        for j, values in enumerate(asked.sets)
    ]
    wanted = [item.endpoint for item in (*asked.trial.targets, *asked.measurements)]
    found = readings(
        asked.trial, sets, wanted, folder / "hypotheses", asked.engine, pool, signals, progress
    )
    verdicts = []
    for i, (name, on) in enumerate(asked.hypotheses):
        of_sets = [found[i * len(asked.sets) + j] for j in range(len(asked.sets))]
        rows = [
            tuple(judge(t, values_of(asked.trial, t, patients)) for t in asked.trial.targets)
            for patients in of_sets
        ]
        passes = [
            is_accepted([row.tail for row in line if row.target.name in asked.fit]) for line in rows
        ]
        verdicts.append(Verdict(name, on, tuple(rows), tuple(passes)))
    return Identified(asked, tuple(verdicts), _separations(asked, verdicts, found))


def _separations(
    asked: Identification, verdicts: list[Verdict], found: dict[int, Patients]
) -> tuple[Separation, ...]:
    """Of hypotheses that pass, each at the set that fits it best."""
    there = [(i, v) for i, v in enumerate(verdicts) if any(v.passes)]
    result = []
    for item in asked.measurements:
        shown = {}
        for i, verdict in there:
            patients = found[i * len(asked.sets) + verdict.best]
            values = values_of(asked.trial, item, patients)
            if len(values):
                shown[verdict.name] = outcomes(item, values, asked.of)
        pairs = {(a, b): power(shown[a], shown[b]) for a in shown for b in shown if a != b}
        if pairs:
            result.append(Separation(item.name, pairs))
    return tuple(sorted(result, key=lambda one: (-one.mean, one.measurement)))


def _switches(asked: Identification, on: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((f"switches.{s}", "on" if s in on else "off") for s in asked.mechanisms)


def _refuse_unknown_switches(asked: Identification) -> None:
    for arm in asked.trial.arms:
        known = dict(load_scenario(arm.scenario, overrides=arm.overrides).switches)
        for name in asked.mechanisms:
            if name not in known:
                message = f"mechanisms: arm '{arm.name}' has no switch '{name}'{did_you_mean(name, known)}"
                raise ScenarioError([Problem(asked.path, 0, 0, message)])


def _rest(asked: Identification) -> str:
    ends = [(item.arm, item.endpoint) for item in asked.measurements]
    return repr((asked.engine, asked.mechanisms, asked.hypotheses, asked.sets, ends))
