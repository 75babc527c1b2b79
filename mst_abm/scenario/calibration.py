"""``load_calibration``: reads a file that says which numbers are free, and which targets they are fitted to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from mst_abm.clinic.targets import OVER_TIME
from mst_abm.errors import did_you_mean
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems, read_section
from mst_abm.scenario.schema import Section, Word
from mst_abm.scenario.sweep import Axis, AxisSection, read_axis
from mst_abm.scenario.trial import Trial, load_trial


class CalibrationSection(Section):
    name: Word = ""
    trial: Word = Field(description="file of a trial: cohort, arms, targets")
    arms: list[Word] = Field([], description="those that are run; all where empty")
    patients: int | None = Field(None, ge=1, description="of every arm, instead of the trial's")
    engine: Literal["cells", "mean-field"] = "mean-field"
    free: dict[str, AxisSection] = Field(min_length=1)
    fit: list[Word] = Field(min_length=1, description="names of targets; the others are predicted")
    size: int = Field(64, ge=4, description="parameter sets of a wave, a power of 2")
    waves: int = Field(3, ge=1)
    accepted: int = Field(200, ge=1, description="no further wave once so many are accepted")
    cells: int = Field(0, ge=0, description="sets at which cells are run as well")
    seed: int = Field(1, ge=0, lt=2**32)


@dataclass(frozen=True)
class Calibration:
    """A trial of which numbers are free.

    Attributes
    ----------
    trial : with the arms that are run and the targets that can be judged
    free : names and priors of the free numbers
    fit : names of the targets that decide; all others of the trial are predicted
    size, waves, accepted : parameter sets of a wave, most waves, and how many accepted ones are enough
    cells : sets at which cells are run to see what the companion leaves out; 0 where the engine is cells
    """

    name: str
    trial: Trial
    engine: Literal["cells", "mean-field"]
    free: tuple[Axis, ...]
    fit: tuple[str, ...]
    size: int
    waves: int
    accepted: int
    cells: int
    seed: int
    path: str = ""


def load_calibration(path: str | Path) -> Calibration:
    """Read a calibration file.

    Raises
    ------
    ScenarioError
        With every mistake found in it or in its trial; names of numbers are checked when scenarios are loaded with them.
    """
    file = Path(path)
    section, problems = read_section(
        file, CalibrationSection, "calibration", "a calibration (trial, free, fit)"
    )
    free = tuple(
        axis
        for name, item in section.free.items()
        if (axis := read_axis(name, item, problems, "free")) is not None
    )
    for axis in free:
        if axis.levels:
            problems.add(("free", axis.names[0]), "expected a range, a calibration has no 'values'")
        if axis.names[0].startswith("cohort."):
            message = "expected a number of the scenario; those of a cohort stay as they are"
            problems.add(("free", axis.names[0]), message)
    if section.size & (section.size - 1):
        problems.add(("size",), f"expected a power of 2, got {section.size}")
    if section.cells and section.engine == "cells":
        problems.add(("cells",), "the engine is cells already; leave it out")
    trial = None
    with problems.at("trial"):
        trial = load_trial(find_file(section.trial, file.parent))
    problems.finish()
    assert trial is not None
    trial = chosen_trial(trial, section.arms, section.fit, section.patients, problems)
    problems.finish()
    return Calibration(
        name=section.name or file.stem,
        trial=trial,
        engine=section.engine,
        free=free,
        fit=tuple(section.fit),
        size=section.size,
        waves=section.waves,
        accepted=section.accepted,
        cells=section.cells,
        seed=section.seed,
        path=str(path),
    )


def chosen_trial(
    trial: Trial,
    arms: Sequence[str],
    fit: Sequence[str],
    patients: int | None,
    problems: Problems,
    more: Collection[str] = (),
) -> Trial:
    """The trial with what is run of it: ``arms`` (all where empty) and the targets that can be judged.

    ``fit``: names of targets that there must be; ``more``: readings that are wanted beside those of targets.
    """
    known = [arm.name for arm in trial.arms]
    for i, name in enumerate(arms):
        if name not in known:
            problems.add(("arms", i), f"unknown arm '{name}'{did_you_mean(name, known)}")
    run = tuple(arm for arm in trial.arms if not arms or arm.name in arms)
    there = {arm.name for arm in run}
    targets = tuple(t for t in trial.targets if t.arm in there and t.statistic not in OVER_TIME)
    names = [target.name for target in targets]
    for i, name in enumerate(fit):
        if name not in names:
            tail = did_you_mean(name, names)
            message = f"expected a share, chance, median or mean of an arm that is run, got '{name}'{tail}"
            problems.add(("fit", i), message)
    wanted = {target.endpoint for target in targets} | set(more)
    readings = tuple(reading for reading in trial.readings if reading.name in wanted)
    return replace(
        trial,
        arms=run,
        targets=targets,
        readings=readings,
        patients=patients or trial.patients,
        compare=(),
    )
