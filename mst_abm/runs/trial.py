"""Virtual patients through the arms of a trial: one record file each, then one table.

A file is named after what is in it (patient, scenario, seed) and made as a shard of a campaign is
(`mst_abm.runs.shards`), so that running a trial again does only what is missing.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.clinic.endpoints import endpoints_for
from mst_abm.clinic.survival import columns_of, require_statistics
from mst_abm.clinic.targets import OVER_TIME
from mst_abm.errors import EngineError, Problem, RecordError, ScenarioError, did_you_mean
from mst_abm.records.places import write_rows
from mst_abm.records.reader import open_run
from mst_abm.runs.failures import read_failed
from mst_abm.runs.gathering import endpoint_columns, reading_columns
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import LocalPool, Pool, WorkerLost
from mst_abm.runs.shards import BUSY, Work, digest_of, make_record, sweep
from mst_abm.runs.to_file import Engine
from mst_abm.runs.working import STOPPED, warm, worked
from mst_abm.scenario import load_scenario

if TYPE_CHECKING:
    from mst_abm.clinic.readings import Reading
    from mst_abm.scenario.definition import Scenario
    from mst_abm.scenario.trial import Arm, Trial

TABLE, INDEX = "endpoints.csv", "records.csv"


@dataclass(frozen=True)
class Task:
    """One patient in one arm."""

    arm: str
    patient: int
    scenario: str
    overrides: tuple[str, ...]
    folder: str
    seed: int
    engine: Engine = "cells"


def run_trial(
    trial: Trial,
    folder: str | os.PathLike[str],
    *,
    patients: int | None = None,
    arms: tuple[str, ...] = (),
    workers: int = 1,
    pool: Pool | None = None,
    signals: Signals | None = None,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = "cells",
) -> dict[str, dict[str, np.ndarray]]:
    """Run what is missing and write the table; returns endpoints by arm, float64 (patient,) each.

    Unfinished files of other scenarios are removed at the end.

    Parameters
    ----------
    patients : how many, from the first; the trial's own number where None. An arm may have fewer
    arms : names of those to run; all where empty
    workers : processes; what comes out does not depend on their number
    pool : where patients are run instead, see `mst_abm.runs.pools`
    signals : listened to: the end with checkpoints, or checkpoints alone
    progress : called with patients done and all of them
    engine : "mean-field" for rate equations instead of cells

    Raises
    ------
    ScenarioError
        If a target or reading names what its arm does not have, or a scenario is wrong.
    RecordError
        If the folder cannot be used.
    EngineError
        If patients could not be run, once all others have been.
    """
    n = trial.patients if patients is None else patients
    chosen = [arm for arm in trial.arms if not arms or arm.name in arms]
    _refuse_unknown_names(trial, chosen)
    place = Path(folder).absolute()  # a worker may have another folder to begin with
    try:
        for arm in chosen:
            (place / arm.name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(
            f"{place}: expected a folder that can be made and written to ({error.strerror}); choose "
            "another one."
        ) from None
    numbers = {arm.name: range(min(n, arm.patients or n)) for arm in chosen}
    tasks = [_task(trial, arm, i, place, engine) for arm in chosen for i in numbers[arm.name]]
    if pool is None:
        with LocalPool(workers) as own:
            files = _files(own, tasks, signals, progress)
    else:
        files = _files(pool, tasks, signals, progress)
    for arm in chosen:
        sweep(place / arm.name, keep=[Path(files[arm.name, i]) for i in numbers[arm.name]])
    found = {
        arm.name: _collect([files[arm.name, i] for i in numbers[arm.name]], trial.readings)
        for arm in chosen
    }
    write_table(trial, found, place / TABLE)
    _write_index(files, place)
    return found


def records_of(folder: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """The record of every patient by arm, as the last run of a trial left them."""
    found: dict[str, list[Path]] = {}
    with open(Path(folder) / INDEX, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["arm"], []).append(Path(folder) / row["file"])
    return found


def _write_index(files: dict[tuple[str, int], str], folder: Path) -> None:
    """Whose record is in which file: an arm's folder keeps those of earlier scenarios too."""
    rows = [
        (arm, patient, Path(path).relative_to(folder).as_posix())
        for (arm, patient), path in sorted(files.items())
    ]
    write_rows(folder / INDEX, [("arm", "patient", "file"), *rows])


