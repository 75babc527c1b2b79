"""A calibration: waves of parameter sets through a trial, judged by its targets, until enough are accepted.

Sets are points of one Sobol sequence over the priors. Those of later waves that a screen, learnt from the sets before,
gives next to no chance are not run. What is left of a wave is a table of patients' endpoints, so that the same command
goes on where it was stopped.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mst_abm.clinic.fitting import (
    NO_SHIFT,
    Shift,
    is_accepted,
    is_met,
    judge,
    placed,
    screen,
    shift_of,
)
from mst_abm.clinic.targets import Comparison, Target
from mst_abm.errors import RecordError
from mst_abm.records.atomic import write_whole
from mst_abm.records.places import write_rows
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import Pool
from mst_abm.runs.shards import digest_of
from mst_abm.runs.to_file import Engine
from mst_abm.runs.trial import run_trial
from mst_abm.scenario import load_scenario
from mst_abm.scenario.calibration import Calibration
from mst_abm.scenario.sweep import Axis
from mst_abm.scenario.trial import Trial

PLAN = "content.sha256"
#: Candidates of the sequence that are looked at for every set that is run.
CANDIDATES = 64

#: Endpoints of simulated patients by arm, float64 (patient,) each.
Patients = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class ParameterSet:
    """A point of the priors: its place in the sequence, shares (number,) and values by dotted name."""

    number: int
    shares: np.ndarray
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Judged:
    """A set beside all targets of the calibration, in their order, and whether the fitted ones accept it."""

    set: ParameterSet
    wave: int
    rows: tuple[Comparison, ...]
    is_accepted: bool


@dataclass(frozen=True)
class Calibrated:
    """All sets that were run, and what cells show less what the companion shows by target."""

    calibration: Calibration
    sets: tuple[Judged, ...]
    shifts: tuple[Shift, ...]
    on_cells: tuple[Judged, ...]

    @property
    def accepted(self) -> tuple[Judged, ...]:
        """Sets that agree with all fitted targets."""
        return tuple(item for item in self.sets if item.is_accepted)


def calibrate(
    calibration: Calibration,
    folder: Path,
    pool: Pool,
    *,
    signals: Signals | None = None,
    progress: Callable[[str], Callable[[int, int], None]] | None = None,
) -> Calibrated:
    """Run what is missing of a calibration; what comes out does not depend on the workers.

    ``progress``: from the name of a wave to what is called with patients done and all of them.

    Raises
    ------
    ScenarioError
        With mistakes of the trial, its scenarios or the names of free numbers.
    RecordError
        If the folder cannot be used or holds another calibration.
    EngineError
        If patients could not be run.
    MissingPackageError
        If a screen is wanted and scikit-learn is not there.
    """
    settle(folder, _content(calibration), "this calibration")
    trial, targets = calibration.trial, calibration.trial.targets
    wanted = [target.endpoint for target in targets]
    sequence = _sequence(calibration)
    sets: list[tuple[ParameterSet, int, Patients]] = []
    shifts = (NO_SHIFT,) * len(targets)
    on_cells: tuple[Judged, ...] = ()

    def run(chosen: Sequence[ParameterSet], name: str, engine: Engine) -> dict[int, Patients]:
        told = None if progress is None else progress(name)
        return readings(trial, chosen, wanted, folder / name, engine, pool, signals, told)

    for wave in range(calibration.waves):
        judged = [_judged(calibration, *item, shifts) for item in sets]
        if sum(item.is_accepted for item in judged) >= calibration.accepted:
            break
        chosen = _next(calibration, judged, sequence)
        if not chosen:
            break
        found = run(chosen, f"wave-{wave}", calibration.engine)
        sets += [(item, wave, found[item.number]) for item in chosen]
        if wave == 0 and calibration.cells:
            some = _spread([_judged(calibration, *item, shifts) for item in sets], calibration)
            seen = run([item.set for item in some], "cells", "cells")
            none = (NO_SHIFT,) * len(targets)
            on_cells = tuple(_judged(calibration, i.set, 0, seen[i.set.number], none) for i in some)
            shifts = tuple(
                shift_of(
                    np.array([placed(item.rows[k]) for item in on_cells]),
                    np.array([placed(item.rows[k]) for item in some]),
                )
                for k in range(len(targets))
            )
    return Calibrated(
        calibration,
        tuple(_judged(calibration, *item, shifts) for item in sets),
        shifts,
        on_cells,
    )


def readings(
    trial: Trial,
    sets: Sequence[ParameterSet],
    wanted: Iterable[str],
    folder: Path,
    engine: Engine,
    pool: Pool,
    signals: Signals | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Patients]:
    """Endpoints ``wanted`` of all patients by the number of the set, run unless there is a table of them already.

    The same patients with the same random numbers go through all sets. The table is ``folder`` with .csv; records are
    removed once it is there.
    """
    table = folder.with_suffix(".csv")
    if table.exists():
        return _read(table)
    names = {f"{item.number:05d}-{arm.name}": (item, arm) for item in sets for arm in trial.arms}
    arms = tuple(
        replace(
            arm,
            name=name,
            overrides=(*arm.overrides, *(f"{key}={value}" for key, value in item.values)),
        )
        for name, (item, arm) in names.items()
    )
    every = replace(trial, arms=arms, targets=())
    found = run_trial(every, folder, pool=pool, signals=signals, progress=progress, engine=engine)
    rows = [
        (item.number, arm.name, endpoint, *map(repr, map(float, found[name][endpoint])))
        for name, (item, arm) in names.items()
        for endpoint in sorted(set(wanted))
        if endpoint in found[name]
    ]
    write_rows(table, [("set", "arm", "endpoint", "patients"), *rows])
    shutil.rmtree(folder)
    return _read(table)


def values_of(trial: Trial, target: Target, patients: Patients) -> np.ndarray:
    """What a target is judged by: a reading that is missing was not taken, an endpoint that is missing not reached."""
    values = patients.get(target.arm, {}).get(target.endpoint, np.zeros(0))
    is_reading = target.endpoint in {reading.name for reading in trial.readings}
    if is_reading and target.statistic in ("median", "mean"):
        return values[~np.isnan(values)]
    return values


def _judged(
    calibration: Calibration,
    item: ParameterSet,
    wave: int,
    patients: Patients,
    shifts: Sequence[Shift],
) -> Judged:
    rows = tuple(
        judge(target, values_of(calibration.trial, target, patients), shift)
        for target, shift in zip(calibration.trial.targets, shifts, strict=True)
    )
    tails = [row.tail for row in rows if row.target.name in calibration.fit]
    return Judged(item, wave, rows, is_accepted(tails))


class _Sequence:
    """A Sobol sequence over the priors, from its first point on."""

    def __init__(self, free: Sequence[Axis], seed: int) -> None:
        from scipy.stats import qmc

        self.free, self.next = free, 0
        self.engine = qmc.Sobol(len(free), scramble=True, rng=np.random.default_rng(seed))

    def draw(self, n: int) -> list[ParameterSet]:
        """The next ``n`` points."""
        found = []
        for shares in self.engine.random(n):
            texts = [axis.level(float(s))[1] for axis, s in zip(self.free, shares, strict=True)]
            values = tuple(
                (name, text)
                for axis, text in zip(self.free, texts, strict=True)
                for name in axis.names
            )
            found.append(ParameterSet(self.next, shares, values))
            self.next += 1
        return found


def _sequence(calibration: Calibration) -> _Sequence:
    return _Sequence(calibration.free, calibration.seed)


def _next(
    calibration: Calibration, judged: Sequence[Judged], sequence: _Sequence
) -> list[ParameterSet]:
    """Sets of the next wave: those of the sequence that may be accepted, in its order."""
    if not judged:
        return sequence.draw(calibration.size)
    known = np.array([item.set.shares for item in judged])
    fitted = [[row for row in item.rows if row.target.name in calibration.fit] for item in judged]
    rows = np.array([[placed(row) for row in line] for line in fitted])
    met = np.array([[is_met(row.tail, len(line)) for row in line] for line in fitted])
    found: list[ParameterSet] = []
    for _ in range(CANDIDATES):
        candidates = sequence.draw(calibration.size)
        may = screen(known, rows, met, np.array([item.shares for item in candidates]))
        found += [item for item, one in zip(candidates, may, strict=True) if one]
        if len(found) >= calibration.size:
            break
    return found[: calibration.size]


def _spread(judged: Sequence[Judged], calibration: Calibration) -> list[Judged]:
    """Sets at which cells are run: accepted ones first, else the least surprising, spread over the sequence."""

    def worst(item: Judged) -> float:
        return min(row.tail for row in item.rows if row.target.name in calibration.fit)

    best = sorted(judged, key=lambda item: (-worst(item), item.set.number))
    pool = best[: max(calibration.cells, sum(item.is_accepted for item in judged))]
    pool.sort(key=lambda item: item.set.number)
    at = np.linspace(0, len(pool) - 1, min(calibration.cells, len(pool))).round().astype(int)
    return [pool[i] for i in dict.fromkeys(at.tolist())]


def _read(table: Path) -> dict[int, Patients]:
    found: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    with open(table, newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        for number, arm, endpoint, *values in lines:
            arms = found.setdefault(int(number), {}).setdefault(arm, {})
            arms[endpoint] = np.array(values, float)
    return found


def settle(folder: Path, content: str, what: str) -> None:
    """Say in a folder what it holds, by a digest of ``content``; refuse one that holds something else.

    Raises
    ------
    RecordError
    """
    own = hashlib.sha256(content.encode()).hexdigest()
    path = folder / PLAN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if not present:
            if any(item.is_file() for item in folder.iterdir()):
                raise RecordError(
                    f"{folder}: expected an empty folder or that of {what}; choose another one with -o."
                )
            write_whole(path, own.encode())
    except OSError as error:
        raise RecordError(
            f"{folder}: expected a folder that can be made and written to ({error.strerror}); choose another "
            "one with -o."
        ) from None
    if present and present != own:
        raise RecordError(
            f"{folder}: holds another one than {what}, or this before its files were changed; choose another folder "
            "with -o."
        )


def content_of(trial: Trial) -> str:
    """All that the endpoints of a trial's patients hang on, and its targets."""
    arms = [
        (
            arm.name,
            arm.patients,
            arm.seed,
            digest_of(load_scenario(arm.scenario, overrides=arm.overrides)),
        )
        for arm in trial.arms
    ]
    return repr((arms, trial.cohort, trial.patients, trial.readings, trial.targets))


def _content(calibration: Calibration) -> str:
    """How many waves, and how many sets are enough, may be raised later."""
    rest = replace(calibration, path="", name="", waves=0, accepted=0, trial=None)
    return f"{content_of(calibration.trial)}\n{rest!r}"
