"""A calibration: waves of parameter sets through a trial, judged by its targets, until enough are accepted.

Sets are points of one Sobol sequence over the priors. Those of later waves that a screen, learnt from the sets before,
gives next to no chance are not run. What is left of a wave is a table of patients' endpoints, so that the same command
goes on where it was stopped.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
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
from mst_abm.scenario.trial import Arm

PLAN = "calibration.sha256"
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
    _settle(calibration, folder)
    targets = calibration.trial.targets
    sequence = _sequence(calibration)
    sets: list[tuple[ParameterSet, int, Patients]] = []
    shifts = (NO_SHIFT,) * len(targets)
    on_cells: tuple[Judged, ...] = ()

    def run(chosen: Sequence[ParameterSet], name: str, engine: Engine) -> dict[int, Patients]:
        told = None if progress is None else progress(name)
        return readings(calibration, chosen, folder / name, engine, pool, signals, told)

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
    calibration: Calibration,
    sets: Sequence[ParameterSet],
    folder: Path,
    engine: Engine,
    pool: Pool,
    signals: Signals | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, Patients]:
    """Endpoints of all patients by the number of the set, run unless ``folder`` has a table of them already.

    The same patients with the same random numbers go through all sets. Records are removed once the table is there.
    """
    table = folder.with_suffix(".csv")
    if table.exists():
        return _read(table)
    trial = calibration.trial
    names = {
        f"{item.number:05d}-{arm.name}": (item.number, arm) for item in sets for arm in trial.arms
    }
    by_number = {item.number: item for item in sets}
    arms = tuple(
        Arm(
            name,
            arm.scenario,
            (*arm.overrides, *(f"{key}={value}" for key, value in by_number[number].values)),
            arm.patients,
            arm.seed,
        )
        for name, (number, arm) in names.items()
    )
    every = replace(trial, arms=arms, targets=())
    found = run_trial(every, folder, pool=pool, signals=signals, progress=progress, engine=engine)
    wanted = sorted({target.endpoint for target in trial.targets})
    rows = [
        (*names[name][:1], names[name][1].name, endpoint, *map(repr, map(float, columns[endpoint])))
        for name, columns in found.items()
        for endpoint in wanted
        if endpoint in columns
    ]
    write_rows(table, [("set", "arm", "endpoint", "patients"), *rows])
    shutil.rmtree(folder)
    return _read(table)


def values_of(calibration: Calibration, target: Target, patients: Patients) -> np.ndarray:
    """What a target is judged by: a reading that is missing was not taken, an endpoint that is missing not reached."""
    values = patients.get(target.arm, {}).get(target.endpoint, np.zeros(0))
    is_reading = target.endpoint in {reading.name for reading in calibration.trial.readings}
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
        judge(target, values_of(calibration, target, patients), shift)
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


def _settle(calibration: Calibration, folder: Path) -> None:
    """Say in the folder what it holds; refuse one that holds another calibration."""
    own = _digest(calibration)
    path = folder / PLAN
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if not present:
            if any(item.is_file() for item in folder.iterdir()):
                raise RecordError(
                    f"{folder}: expected an empty folder or that of a calibration; choose another one with -o."
                )
            write_whole(path, own.encode())
    except OSError as error:
        raise RecordError(
            f"{folder}: expected a folder that can be made and written to ({error.strerror}); choose another "
            "one with -o."
        ) from None
    if present and present != own:
        raise RecordError(
            f"{folder}: holds another calibration, or this one before its files were changed; choose another "
            "folder with -o."
        )


def _digest(calibration: Calibration) -> str:
    """Of all that the tables of the waves hang on; how many waves, and how many sets are enough, may be raised later."""
    trial = calibration.trial
    arms = [
        (
            arm.name,
            arm.patients,
            arm.seed,
            digest_of(load_scenario(arm.scenario, overrides=arm.overrides)),
        )
        for arm in trial.arms
    ]
    rest = replace(calibration, path="", name="", waves=0, accepted=0, trial=None)
    content = (arms, trial.cohort, trial.patients, trial.readings, trial.targets, rest)
    return hashlib.sha256(repr(content).encode()).hexdigest()
