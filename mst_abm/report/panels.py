"""Time courses as panels of lines: what is shown, before anybody draws it.

The figure and the page draw the same panels. Courses of several records of one scenario are joined along
replicates; what never occurs in one of them is zero there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from mst_abm.clinic.laboratory import lacking
from mst_abm.records.reader import Run
from mst_abm.report.groups import Group, fatal_rules, groups_of_each
from mst_abm.report.palette import colour, colours_of

MOST_LINES = 7
MOST_RULES = 8
BAND = (0.05, 0.95)
Scale = Literal["symlog", "log", "linear"]
OBSERVED, CELLS, RARE, SIGNALS, DEATHS, OTHERS = (
    "observed", "cells", "rare", "signals", "deaths", "others",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One course: float64 or int64 (replicate, time); ``dash`` tells lines of one colour apart."""

    label: str
    family: str
    values: np.ndarray
    colour: str = ""
    dash: int = 0

    @property
    def middle(self) -> np.ndarray:
        """Median over replicates, (time,)."""
        return np.median(self.values, axis=0)

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Where nine of ten replicates lie; none of a single one."""
        if len(self.values) < 2:
            return None
        low, high = np.quantile(self.values, BAND, axis=0)
        return low, high


@dataclass(frozen=True)
class Panel:
    """Lines over one time axis (h) and one unit."""

    section: str
    title: str
    unit: str
    times_h: np.ndarray
    lines: tuple[Line, ...]
    scale: Scale = "linear"

    @property
    def limits(self) -> tuple[float, float]:
        """Of a logarithmic axis: six decades below the top at most."""
        values = np.concatenate([line.values.ravel() for line in self.lines])
        positive = values[values > 0]
        top = positive.max()
        return max(positive.min(), top * 1e-6) / 2, 2 * top


def panels_of(*runs: Run) -> list[Panel]:
    """Panels of a run, or of several of one scenario with the same times."""
    colours: dict[str, str] = {}
    for run in runs:
        colours = colours_of(run) | colours
    whole = [_whole(run, tables) for run, tables in zip(runs, groups_of_each(runs), strict=True)]
    return [part for panel in _joined(whole) for part in _divided(panel, colours)]


def time_unit(times_h: np.ndarray) -> tuple[float, str]:
    """Hours per unit and its name: days for two days or more."""
    return (24.0, "day") if len(times_h) and times_h[-1] >= 48 else (1.0, "hour")


def _whole(run: Run, tables: dict[str, list[Group]]) -> list[Panel]:
    """Everything that a run has a course of, a panel for each section, place and unit."""
    days = run.times_h
    shares = dict(zip(run.compartment_names, run.compartments["share"], strict=True))
    found = []
    courses = run.observed if len(run.observed_times_h) else {}
    absent = lacking(courses)
    units = {n: unit for n, unit in run.observed_units.items() if n in courses and n not in absent}
    found += _levels(OBSERVED, "laboratory values", run.observed_times_h, courses, units)
    for compartment, groups in tables.items():
        share = float(shares[compartment])
        title = compartment if share == 1 else f"{compartment} ({share:.2g} of the body)"
        lines = tuple(Line(group.label, group.type, group.counts) for group in groups)
        found.append(Panel(CELLS, title, "simulated cells", days, lines, "symlog"))
    rare = {str(n): run.body_cells(i) for i, n in enumerate(run.reservoirs.get("reservoir", ()))}
    title = "rare classes, in the sample or in reservoirs"
    found += _levels(RARE, title, days, rare, dict.fromkeys(rare, "cells of the body"))
    found += _levels(SIGNALS, "signals", days, run.signals, run.signal_units)
    return found + _events(run)


def _levels(section: str, title: str, times_h: np.ndarray, courses: dict, units: dict) -> list:
    """A panel for each unit."""
    names: dict[str, list[str]] = {}
    for name, unit in units.items():
        names.setdefault("level" if unit in ("1", "", "dimensionless") else unit, []).append(name)
    return [
        Panel(section, title, unit, times_h, tuple(Line(n, n, courses[n]) for n in of))
        for unit, of in names.items()
    ]


def _of_one_size(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that can be seen on one axis: their tops lie within four decades of each other."""
    tops = {line.label: float(np.max(line.values, initial=0.0)) for line in lines}
    found: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: -tops[line.label]):
        if found and tops[line.label] * 1e4 >= tops[found[-1][0].label]:
            found[-1].append(line)
        else:
            found.append([line])
    places = {line.label: i for i, line in enumerate(lines)}
    return [sorted(part, key=lambda line: places[line.label]) for part in found]


