"""``load_trial``: reads a file that says which virtual patients go through which arms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mst_abm.clinic.cohort import MOST_PARAMETERS, Cohort, Distribution, Parameter
from mst_abm.clinic.readings import Reading
from mst_abm.clinic.survival import SURVIVAL
from mst_abm.clinic.targets import OVER_TIME, Target
from mst_abm.errors import Problem, ScenarioError, did_you_mean
from mst_abm.scenario.document import inline, read_file
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems
from mst_abm.scenario.schema import Class, Section, Switch, Time, Word

KINDS = ("normal", "lognormal", "uniform", "choice")


class DistributionSection(Section):
    mean: float = 0.0
    sd: float = Field(0.0, ge=0)
    median: float = Field(1.0, gt=0)
    sd_log: float = Field(0.0, ge=0)
    low: float | None = None
    high: float | None = None
    values: list[float] = Field([])
    weights: list[float] = Field([])


def _powers(value: object) -> object:
    return dict.fromkeys(map(str, value), 1.0) if isinstance(value, list) else value


def _yes_or_no(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


class ParameterSection(Section):
    name: Word
    normal: DistributionSection | None = None
    lognormal: DistributionSection | None = None
    uniform: DistributionSection | None = None
    choice: DistributionSection | None = None
    times: Annotated[dict[str, float], BeforeValidator(_powers)] = Field({})
    sets: dict[str, Word] = Field({})
    class_: Class = Field("assumption", alias="class")
    source: Word


class CorrelationSection(Section):
    of: list[Word] = Field(min_length=2, max_length=2)
    rho: float = Field(gt=-1, lt=1)


class CohortSection(Section):
    seed: int = Field(default=1, ge=0, lt=2**64)
    patients: int = Field(default=30, ge=1)
    parameters: list[ParameterSection] = Field(default=[], max_length=MOST_PARAMETERS)
    correlated: list[CorrelationSection] = Field(default=[])


class ArmSection(Section):
    like: Word | None = Field(None, description="an arm above, of which scenario and set hold too")
    scenario: Word | None = None
    patients: int | None = Field(None, ge=1, description="at most, where an arm is costly")
    set: dict[str, Any] = Field({})


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
    cohort: CohortSection = CohortSection()
    arms: dict[str, ArmSection] = Field(min_length=1)
    readings: dict[str, ReadingSection] = Field({})
    targets: list[TargetSection] = Field([])


@dataclass(frozen=True)
class Arm:
    """A scenario file, what is set in it by ``NAME=VALUE`` texts, and the most patients it gets."""

    name: str
    scenario: Path
    overrides: tuple[str, ...] = ()
    patients: int | None = None


@dataclass(frozen=True)
class Trial:
    """A cohort, its arms, and the observations it is compared with."""

    name: str
    cohort: Cohort
    patients: int
    arms: tuple[Arm, ...]
    readings: tuple[Reading, ...]
    targets: tuple[Target, ...]
    path: str = ""


def load_trial(path: str | Path) -> Trial:
    """Read a trial file.

    Raises
    ------
    ScenarioError
        With every mistake found in it; mistakes in the scenarios of its arms show when they are read.
    """
    file = Path(path)
    tree = read_file(file)
    problems = Problems(tree)
    if tree.get("arms") is None and (tree.get("model") or tree.get("rules")):
        problems.add(
            (), "expected a trial (cohort, arms, targets), got a scenario; use mst-abm run"
        )
        problems.finish()
    section = problems.check(TrialSection, ())
    if section is None:
        problems.finish()
        raise ScenarioError([Problem(str(path), 0, 0, "expected a trial: cohort, arms, targets")])
    arms = _read_arms(section, problems, file.parent)
    parameters = _read_parameters(section.cohort, problems)
    known = [p.name for p in parameters]
    for i, pair in enumerate(section.cohort.correlated):
        for name in pair.of:
            if name not in known:
                message = f"unknown parameter '{name}'{did_you_mean(name, known)}"
                problems.add(("cohort", "correlated", i, "of"), message)
    targets = _read_targets(section, problems)
    readings = tuple(
        _reading(name, item, problems, ("readings", name))
        for name, item in section.readings.items()
    )
    problems.finish()
    return Trial(
        name=section.name or file.stem,
        cohort=Cohort(
            parameters=tuple(parameters),
            correlations=tuple((c.of[0], c.of[1], c.rho) for c in section.cohort.correlated),
            seed=section.cohort.seed,
        ),
        patients=section.cohort.patients,
        arms=tuple(arms),
        readings=readings,
        targets=tuple(targets),
        path=str(path),
    )


def _read_arms(section: TrialSection, problems: Problems, folder: Path) -> list[Arm]:
    arms: dict[str, tuple[str, int | None, dict[str, Any]]] = {}
    for name, arm in section.arms.items():
        scenario, most, settings = "", None, dict[str, Any]()
        if arm.like is not None:
            if arm.like not in arms:
                message = f"expected an arm above, got '{arm.like}'{did_you_mean(arm.like, arms)}"
                problems.add(("arms", name, "like"), message)
                continue
            scenario, most, settings = arms[arm.like]
        scenario, most = arm.scenario or scenario, arm.patients or most
        if not scenario:
            problems.add(("arms", name), "missing 'scenario'; expected the path of a scenario")
            continue
        arms[name] = scenario, most, settings | arm.set
    found = []
    for name, (scenario, most, settings) in arms.items():
        with problems.at("arms", name, "scenario"):
            file = find_file(scenario, folder)
            overrides = tuple(f"{key}={inline(value)}" for key, value in settings.items())
            found.append(Arm(name, file, overrides, most))
    return found


def _read_parameters(section: CohortSection, problems: Problems) -> list[Parameter]:
    found: list[Parameter] = []
    for i, item in enumerate(section.parameters):
        keys = ("cohort", "parameters", i)
        kind = problems.one_of(keys, item, KINDS, "one")
        if item.name in [p.name for p in found]:
            problems.add((*keys, "name"), f"'{item.name}' is already given; use another name")
        if not item.times and not item.sets:
            problems.add(keys, "expected 'times' or 'sets': the numbers that differ with it")
        if kind:
            distribution = _distribution(kind, getattr(item, kind), problems, (*keys, kind))
            found.append(
                Parameter(item.name, distribution, item.times, item.sets, item.class_, item.source)
            )
    return found


def _distribution(
    kind: str, section: DistributionSection, problems: Problems, keys: Any
) -> Distribution:
    bounds: dict[str, Any] = {
        k: getattr(section, k) for k in ("low", "high") if getattr(section, k) is not None
    }
    if kind == "uniform" and len(bounds) < 2:
        problems.add(keys, "expected 'low' and 'high'")
    if len(bounds) == 2 and bounds["low"] >= bounds["high"]:
        problems.add(keys, f"expected low below high, got {bounds['low']:g} and {bounds['high']:g}")
    if kind == "choice" and (
        not section.values
        or len(section.values) != len(section.weights)
        or min(section.weights) < 0
        or sum(section.weights) <= 0
    ):
        problems.add(keys, "expected as many 'weights' as 'values', none below 0")
    return Distribution(
        kind=kind,
        mean=section.mean,
        sd=section.sd,
        median=section.median,
        sd_log=section.sd_log,
        values=tuple(section.values),
        weights=tuple(section.weights),
        **bounds,
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
