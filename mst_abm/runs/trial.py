"""Virtual patients through the arms of a trial: one record file each, then one table.

A file is named after what is in it (patient, scenario, seed), written under another name and renamed
when it is whole, so that running a trial again does only what is missing.
"""

from __future__ import annotations

import csv
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mst_abm.clinic.endpoints import endpoints_for
from mst_abm.errors import Problem, RecordError, ScenarioError, did_you_mean
from mst_abm.records.reader import open_run
from mst_abm.runs.to_file import Engine, run_to_file
from mst_abm.scenario import load_scenario
from mst_abm.version import __version__

if TYPE_CHECKING:
    from mst_abm.clinic.readings import Reading
    from mst_abm.scenario.definition import Scenario
    from mst_abm.scenario.trial import Arm, Trial

TABLE = "endpoints.csv"


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
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = "cells",
) -> dict[str, dict[str, np.ndarray]]:
    """Run what is missing and write the table; returns endpoints by arm, float64 (patient,) each.

    One process at a time may work in a folder: unfinished files of an earlier one are removed.

    Parameters
    ----------
    patients : how many, from the first; the trial's own number where None. An arm may have fewer
    arms : names of those to run; all where empty
    workers : processes; what comes out does not depend on their number
    progress : called with patients done and all of them
    engine : "mean-field" for rate equations instead of cells

    Raises
    ------
    ScenarioError
        If a target or reading names what its arm does not have, or a scenario is wrong.
    RecordError
        If the folder cannot be used.
    """
    n = trial.patients if patients is None else patients
    chosen = [arm for arm in trial.arms if not arms or arm.name in arms]
    _refuse_unknown_names(trial, chosen)
    place = Path(folder)
    try:
        for arm in chosen:
            (place / arm.name).mkdir(parents=True, exist_ok=True)
            for left_over in (place / arm.name).glob("*.part"):
                left_over.unlink()
    except OSError as error:
        raise RecordError(
            f"{place}: expected a folder that can be made and written to ({error.strerror}); choose "
            "another one."
        ) from None
    numbers = {arm.name: range(min(n, arm.patients or n)) for arm in chosen}
    tasks = [_task(trial, arm, i, place, engine) for arm in chosen for i in numbers[arm.name]]
    files: dict[tuple[str, int], str] = {}
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        waiting = {pool.submit(run_task, task): task for task in tasks}
        for done, future in enumerate(as_completed(waiting), start=1):
            task = waiting[future]
            files[task.arm, task.patient] = future.result()
            if progress is not None:
                progress(done, len(tasks))
    found = {
        arm.name: _collect([files[arm.name, i] for i in numbers[arm.name]], trial.readings)
        for arm in chosen
    }
    write_table(trial, found, place / TABLE)
    return found


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
            if target.arm == arm.name and target.endpoint not in known:
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
    return Task(
        arm=arm.name,
        patient=patient,
        scenario=str(arm.scenario),
        overrides=overrides,
        folder=str(folder / arm.name),
        seed=trial.cohort.seed,
        engine=engine,
    )


def end_with_parent() -> None:
    """Let a worker end as soon as the process that gave it work is gone, however that ended."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_task(task: Task) -> str:
    """Run one patient unless his file is there; returns its path.

    A patient's random numbers are those of the replicate with his number, in every arm.
    """
    scenario = load_scenario(task.scenario, overrides=task.overrides)
    path = Path(task.folder, f"patient-{task.patient:05d}-{_content(scenario, task)}.h5")
    if not _is_of_this_version(path):
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        try:
            run_to_file(
                scenario,
                unfinished,
                seed=task.seed,
                first_replicate=task.patient,
                snapshot_replicates=0,
                force=True,
                engine=task.engine,
            )
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return str(path)


def _is_of_this_version(path: Path) -> bool:
    """Whether a patient's record is there and was made by the rules of this version."""
    if not path.exists():
        return False
    with open_run(path) as run:
        return str(run.attributes.get("mst_abm")) == __version__


def _content(scenario: Scenario, task: Task) -> str:
    engine = "" if task.engine == "cells" else f"{task.engine}\n"
    text = f"{engine}{task.seed}\n{scenario.resolved_text}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _collect(paths: list[str], readings: tuple[Reading, ...]) -> dict[str, np.ndarray]:
    """Endpoints and readings of patients, nan where one has none."""
    rows = []
    for path in paths:
        with open_run(path) as run:
            row = {name: float(values[0]) for name, values in run.endpoints.items()}
            row |= {f"true_{name}": float(v[0]) for name, v in run.true_endpoints.items()}
            times_h, series = (
                run.observed_times_h,
                _until_death(run.observed_times_h, run.observed, row),
            )
            for reading in readings:
                if reading.needs <= series.keys():
                    row[reading.name] = float(reading.value(times_h, series)[0])
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _until_death(
    times_h: np.ndarray, series: dict[str, np.ndarray], row: dict[str, float]
) -> dict[str, np.ndarray]:
    """Series of one patient, nan after he died: his cells live on in a simulation, nobody sees them."""
    if not row.get("true_os_event"):
        return series
    is_after = times_h > 24.0 * row["true_os_time"]
    return {name: np.where(is_after, np.nan, values) for name, values in series.items()}


def write_table(
    trial: Trial, endpoints: dict[str, dict[str, np.ndarray]], path: str | os.PathLike[str]
) -> None:
    """One row per arm and patient: what sets him apart, and his endpoints."""
    names = list(dict.fromkeys(name for arm in endpoints.values() for name in arm))
    parameters = [p.name for p in trial.cohort.parameters]
    unfinished = Path(f"{path}.part")
    with open(unfinished, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["arm", "patient", *parameters, *names])
        for arm, columns in endpoints.items():
            for patient in range(len(next(iter(columns.values()), ()))):
                drawn = trial.cohort.draw(patient)
                values = [columns[n][patient] if n in columns else np.nan for n in names]
                writer.writerow([arm, patient, *(drawn[p] for p in parameters), *values])
    unfinished.replace(path)
