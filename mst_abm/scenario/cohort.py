"""Section ``cohort`` of a trial file: which virtual patients there are, alone or on top of those of another file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from mst_abm.clinic.cohort import MOST_PARAMETERS, Cohort, Distribution, Parameter
from mst_abm.errors import Problem, ScenarioError, did_you_mean
from mst_abm.scenario.document import read_file
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems, WordError
from mst_abm.scenario.schema import Class, Section, Word

KINDS = ("normal", "lognormal", "uniform", "loguniform", "choice")
PATIENTS, SEED = 30, 1


class DistributionSection(Section):
    mean: float = 0.0
    sd: float = Field(0.0, ge=0)
    median: float = Field(1.0, gt=0)
    sd_log: float = Field(0.0, ge=0)
    low: float | None = None
    high: float | None = None
    values: list[float | str] = Field([])
    weights: list[float] = Field([])


def _powers(value: object) -> object:
    return dict.fromkeys(map(str, value), 1.0) if isinstance(value, list) else value


class ParameterSection(Section):
    name: Word
    like: Word | None = Field(
        None, description="a parameter above, of which the distribution holds"
    )
    normal: DistributionSection | None = None
    lognormal: DistributionSection | None = None
    uniform: DistributionSection | None = None
    loguniform: DistributionSection | None = None
    choice: DistributionSection | None = None
    times: Annotated[dict[str, float], BeforeValidator(_powers)] = Field({})
    sets: dict[str, Word] = Field({})
    adds_to: list[Word] = Field([], description="lists that get the words of a text")
    class_: Class | None = Field(None, alias="class")
    source: Word | None = None


class CorrelationSection(Section):
    of: list[Word] = Field(min_length=2, max_length=2)
    rho: float = Field(gt=-1, lt=1)


class CohortSection(Section):
    from_: Word | None = Field(None, alias="from", description="a trial file with these patients")
    seed: int | None = Field(default=None, ge=0, lt=2**64)
    patients: int | None = Field(default=None, ge=1)
    parameters: list[ParameterSection] = Field(default=[], max_length=MOST_PARAMETERS)
    correlated: list[CorrelationSection] = Field(default=[])


def read_cohort(
    section: CohortSection, problems: Problems, file: Path, inside: tuple[Path, ...] = ()
) -> tuple[Cohort, int]:
    """The cohort and how many patients it has; ``inside``: files that take theirs from this one."""
    base, patients = Cohort((), seed=SEED), PATIENTS
    if section.from_ is not None:
        with problems.at("cohort", "from"):
            base, patients = _base(section.from_, file, (*inside, file.resolve()))
    parameters = _read_parameters(section, list(base.parameters), problems)
    names = [p.name for p in parameters]
    for i, pair in enumerate(section.correlated):
        for name in pair.of:
            if name not in names:
                message = f"unknown parameter '{name}'{did_you_mean(name, names)}"
                problems.add(("cohort", "correlated", i, "of"), message)
    pairs = tuple((c.of[0], c.of[1], c.rho) for c in section.correlated)
    seed = base.seed if section.seed is None else section.seed
    cohort = Cohort(tuple(parameters), (*base.correlations, *pairs), seed)
    return cohort, section.patients or patients


def _base(name: str, file: Path, inside: tuple[Path, ...]) -> tuple[Cohort, int]:
    path = find_file(name, file.parent)
    if path.resolve() in inside:
        raise WordError(f"expected another file, the cohort of '{name}' is taken from this one")
    tree = read_file(path)
    if tree.get("cohort") is None:
        raise ScenarioError([Problem(str(path), 0, 0, "expected a trial file with a 'cohort'")])
    problems = Problems(tree)
    section = problems.check(CohortSection, ("cohort",))
    found = None if section is None else read_cohort(section, problems, path, inside)
    problems.finish()
    assert found is not None
    return found


def _read_parameters(
    section: CohortSection, found: list[Parameter], problems: Problems
) -> list[Parameter]:
    """Those of the base, then the section's own: draws of the first do not hang on the others."""
    if len(found) + len(section.parameters) > MOST_PARAMETERS:
        problems.add(
            ("cohort", "parameters"), f"expected at most {MOST_PARAMETERS} parameters in all"
        )
    for i, item in enumerate(section.parameters):
        keys = ("cohort", "parameters", i)
        kind = problems.one_of(keys, item, (*KINDS, "like"), "one")
        known = {p.name: p for p in found}
        if item.name in known:
            problems.add((*keys, "name"), f"'{item.name}' is already given; use another name")
        if not (item.times or item.sets or item.adds_to):
            problems.add(keys, "expected 'times', 'sets' or 'adds_to': what differs with it")
        like = known.get(item.like or "")
        if kind == "like" and like is None:
            message = f"expected a parameter above, got '{item.like}'{did_you_mean(item.like or '', known)}"
            problems.add((*keys, "like"), message)
        if item.source is None and like is None:
            problems.add(keys, "missing 'source'; expected a reference, or: assumption")
        if like is not None:
            distribution = like.distribution
        elif kind and kind != "like":
            distribution = distribution_of(kind, getattr(item, kind), problems, (*keys, kind))
        else:
            continue
        if distribution.is_text and (item.times or item.sets):
            problems.add(
                keys, "expected numbers for 'times' and 'sets'; texts only go with 'adds_to'"
            )
        if not distribution.is_text and item.adds_to:
            problems.add(keys, "expected texts to add to lists, got numbers; use 'times' or 'sets'")
        number_class = item.class_ or (like.number_class if like else "assumption")
        source = item.source or (like.source if like else "assumption")
        found.append(
            Parameter(item.name, distribution, item.times, item.sets, number_class, source, tuple(item.adds_to))
        )  # fmt: skip
    return found


def distribution_of(
    kind: str, section: DistributionSection, problems: Problems, keys: Any
) -> Distribution:
    """What a distribution says, with complaints about what contradicts itself."""
    bounds: dict[str, Any] = {
        k: getattr(section, k) for k in ("low", "high") if getattr(section, k) is not None
    }
    if kind in ("uniform", "loguniform") and len(bounds) < 2:
        problems.add(keys, "expected 'low' and 'high'")
    if kind == "loguniform" and bounds.get("low", 1.0) <= 0:
        problems.add(keys, f"expected 'low' above 0, got {bounds['low']:g}")
    if len(bounds) == 2 and bounds["low"] >= bounds["high"]:
        problems.add(keys, f"expected low below high, got {bounds['low']:g} and {bounds['high']:g}")
    if kind == "choice" and (
        not section.values
        or len(section.values) != len(section.weights)
        or min(section.weights) < 0
        or sum(section.weights) <= 0
    ):
        problems.add(keys, "expected as many 'weights' as 'values', none below 0")
    if len({isinstance(value, str) for value in section.values}) > 1:
        problems.add(keys, "expected 'values' that are all numbers, or all texts")
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