def _events(run: Run) -> list[Panel]:
    """Deaths by the rule that caused them, and the other rules."""
    fatal = fatal_rules(run)
    totals = {key[0]: n.cumsum(axis=1) for key, n in run.events_by("rule").items() if n.any()}
    return [
        Panel(section, title, "events since the start", run.times_h, lines, "symlog")
        for section, title, is_wanted in (
            (DEATHS, "deaths by rule", True),
            (OTHERS, "other events by rule", False),
        )
        if (lines := tuple(Line(r, r, n) for r, n in totals.items() if (r in fatal) == is_wanted))
    ]


def _joined(whole: Sequence[list[Panel]]) -> list[Panel]:
    """Panels of several runs, replicates end to end."""
    if len(whole) == 1:
        return [panel for panel in whole[0] if panel.lines]
    sizes = [next((len(p.lines[0].values) for p in panels if p.lines), 0) for panels in whole]
    keys = dict.fromkeys((p.section, p.title, p.unit) for panels in whole for p in panels)
    found = []
    for key in keys:
        mine = [
            next((p for p in panels if (p.section, p.title, p.unit) == key), None)
            for panels in whole
        ]
        first = next(p for p in mine if p is not None)
        lines = _side_by_side(mine, sizes, len(first.times_h))
        if lines:
            found.append(replace(first, lines=lines))
    return found


def _side_by_side(
    panels: Sequence[Panel | None], sizes: Sequence[int], n_times: int
) -> tuple[Line, ...]:
    """Each line of any of the panels, with zeros for a run that lacks it."""
    families = {line.label: line.family for p in panels if p for line in p.lines}
    tables = [{line.label: line.values for line in p.lines} if p else {} for p in panels]
    return tuple(
        Line(
            label,
            family,
            np.concatenate(
                [
                    table.get(label, np.zeros((size, n_times)))
                    for table, size in zip(tables, sizes, strict=True)
                ]
            ),
        )
        for label, family in families.items()
    )


def _divided(panel: Panel, colours: dict[str, str]) -> list[Panel]:
    """Panels of a few lines each, with colours."""
    lines: Sequence[Line] = panel.lines
    if panel.section in (DEATHS, OTHERS):
        ranked = sorted(lines, key=lambda line: -line.values[:, -1].mean())
        return [_coloured(panel, ranked[:MOST_RULES])]
    if panel.section != CELLS:
        sizes = _of_one_size(lines)
        parts = [part for same in sizes for part in parts_of(same, same)]
        return [_coloured(panel, part) for part in parts]
    found = []
    for part in parts_of(lines, [line.family for line in lines]):
        seen: dict[str, int] = {}
        drawn = []
        for line in part:
            nth = seen[line.family] = seen.get(line.family, -1) + 1
            drawn.append(replace(line, colour=colours[line.family], dash=nth))
        found.append(replace(panel, lines=tuple(drawn)))
    return found


def _coloured(panel: Panel, lines: Iterable[Line]) -> Panel:
    drawn = tuple(replace(line, colour=colour(i)) for i, line in enumerate(lines))
    panel = replace(panel, lines=drawn)
    if panel.scale == "symlog":
        return panel
    values = np.concatenate([line.values.ravel() for line in drawn])
    positive = values[values > 0]
    is_wide = len(positive) and positive.max() > 100 * np.median(positive)
    return replace(panel, scale="log") if is_wide else panel


def parts_of(items: Sequence, families: Sequence) -> list[Sequence]:
    """Even parts of about MOST_LINES, in order; those of one family stay together."""
    n = -(-len(items) // MOST_LINES)
    ends = [len(items) * i // n for i in range(1, n)]
    for i, end in enumerate(ends):
        while end > 0 and families[end] == families[end - 1]:
            end -= 1
        ends[i] = end
    cuts = [0, *ends, len(items)]
    return [items[a:b] for a, b in pairwise(cuts) if b > a]
