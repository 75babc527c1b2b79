"""``load_sweep``: reads a file that asks a question of many points: which numbers vary, how, and what is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mst_abm.clinic.cohort import Cohort, Distribution
from mst_abm.clinic.designs import ATTRIBUTION, GRID, HYPERCUBE, MORRIS, SOBOL
from mst_abm.clinic.readings import Reading
from mst_abm.scenario.cohort import CohortSection, DistributionSection, distribution_of, read_cohort
from mst_abm.scenario.document import inline
from mst_abm.scenario.merging import find_file
from mst_abm.scenario.problems import Problems, read_section
from mst_abm.scenario.schema import Section, Switch, Word
from mst_abm.scenario.trial import (
    LikeSection,
    ReadingSection,
    lines_of,
    read_readings,
    settings_of,
)

#: What a parameter may say of its values.
KINDS = ("values", "uniform", "loguniform", "normal", "lognormal")
#: Methods that draw from ranges, and how many draws there are where nobody says.
DRAWN = {HYPERCUBE: 32, SOBOL: 64, MORRIS: 8}


class AxisSection(Section):
    values: Any = Field(None, description="a list, or a mapping from what a figure calls them")
    uniform: DistributionSection | None = None
    loguniform: DistributionSection | None = None
    normal: DistributionSection | None = None
    lognormal: DistributionSection | None = None
    unit: Word = ""
    also: list[Word] = Field([], description="other names that get the same value")
    name: Word = Field("", description="what tables and figures call it")


class SweepSection(Section):
    name: Word = ""
    scenario: Word
    set: dict[str, Any] = Field({})
    engine: Literal["cells", "mean-field"] = "cells"
    method: Literal["grid", "latin hypercube", "sobol", "morris", "attribution"] = "grid"
    size: int | None = Field(None, ge=2, description="points, base points or trajectories")
    levels: int = Field(4, ge=2, description="of a range, with morris")
    replicates: int = Field(1, ge=1)
    seed: int | None = Field(None, ge=0, lt=2**64)
    paired: Switch | None = None
    cohort: CohortSection | None = None
    points: dict[str, LikeSection] = Field({}, description="named sets of values, with grid")
    parameters: dict[str, AxisSection] = Field({})
    switches: list[Word] = Field([], description="mechanisms, with attribution")
    endpoints: list[Word] = Field([])
    readings: dict[str, ReadingSection] = Field({})


@dataclass(frozen=True)
class Axis:
    """A number that varies: ``names`` get its value, in ``unit``.

    ``levels``: what each value is called and its text, of an axis that has no range.
    """

    name: str
    names: tuple[str, ...]
    distribution: Distribution
    levels: tuple[tuple[str, str], ...] = ()
    unit: str = ""

    def level(self, share: float) -> tuple[str, str]:
        """What the value is called below which a share of all lies, and its text."""
        value = self.distribution.quantile(share)
        if self.levels:
            return self.levels[int(value)]
        return f"{value:.4g}", f"{value!r} {self.unit}".strip()


@dataclass(frozen=True)
class Sweep:
    """What is varied in a scenario, how often it is run, and what is looked at.

    Attributes
    ----------
    size : points, base points (sobol) or trajectories (morris)
    is_paired : all points have the same random numbers, or those of the same patient
    cohort, patients : who goes through every point; nobody but the scenario's patient where None
    points : named sets of values by dotted name, each in combination with all values of the axes
    """

    name: str
    scenario: Path
    overrides: tuple[str, ...]
    engine: Literal["cells", "mean-field"]
    method: str
    size: int
    levels: int
    replicates: int
    seed: int | None
    is_paired: bool
    cohort: Cohort | None
    patients: int
    points: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    axes: tuple[Axis, ...]
    switches: tuple[str, ...]
    endpoints: tuple[str, ...]
    readings: tuple[Reading, ...]
    path: str = ""


def load_sweep(path: str | Path) -> Sweep:
    """Read a sweep file.

    Raises
    ------
    ScenarioError
        With every mistake found in it; names of the scenario are checked when it is loaded with them.
    """
    file = Path(path)
    section, problems = read_section(file, SweepSection, "sweep", "a sweep (scenario, method, ...)")
    cohort, patients = None, 1
    if section.cohort is not None:
        cohort, patients = read_cohort(section.cohort, problems, file)
    scenario = file
    with problems.at("scenario"):
        scenario = find_file(section.scenario, file.parent)
    lines = lines_of(section.points, problems, "points", "a point")
    points = tuple((name, _texts(settings_of(line))) for name, line in lines.items())
    axes = tuple(
        axis
        for name, item in section.parameters.items()
        if (axis := read_axis(name, item, problems)) is not None
    )
    readings = read_readings(section.readings, problems)
    _refuse_contradictions(section, axes, problems)
    problems.finish()
    return Sweep(
        name=section.name or file.stem,
        scenario=scenario,
        overrides=tuple(f"{name}={text}" for name, text in _texts(section.set)),
        engine=section.engine,
        method=section.method,
        size=section.size or DRAWN.get(section.method, 0),
        levels=section.levels,
        replicates=section.replicates,
        seed=section.seed,
        is_paired=_is_paired(section),
        cohort=cohort,
        patients=patients,
        points=points,
        axes=axes,
        switches=tuple(section.switches),
        endpoints=tuple(section.endpoints),
        readings=readings,
        path=str(path),
    )


def _is_paired(section: SweepSection) -> bool:
    """Unless somebody says: where differences between points are asked for, or patients go through all of them."""
    if section.paired is not None:
        return section.paired
    return section.method not in (GRID, HYPERCUBE) or section.cohort is not None


def _texts(settings: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, inline(value)) for name, value in settings.items())


def read_axis(
    name: str, item: AxisSection, problems: Problems, where: str = "parameters"
) -> Axis | None:
    """A number that varies, of the section ``where``; None with a problem told."""
    keys = (where, name)
    kind = problems.one_of(keys, item, KINDS, "one")
    label, names = item.name or name, (name, *item.also)
    if kind == "values":
        values = item.values
        if not isinstance(values, (list, dict)) or not values:
            problems.add((*keys, "values"), "expected a list of values, or a mapping to them")
            return None
        pairs = values.items() if isinstance(values, dict) else ((_shown(v), v) for v in values)
        unit = f" {item.unit}" if item.unit else ""
        levels = tuple((str(word), f"{inline(value)}{unit}") for word, value in pairs)
        places = Distribution(
            "choice", values=tuple(map(float, range(len(levels)))), weights=(1.0,) * len(levels)
        )
        return Axis(label, names, places, levels, item.unit)
    if not kind:
        return None
    law = distribution_of(kind, getattr(item, kind), problems, (*keys, kind))
    return Axis(label, names, law, unit=item.unit)


def _shown(value: Any) -> str:
    """What a value is called: short, as its text says it in full."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else inline(value)


