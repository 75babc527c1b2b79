"""A trial arm by arm: tables of endpoints and of differences, tests between arms, what an interval needs, figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.clinic.arms import Difference, Endpoint, Summary, differences, summaries
from mst_abm.clinic.given import chemotherapy, first_course_end_h
from mst_abm.clinic.precision import Need, need_of, need_of_difference, share_by_chance
from mst_abm.clinic.survival import HAPPENED, hazard_ratio, log_rank
from mst_abm.clinic.targets import Comparison
from mst_abm.errors import RecordError, did_you_mean
from mst_abm.records.arms import read_arm
from mst_abm.records.places import write_rows
from mst_abm.report.targets import comparisons, markdown
from mst_abm.report.trial_figures import ArmToDraw, draw_trial
from mst_abm.scenario import load_scenario

if TYPE_CHECKING:
    from mst_abm.scenario.trial import Arm, Trial

TARGETS, ARMS, DIFFERENCES, TESTS = "targets.csv", "arms.csv", "differences.csv", "tests.csv"
TARGET_COLUMNS = (
    "name", "arm", "endpoint", "statistic", "at_d", "value", "of", "unit", "fitted",
    "simulated", "simulated_low", "simulated_high", "tail", "n", "is_met", "source",
)  # fmt: skip
#: Endpoints shown whatever the targets ask for.
USUAL = (
    "response",
    "remission",
    "neutrophil_recovery",
    "platelet_recovery",
    "relapse",
    "os",
    "dfs",
)
#: What arms are tested on.
TESTED = ("os", "dfs", "remission", "relapse", "neutrophil_recovery", "platelet_recovery")


@dataclass(frozen=True)
class Contrast:
    """An arm against the control in when something happens: log-rank test, hazard ratio with its 95 % interval."""

    arm: str
    control: str
    endpoint: str
    chi_squared: float
    p: float
    hazard_ratio: float
    low: float
    high: float
    events: int
    events_control: int


@dataclass(frozen=True)
class Findings:
    """Everything that is said of a trial beside its targets."""

    summaries: list[Summary]
    differences: list[Difference]
    contrasts: list[Contrast]
    arms: list[ArmToDraw]


def findings(
    trial: Trial,
    columns: Mapping[str, Mapping[str, np.ndarray]],
    records: Mapping[str, Sequence[str | Path]],
) -> Findings:
    """Read the records of the arms that were run and work everything out.

    Parameters
    ----------
    columns : endpoints and readings, float64 (patient,) by arm and name
    records : files by arm, in the order of the patients
    """
    readings = [Endpoint(reading.name) for reading in trial.readings]
    arms, rows = [], []
    endpoints: dict[str, tuple[Endpoint, ...]] = {}
    ends: dict[str, float] = {}
    for arm in trial.arms:
        if arm.name not in columns:
            continue
        read = read_arm(records[arm.name])
        endpoints[arm.name] = _shown(read.endpoints, columns[arm.name], trial) + tuple(readings)
        course_end_d, ends[arm.name] = _days(arm)
        arms.append(ArmToDraw(arm.name, columns[arm.name], read, course_end_d))
        rows += summaries(arm.name, columns[arm.name], endpoints[arm.name])
    compared = [drawn for name in trial.compare for drawn in arms if drawn.name == name]
    apart, contrasts = [], []
    for one in compared[1:]:
        control = compared[0]
        until_d = max(ends[one.name], ends[control.name])
        pair, columns_of_both = (one.name, control.name), (one.columns, control.columns)
        apart += differences(pair, columns_of_both, endpoints[one.name], until_d)
        contrasts += _contrasts(one, control)
    return Findings(rows, apart, contrasts, arms)


def write_findings(
    trial: Trial, columns: Mapping[str, Mapping[str, np.ndarray]], found: Findings, folder: Path
) -> list[Path]:
    """Write the tables into the folder of a trial."""
    return [
        write_rows(
            folder / TARGETS, [TARGET_COLUMNS, *map(_target_row, comparisons(trial, columns))]
        ),
        _write_objects(folder / ARMS, Summary, found.summaries),
        _write_objects(folder / DIFFERENCES, Difference, found.differences),
        _write_objects(folder / TESTS, Contrast, found.contrasts),
    ]


def draw_findings(trial: Trial, found: Findings, folder: Path) -> list[Path]:
    """Draw the arms that are compared, or all where none are."""
    shown = [arm for arm in found.arms if arm.name in trial.compare] or found.arms
    observed = {
        (target.arm, target.endpoint): target.value
        for target in trial.targets
        if target.statistic == "median" and target.of
    }
    return draw_trial(shown, folder, observed)


def findings_text(trial: Trial, found: Findings) -> str:
    """Endpoints side by side, then how the arms differ, in Markdown."""
    shown = [arm.name for arm in found.arms if arm.name in trial.compare]
    names = dict.fromkeys((*USUAL, *(t.endpoint for t in trial.targets if t.arm in shown)))
    texts = [_summary_text(found.summaries, shown, list(names))]
    if found.contrasts:
        texts.append(_contrast_text(found.contrasts))
    if found.differences:
        texts.append(_difference_text(found.differences, list(names)))
    return "\n".join(texts)


def twins(trial: Trial) -> dict[str, str]:
    """Arms that send the same patients through the same treatment with all chance drawn anew, by arm."""
    found = {}
    for arm in trial.arms:
        for other in trial.arms:
            is_same = (arm.scenario, arm.overrides) == (other.scenario, other.overrides)
            if arm is not other and is_same and arm.seed != other.seed:
                found[arm.name] = other.name
    return found


def needs(trial: Trial, found: Findings, wanted: Mapping[str, tuple[float, str]]) -> list[Need]:
    """What intervals of wanted half-widths take: by endpoint a number and its unit, of a share none.

    Raises
    ------
    RecordError
        If an endpoint is not there, or has no number in that unit.
    """
    columns = {arm.name: arm.columns for arm in found.arms}
    again = twins(trial)
    rows = []
    for name, (half, unit) in wanted.items():
        there = [row for row in found.summaries if row.endpoint == name]
        if not there:
            known = list(dict.fromkeys(row.endpoint for row in found.summaries))
            raise RecordError(f"{name}: no such endpoint{did_you_mean(name, known)}")
        units = {row.unit for row in there}
        asked = unit or ("1" if "1" in units else min(units))
        if asked not in units:
            raise RecordError(
                f"{name}: expected a half-width in {' or '.join(sorted(units))}, got one in {unit}."
            )
        for row in there:
            if row.unit != asked:
                continue
            twin = columns.get(again.get(row.arm, ""))
            by_chance = math.nan
            if twin is not None and name in twin:
                by_chance = share_by_chance(
                    _numbers(columns[row.arm][name], row), _numbers(twin[name], row)
                )
            rows.append(need_of(row, half, by_chance))
        rows += [
            need_of_difference(d, half)
            for d in found.differences
            if (d.endpoint, d.unit) == (name, asked)
        ]
    return rows


def needs_text(rows: Sequence[Need]) -> str:
    """The table of what is needed, in Markdown."""
    table = [
        (
            "arm",
            "endpoint",
            "statistic",
            "wanted",
            "now",
            "needs patients",
            "or patches, times as large",
        )
    ]
    for need in rows:
        unit = "" if need.unit == "1" else f" {need.unit}"
        table.append(
            (
                need.arm, need.endpoint, need.statistic, f"± {need.wanted:g}{unit}",
                f"± {need.now:.3g}{unit}, n = {need.n}", _count(need.patients), _count(need.patch),
            )
        )  # fmt: skip
    return "\n".join(markdown(table)) + "\n"


# ---------------------------------------------------------------------- parts


def _target_row(item: Comparison) -> list[Any]:
    target = item.target
    asked = [getattr(target, name) for name in TARGET_COLUMNS[:9]]
    return [
        *asked,
        item.simulated,
        item.low,
        item.high,
        item.tail,
        item.patients,
        item.is_met,
        target.source,
    ]


def _write_objects(path: Path, kind: type, rows: Iterable[Any]) -> Path:
    columns = [field.name for field in fields(kind)]
    values = ([getattr(row, column) for column in columns] for row in rows)
    return write_rows(path, [columns, *values])


def _days(arm: Arm) -> tuple[float, float]:
    """When the first planned course ends, and the run."""
    scenario = load_scenario(arm.scenario, overrides=arm.overrides)
    drugs = chemotherapy(scenario.model, scenario.observables)
    return first_course_end_h(scenario.doses, drugs) / 24.0, scenario.run.until_h / 24.0


def _shown(
    endpoints: Sequence[Endpoint], columns: Mapping[str, np.ndarray], trial: Trial
) -> tuple[Endpoint, ...]:
    """What was reported; the truth where nothing was, or where a target asks for it."""
    asked = {target.endpoint for target in trial.targets}
    return tuple(
        item
        for item in endpoints
        if item.name in columns
        and (
            not item.name.startswith("true_")
            or item.name in asked
            or item.name.removeprefix("true_") not in columns
        )
    )


def _contrasts(arm: ArmToDraw, control: ArmToDraw) -> list[Contrast]:
    found = []
    for name in TESTED:
        one, other = arm.outcome(name), control.outcome(name)
        if one is None or other is None:
            continue
        events = [int((item.causes == HAPPENED).sum()) for item in (one, other)]
        chi_squared, p = log_rank(one, other) if sum(events) else (math.nan, math.nan)
        ratio = hazard_ratio(one, other)
        found.append(Contrast(arm.name, control.name, name, chi_squared, p, *ratio, *events))
    return found


def _summary_text(rows: Sequence[Summary], arms: Sequence[str], names: Sequence[str]) -> str:
    by_line: dict[tuple[str, str, str], dict[str, Summary]] = {}
    for row in rows:
        if row.endpoint in names and row.arm in arms:
            by_line.setdefault((row.endpoint, row.statistic, row.unit), {})[row.arm] = row
    table = [("endpoint", "statistic", *arms)]
    for key in sorted(by_line, key=lambda key: names.index(key[0])):
        cells = [by_line[key].get(arm) for arm in arms]
        table.append((key[0], key[1], *("" if c is None else _cell(c) for c in cells)))
    return "\n".join(markdown(table)) + "\n"


def _cell(row: Summary) -> str:
    middle = _number(row.value, row.unit)
    return f"{middle} ({_number(row.low, row.unit)} to {_number(row.high, row.unit)}), {row.n} of {row.of}"


def _contrast_text(rows: Sequence[Contrast]) -> str:
    table = [
        ("arm against control", "time to", "events", "log-rank chi2", "p", "hazard ratio (95 %)")
    ]
    for row in rows:
        known = not math.isnan(row.hazard_ratio)
        ratio = f"{row.hazard_ratio:.2f} ({row.low:.2f} to {row.high:.2f})" if known else "-"
        test = ("-", "-") if math.isnan(row.p) else (f"{row.chi_squared:.2f}", f"{row.p:.2g}")
        events = f"{row.events} and {row.events_control}"
        table.append((f"{row.arm} - {row.control}", row.endpoint, events, *test, ratio))
    return "\n".join(markdown(table)) + "\n"


def _difference_text(rows: Sequence[Difference], names: Sequence[str]) -> str:
    table = [
        ("difference", "endpoint", "mean of", "pairs", "arm - control (95 %)", "saved by pairs")
    ]
    for row in rows:
        if row.endpoint in names:
            value = f"{_number(row.value, row.unit)} ({_number(row.low, row.unit)} to {_number(row.high, row.unit)})"
            saved = f"{_count(row.saved)} times" if math.isfinite(row.saved) else "-"
            pairs = f"{row.n} of {row.of}"
            table.append(
                (f"{row.arm} - {row.control}", row.endpoint, row.measure, pairs, value, saved)
            )
    return "\n".join(markdown(table)) + "\n"


def _numbers(values: np.ndarray, row: Summary) -> np.ndarray:
    """A column as the numbers that a summary is made of."""
    if row.statistic == "share reached":
        return (~np.isnan(values)).astype(float)
    if row.statistic.startswith("share "):
        return np.where(np.isnan(values), np.nan, values == row.category)
    return values


def _number(value: float, unit: str) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "never" if value > 0 and unit in ("d", "h") else "open"
    return f"{value:.3g}" + ("" if unit == "1" else f" {unit}")


def _count(value: float) -> str:
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "none is large enough"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