def _refuse_unknown_names(trial: Trial, arms: list[Arm]) -> None:
    """Say before hours of work what no run of them could yield."""
    found = []
    series: set[str] = set()
    for arm in arms:
        scenario = load_scenario(arm.scenario, overrides=arm.overrides)
        names = {item.name for item in scenario.observables}
        series |= names
        rules = endpoints_for(scenario.observables, scenario.model.hazards)
        known = [rule.name for rule in rules]
        known += [f"true_{name}" for name in known]
        known += [reading.name for reading in trial.readings if reading.needs <= names]
        for target in trial.targets:
            if target.arm != arm.name:
                continue
            if target.statistic in OVER_TIME:
                require_statistics()
                is_known = set(known).issuperset(columns_of(target.endpoint))
            else:
                is_known = target.endpoint in known
            if not is_known:
                tail = did_you_mean(target.endpoint, known)
                found.append(f"target {target.name}: '{arm.name}' has no '{target.endpoint}'{tail}")
    for reading in trial.readings if len(arms) == len(trial.arms) else ():
        for name in sorted(reading.needs - series):
            tail = did_you_mean(name, sorted(series))
            found.append(f"reading {reading.name}: no arm has an observable '{name}'{tail}")
    if found:
        raise ScenarioError([Problem(trial.path, 0, 0, message) for message in found])


def _task(trial: Trial, arm: Arm, patient: int, folder: Path, engine: Engine) -> Task:
    overrides = (*arm.overrides, *trial.cohort.overrides(patient))
    scenario = Path(arm.scenario)
    return Task(
        arm=arm.name,
        patient=patient,
        scenario=str(scenario.absolute() if scenario.exists() else scenario),
        overrides=overrides,
        folder=str(folder / arm.name),
        seed=trial.cohort.seed if arm.seed is None else arm.seed,
        engine=engine,
    )


def _files(
    pool: Pool,
    tasks: list[Task],
    signals: Signals | None,
    progress: Callable[[int, int], None] | None,
) -> dict[tuple[str, int], str]:
    """The record of every patient by arm and number, run where it is missing."""
    if tasks and tasks[0].engine == "cells":
        warm(pool, load_scenario(tasks[0].scenario, overrides=tasks[0].overrides), signals)
    files: dict[tuple[str, int], str] = {}
    odd = []
    for done, ((task,), result) in enumerate(
        worked(pool, run_task, [(task,) for task in tasks], signals), start=1
    ):
        files[task.arm, task.patient] = str(result)
        failed = read_failed(_failure(Path(str(result)))).replicates.get(task.patient)
        if told := str(result) if isinstance(result, WorkerLost) else failed:
            odd.append(f"patient {task.patient} of arm {task.arm} could not be run: {told}")
        if progress is not None:
            progress(done, len(tasks))
    if odd:
        raise EngineError("\n".join(odd))
    return files


def run_task(task: Task) -> str:
    """Run one patient unless his file is there; its path, or that somebody else is at it.

    A patient's random numbers are those of the replicate with his number, in every arm without a seed of its own.
    """
    scenario = load_scenario(task.scenario, overrides=task.overrides)
    path = Path(task.folder, f"patient-{task.patient:05d}-{_content(scenario, task)}.h5")
    work = Work(
        path, _failure(path), digest_of(scenario), task.seed, task.patient, 1, engine=task.engine
    )
    with Signals() as signals:
        try:
            state = make_record(work, lambda: scenario, signals=signals)
        except KeyboardInterrupt:
            return STOPPED
    return BUSY if state == BUSY else str(path)


def _failure(path: Path) -> Path:
    """Where it says that a patient could not be run."""
    return path.with_suffix(".failed.json")


def _content(scenario: Scenario, task: Task) -> str:
    engine = "" if task.engine == "cells" else f"{task.engine}\n"
    text = f"{engine}{task.seed}\n{scenario.resolved_text}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _collect(paths: list[str], readings: tuple[Reading, ...]) -> dict[str, np.ndarray]:
    """Endpoints and readings of patients, nan where one has none."""
    rows = []
    for path in paths:
        with open_run(path) as run:
            found = endpoint_columns(run)
            found |= reading_columns(run, readings, found)
            rows.append({name: float(values[0]) for name, values in found.items()})
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def write_table(
    trial: Trial, endpoints: dict[str, dict[str, np.ndarray]], path: str | os.PathLike[str]
) -> None:
    """One row per arm and patient: what sets him apart, and his endpoints."""
    names = list(dict.fromkeys(name for arm in endpoints.values() for name in arm))
    parameters = [p.name for p in trial.cohort.parameters]
    rows: list[list[Any]] = [["arm", "patient", *parameters, *names]]
    for arm, columns in endpoints.items():
        for patient in range(len(next(iter(columns.values()), ()))):
            drawn = trial.cohort.draw(patient)
            values = [columns[n][patient] if n in columns else np.nan for n in names]
            rows.append([arm, patient, *(drawn[p] for p in parameters), *values])
    write_rows(Path(path), rows)
