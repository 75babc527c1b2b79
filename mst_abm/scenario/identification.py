"""``load_identification``: reads a file that asks which explanations of a trial's results the data tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from pydantic import Field

from mst_abm.clinic.targets import Target
from mst_abm.errors import did_you_mean
from mst_abm.scenario.calibration import chosen_trial
from mst_abm.scenario.design import DesignPoint, load_design
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems, read_section
from mst_abm.scenario.schema import Section, Word
from mst_abm.scenario.trial import Trial, load_trial

#: Name of the hypothesis without any of the mechanisms, and between those of several.
NONE, AND = "none", " + "
#: Mechanisms of which all subsets are asked for at most.
MOST = 6


class MeasurementSection(Section):
    arm: Word
    endpoint: Word
    statistic: Literal["share", "chance", "median", "mean"]
    above: float | None = None
    below: float | None = None
    unit: Word = "1"


class IdentificationSection(Section):
    name: Word = ""
    trial: Word = Field(description="file of a trial: cohort, arms, targets")
    arms: list[Word] = Field([], description="those that are run; all where empty")
    patients: int | None = Field(None, ge=1, description="of every arm, instead of the trial's")
    engine: Literal["cells", "mean-field"] = "mean-field"
    mechanisms: list[Word] = Field(min_length=1, description="switches")
    hypotheses: dict[str, list[Word]] = Field(
        {}, description="mechanisms that are on in each; all subsets where empty"
    )
    fit: list[Word] = Field(min_length=1, description="names of targets that decide")
    sets: Word = Field("", description="table of parameter sets, as calibrate writes it")
    most: int = Field(16, ge=1, description="of these sets, from the first")
    of: int = Field(30, ge=2, description="patients of an arm of the trial that would be next")
    measurements: dict[str, MeasurementSection] = Field({})


@dataclass(frozen=True)
class Identification:
    """Hypotheses about a trial: which mechanisms are at work.

    Attributes
    ----------
    trial : with the arms that are run and the targets that can be judged
    mechanisms, hypotheses : switches, and by name those that are on
    fit : names of the targets that decide
    sets : values by dotted name of each parameter set, one without any where none are given
    measurements, of : what the next trial could look at, and its patients per arm
    """

    name: str
    trial: Trial
    engine: Literal["cells", "mean-field"]
    mechanisms: tuple[str, ...]
    hypotheses: tuple[tuple[str, tuple[str, ...]], ...]
    fit: tuple[str, ...]
    sets: tuple[tuple[tuple[str, str], ...], ...]
    measurements: tuple[Target, ...]
    of: int
    path: str = ""


def load_identification(path: str | Path) -> Identification:
    """Read such a file.

    Raises
    ------
    ScenarioError
        With every mistake found in it, in its trial or its table of sets; names of switches are checked when scenarios are loaded.
    """
    file = Path(path)
    section, problems = read_section(
        file, IdentificationSection, "identification", "hypotheses (trial, mechanisms, fit)"
    )
    trial = None
    sets: tuple[tuple[tuple[str, str], ...], ...] = ((),)
    with problems.at("trial"):
        trial = load_trial(find_file(section.trial, file.parent))
    if section.sets:
        with problems.at("sets"):
            rows: tuple[DesignPoint, ...] = load_design(find_file(section.sets, file.parent))
            sets = tuple(row.values for row in rows[: section.most])
    hypotheses = _hypotheses(section, problems)
    problems.finish()
    assert trial is not None
    measurements = tuple(_measurement(section, name, problems) for name in section.measurements)
    more = {item.endpoint for item in measurements}
    trial = chosen_trial(trial, section.arms, section.fit, section.patients, problems, more)
    problems.finish()
    return Identification(
        name=section.name or file.stem,
        trial=trial,
        engine=section.engine,
        mechanisms=tuple(section.mechanisms),
        hypotheses=hypotheses,
        fit=tuple(section.fit),
        sets=sets,
        measurements=measurements,
        of=section.of,
        path=str(path),
    )


def _hypotheses(
    section: IdentificationSection, problems: Problems
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    known = section.mechanisms
    if not section.hypotheses:
        if len(known) > MOST:
            message = f"all subsets of {len(known)} mechanisms are too many; expected 'hypotheses', or {MOST} at most"
            problems.add(("mechanisms",), message)
            return ()
        return tuple(
            (AND.join(on) or NONE, on)
            for n in range(len(known), -1, -1)
            for on in combinations(known, n)
        )
    for name, on in section.hypotheses.items():
        for i, one in enumerate(on):
            if one not in known:
                message = f"unknown mechanism '{one}'{did_you_mean(one, known)}"
                problems.add(("hypotheses", name, i), message)
    return tuple((name, tuple(on)) for name, on in section.hypotheses.items())


def _measurement(section: IdentificationSection, name: str, problems: Problems) -> Target:
    item = section.measurements[name]
    if section.arms and item.arm not in section.arms:
        message = f"unknown arm '{item.arm}'{did_you_mean(item.arm, section.arms)}"
        problems.add(("measurements", name, "arm"), message)
    return Target(
        name=name, arm=item.arm, endpoint=item.endpoint, statistic=item.statistic, value=float("nan"),
        above=item.above, below=item.below, unit=item.unit,
    )  # fmt: skip
