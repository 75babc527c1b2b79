"""``load_trial``: reads a file that says which virtual patients go through which arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from mst_abm.clinic.cohort import Cohort
from mst_abm.clinic.readings import Reading
from mst_abm.clinic.survival import SURVIVAL
from mst_abm.clinic.targets import OVER_TIME, Target
from mst_abm.errors import did_you_mean
from mst_abm.scenario.cohort import CohortSection, read_cohort
from mst_abm.scenario.document import inline
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems, read_section
from mst_abm.scenario.schema import Section, Switch, Time, Word


def _yes_or_no(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class LikeSection(Section):
    like: Word | None = Field(None, description="one above, of which scenario and set hold too")
    set: dict[str, Any] = Field({})


LikeType = TypeVar("LikeType", bound=LikeSection)


class ArmSection(LikeSection):
    scenario: Word | None = None
    patients: int | None = Field(None, ge=1, description="at most, where an arm is costly")
    seed: int | None = Field(
        None, ge=0, lt=2**64, description="the same patients, all chance drawn anew"
    )


class TargetSection(Section):
    name: Word
    arm: Word
    endpoint: Word
    statistic: Literal["share", "chance", "median", "mean", "survival", "incidence"]
    at: Time | None = Field(None, description="day of a survival or an incidence")
    value: float | None = None
    of: int = Field(0, ge=0)
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    unit: Word = "1"
    fitted: Annotated[Literal["yes", "no", "seen"], BeforeValidator(_yes_or_no)] = "no"
    source: Word


class ReadingSection(Section):
    of: Word
    at: Time | None = None
    from_: Time | None = Field(None, alias="from")
    to: Time | None = None
    take: Literal["max", "min", "mean"] = "max"
    over: ReadingSection | None = None
    log10: Switch = False


class TrialSection(Section):
    name: Word = ""
    cohort: CohortSection = CohortSection.model_validate({})
    arms: dict[str, ArmSection] = Field(min_length=1)
    compare: list[Word] = Field(
        [], description="arms held against the first of them; all where empty"
    )
    readings: dict[str, ReadingSection] = Field({})
    targets: list[TargetSection] = Field([])


@dataclass(frozen=True)
class Arm:
    """A scenario file, what is set in it by ``NAME=VALUE`` texts, the most patients it gets, and their random numbers.

    ``seed``: of the stream; that of the cohort where None, as in the other arms.
    """

    name: str
    scenario: Path
    overrides: tuple[str, ...] = ()
    patients: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Trial:
    """A cohort, its arms, and the observations it is compared with; ``compare``: arms held against the first of them."""

    name: str
    cohort: Cohort
    patients: int
    arms: tuple[Arm, ...]
    readings: tuple[Reading, ...]
    targets: tuple[Target, ...]
    path: str = ""
    compare: tuple[str, ...] = ()


def load_trial(path: str | Path) -> Trial:
    """Read a trial file.

    Raises
    ------
    ScenarioError
        With every mistake found in it; mistakes in the scenarios of its arms show when they are read.
    """
    file = Path(path)
    section, problems = read_section(file, TrialSection, "trial", "a trial (cohort, arms, targets)")
    arms = _read_arms(section, problems, file.parent)
    cohort, patients = read_cohort(section.cohort, problems, file)
    for i, name in enumerate(section.compare):
        if name not in section.arms:
            problems.add(("compare", i), f"unknown arm '{name}'{did_you_mean(name, section.arms)}")
    targets = _read_targets(section, problems)
    readings = read_readings(section.readings, problems)
    problems.finish()
    return Trial(
        name=section.name or file.stem,
        cohort=cohort,
        patients=patients,
        arms=tuple(arms),
        readings=readings,
        targets=tuple(targets),
        path=str(path),
        compare=tuple(section.compare) or tuple(section.arms),
    )


def _read_arms(section: TrialSection, problems: Problems, folder: Path) -> list[Arm]:
    found = []
    for name, line in lines_of(section.arms, problems, "arms", "an arm").items():
        scenario = next((one.scenario for one in line if one.scenario), None)
        most = next((one.patients for one in line if one.patients), None)
        if not scenario:
            problems.add(("arms", name), "missing 'scenario'; expected the path of a scenario")
            continue
        with problems.at("arms", name, "scenario"):
            file = find_file(scenario, folder)
            overrides = tuple(f"{key}={inline(value)}" for key, value in settings_of(line).items())
            found.append(Arm(name, file, overrides, most, section.arms[name].seed))
    return found


def lines_of(
    sections: Mapping[str, LikeType], problems: Problems, where: str, what: str
) -> dict[str, tuple[LikeType, ...]]:
    """By name a section, the one it is like, the one that is like, and so on."""
    lines: dict[str, tuple[LikeType, ...]] = {}
    for name, item in sections.items():
        if item.like is not None and item.like not in lines:
            message = f"expected {what} above, got '{item.like}'{did_you_mean(item.like, lines)}"
            problems.add((where, name, "like"), message)
            continue
        lines[name] = (item, *(lines[item.like] if item.like is not None else ()))
    return lines


def settings_of(line: Sequence[LikeSection]) -> dict[str, Any]:
    """Values by dotted name; a section's own replace those of what it is like."""
    return {name: value for item in reversed(line) for name, value in item.set.items()}


