"""A trial beside what was observed: one line per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mst_abm.clinic.survival import columns_of, outcome
from mst_abm.clinic.targets import OVER_TIME, Comparison, Target, compare, compare_over_time

if TYPE_CHECKING:
    from mst_abm.scenario.trial import Trial


def comparisons(
    trial: Trial, endpoints: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Comparison]:
    """Every target whose arm and endpoint were simulated."""
    readings = {reading.name for reading in trial.readings}
    found = []
    for target in trial.targets:
        columns = endpoints.get(target.arm, {})
        if target.statistic in OVER_TIME:
            if columns.keys() >= set(columns_of(target.endpoint)):
                found.append(compare_over_time(target, outcome(columns, target.endpoint)))
            continue
        values = columns.get(target.endpoint)
        if values is None:
            continue
        if target.endpoint in readings and target.statistic in ("median", "mean"):
            # a reading that is missing was not taken; an endpoint that is missing was not reached
            values = values[~np.isnan(values)]
        found.append(compare(target, values))
    return found


def targets_text(trial: Trial, endpoints: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """The table in Markdown; targets without a simulated value are named below it."""
    rows = [("target", "arm", "endpoint", "observed", "simulated (95 %)", "tail", "fitted", "")]
    found = comparisons(trial, endpoints)
    for item in found:
        target = item.target
        rows.append(
            (
                target.name,
                target.arm,
                f"{target.endpoint}, {_statistic(target)}",
                observed(target),
                f"{shown(target, item.simulated)} ({shown(target, item.low)} to "
                f"{shown(target, item.high)}), n = {item.patients}",
                "" if np.isnan(item.tail) else f"{item.tail:.2g}",
                "" if target.fitted == "no" else target.fitted,
                _verdict(item),
            )
        )
    lines = markdown(rows)
    missing = [t.name for t in trial.targets if t not in [item.target for item in found]]
    if missing:
        lines += ["", f"not simulated: {', '.join(missing)}"]
    return "\n".join(lines) + "\n"


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of which the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * w for w in widths) + " |")
    return lines


def _statistic(target: Target) -> str:
    day = f" at day {target.at_d:g}" if target.statistic in OVER_TIME else ""
    return target.statistic + day


def _verdict(item: Comparison) -> str:
    if item.target.statistic in OVER_TIME and np.isnan(item.simulated):
        return "not followed so long"
    return "met" if item.is_met else "MISSED"


def observed(target: Target) -> str:
    """What was observed, at its size or as a range."""
    if target.is_share and target.of:
        return f"{target.value:g} of {target.of}"
    if target.of:
        return f"{target.value:g} {target.unit} (n = {target.of})".replace(" 1 (", " (")
    return f"{shown(target, target.low)} to {shown(target, target.high)}"


def shown(target: Target, value: float) -> str:
    """A value of a target in its unit."""
    if np.isnan(value):
        return "-"
    if target.is_share:
        return f"{100 * value:.3g} %"
    unit = "" if target.unit == "1" else f" {target.unit}"
    return ("never" if np.isinf(value) and value > 0 else f"{value:.3g}") + unit