def _refuse_contradictions(
    section: SweepSection, axes: tuple[Axis, ...], problems: Problems
) -> None:
    method = section.method
    if method == ATTRIBUTION:
        if len(set(section.switches)) != len(section.switches) or not section.switches:
            problems.add(("switches",), "expected the names of one or more switches, each once")
        if section.parameters or section.points:
            problems.add(("method",), "attribution varies 'switches' alone; leave out the others")
        if section.paired is False:
            problems.add(("paired",), "attribution compares the same patients; leave it out")
    elif section.switches:
        problems.add(("switches",), "expected switches with the method attribution only")
    elif not section.parameters and not (method == GRID and section.points):
        problems.add((), "expected 'parameters', names of numbers that vary")
    if method in DRAWN and section.points:
        problems.add(("points",), "expected named points with the method grid only")
    if section.size is not None and method not in DRAWN:
        problems.add(("size",), f"{method} has as many points as it takes; leave it out")
    if method == SOBOL and section.size is not None and section.size & (section.size - 1):
        problems.add(("size",), f"expected a power of 2 with sobol, got {section.size}")
    if method == MORRIS and section.levels % 2:
        problems.add(("levels",), f"expected an even number, got {section.levels}")
    if not section.endpoints and not section.readings:
        problems.add((), "missing 'endpoints' or 'readings', what is looked at")
    for axis in axes:
        keys = ("parameters", axis.names[0])
        if method == GRID and not axis.levels:
            problems.add(keys, "expected 'values' with the method grid")
        ends = axis.distribution.low, axis.distribution.high
        is_open = not axis.levels and not all(abs(end) < float("inf") for end in ends)
        if method == MORRIS and is_open:
            problems.add(keys, "morris goes to both ends of a range; expected 'low' and 'high'")
    labels = [axis.name for axis in axes]
    if len(set(labels)) < len(labels):
        problems.add(("parameters",), "two parameters have the same name; expected different ones")