def read_readings(
    sections: Mapping[str, ReadingSection], problems: Problems
) -> tuple[Reading, ...]:
    """Numbers that are read off series, by name."""
    return tuple(
        _reading(name, item, problems, ("readings", name)) for name, item in sections.items()
    )


def _reading(name: str, item: ReadingSection, problems: Problems, keys: Any) -> Reading:
    if (item.at is None) == (item.from_ is None and item.to is None):
        problems.add(keys, "expected either 'at' or 'from' and 'to'")
    begin = item.at if item.at is not None else item.from_ or 0.0
    end = item.at if item.at is not None else item.to if item.to is not None else float("inf")
    if begin > end:
        problems.add(keys, f"expected 'from' before 'to', got {begin / 24:g} and {end / 24:g} d")
    over = _reading(name, item.over, problems, (*keys, "over")) if item.over is not None else None
    return Reading(name, item.of, item.take, begin, end, over, item.log10)


def _read_targets(section: TrialSection, problems: Problems) -> list[Target]:
    found = []
    for i, item in enumerate(section.targets):
        if item.arm not in section.arms:
            message = f"unknown arm '{item.arm}'{did_you_mean(item.arm, section.arms)}"
            problems.add(("targets", i, "arm"), message)
        if (item.of == 0) == (item.low is None and item.high is None):
            problems.add(
                ("targets", i), "expected either 'of' (patients observed) or a range, low and high"
            )
        if item.of and item.value is None:
            problems.add(("targets", i), "expected 'value', what was observed")
        if (item.at is None) == (item.statistic in OVER_TIME):
            problems.add(
                ("targets", i), "expected 'at' with a survival or an incidence, and only there"
            )
        if item.statistic == "survival" and item.endpoint.removeprefix("true_") not in SURVIVAL:
            message = f"expected one of {', '.join(SURVIVAL)} for a survival, got '{item.endpoint}'"
            problems.add(("targets", i, "endpoint"), message)
        if item.statistic == "incidence" and item.endpoint.removeprefix("true_") in SURVIVAL:
            message = f"'{item.endpoint}' is a survival; expected a day such as relapse or gvhd_day"
            problems.add(("targets", i, "endpoint"), message)
        found.append(
            Target(
                name=item.name,
                arm=item.arm,
                endpoint=item.endpoint,
                statistic=item.statistic,
                value=float("nan") if item.value is None else item.value,
                of=item.of,
                low=float("-inf") if item.low is None else item.low,
                high=float("inf") if item.high is None else item.high,
                above=item.above,
                below=item.below,
                fitted=item.fitted,
                unit=item.unit,
                source=item.source,
                at_d=float("nan") if item.at is None else item.at / 24.0,
            )
        )
    return found
