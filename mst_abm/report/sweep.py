"""A sweep as text, tables and a figure: outcomes point by point, and what each parameter does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.clinic.designs import ATTRIBUTION, GRID, HYPERCUBE, MORRIS, SOBOL, Index
from mst_abm.records.places import write_rows
from mst_abm.report.sweep_figure import draw_sweep
from mst_abm.report.targets import markdown
from mst_abm.runs.sweep import Outcome, Plan

POINTS, INDICES, FIGURE = "points.csv", "indices.csv", "figure.png"
#: Points that are printed; all are in the table.
SHOWN = 40
#: What the indices are, in a sentence.
LEGENDS = {
    GRID: "Less the first: what differs from the first point in the same runs.",
    HYPERCUBE: "Rank correlation: Spearman's, over points.",
    SOBOL: "First order: share of the variance between points that the parameter explains alone; total: with all it does together with others.",
    MORRIS: "mu*: mean of what one step changes, whatever its sign, per whole range; mu: with its sign; sigma: how much steps differ.",
    ATTRIBUTION: "Out: with all mechanisms less without this one. Alone: with it alone less with none. Pair: what is lost without both less what is lost "
    "without each, so above 0 where they stand in for one another, below 0 where they need one another; for what is lowered the signs turn. The same patients with the same random numbers, bands over patients.",
}  # fmt: skip


def sweep_text(plan: Plan, outcomes: Sequence[Outcome]) -> str:
    """What a sweep shows, in Markdown."""
    sweep = plan.sweep
    who = f"{sweep.patients} patients, " if sweep.cohort is not None else ""
    there = f"{who}{plan.campaign.replicates} replicate{'s' * (plan.campaign.replicates > 1)} each"
    lines = [
        f"{sweep.name}: {sweep.method}, {len(plan.spots)} points, {there}; engine: {sweep.engine}",
        _pairing(plan),
    ]
    if sweep.method in (GRID, HYPERCUBE) or len(plan.spots) <= SHOWN:
        lines += ["", *_point_lines(plan, outcomes)]
    if absent := [o.endpoint for o in outcomes if not np.isfinite(o.values).any()]:
        names = ", ".join(absent)
        lines += [
            "",
            f"No run has a number of {names}; true_NAME is the truth, which no laboratory sees.",
        ]
    if sweep.method != GRID or any(outcome.indices for outcome in outcomes):
        lines += ["", *_index_lines(outcomes), LEGENDS[sweep.method]]
    return "\n".join(lines) + "\n"


def write_sweep(plan: Plan, outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write the tables and the figure into the folder of a sweep; their paths."""
    paths = [write_rows(folder / POINTS, _point_rows(plan, outcomes))]
    if any(outcome.indices for outcome in outcomes):
        paths.append(write_rows(folder / INDICES, _index_rows(outcomes)))
    paths.append(draw_sweep(plan, outcomes, folder / FIGURE))
    return paths


def _pairing(plan: Plan) -> str:
    if not plan.sweep.is_paired:
        return "Points have random numbers of their own."
    if plan.sweep.cohort is not None:
        return "Paired: at every point the same patients with the same random numbers."
    return "Paired: at every point the same random numbers, replicate by replicate."


def _point_lines(plan: Plan, outcomes: Sequence[Outcome]) -> list[str]:
    axes = [name for name, _ in plan.spots[0].labels]
    table = [(*axes, *(_head(outcome) for outcome in outcomes))]
    for i, spot in enumerate(plan.spots[:SHOWN]):
        table.append((*(word for _, word in spot.labels), *(_cell(o, i) for o in outcomes)))
    lines = markdown(table)
    if len(plan.spots) > SHOWN:
        lines.append(f"... and {len(plan.spots) - SHOWN} more points, in {POINTS}")
    return lines


def _head(outcome: Outcome) -> str:
    unit = "" if outcome.unit == "1" else f", {outcome.unit}"
    return f"{outcome.endpoint}, {outcome.measure}{unit}"


def _cell(outcome: Outcome, spot: int) -> str:
    value, low, high, n = outcome.at(spot)
    return f"{_between(value, low, high)}, n = {n}" if n else "-"


def _between(value: float, low: float, high: float) -> str:
    return f"{value:.3g}" if math.isnan(low) else f"{value:.3g} ({low:.3g} to {high:.3g})"


def _index_lines(outcomes: Sequence[Outcome]) -> list[str]:
    heads = list(dict.fromkeys(i.index for o in outcomes for i in o.indices))
    table = [("outcome", "of", *heads, "n")]
    silent = []
    for outcome in outcomes:
        if not outcome.indices:
            silent.append(_head(outcome))
        rows: dict[str, dict[str, Index]] = {}
        for index in outcome.indices:
            rows.setdefault(index.of, {})[index.index] = index
        for of, found in rows.items():
            there = [found.get(head) for head in heads]
            cells = ("" if i is None else _between(i.value, i.low, i.high) for i in there)
            table.append((_head(outcome), of, *cells, str(next(iter(found.values())).n)))
    lines = markdown(table) if len(table) > 1 else []
    if silent:
        lines.append(
            f"No index of {'; '.join(silent)}: the same at all points, or missing at some."
        )
    return lines


def _point_rows(plan: Plan, outcomes: Sequence[Outcome]) -> Iterable[Sequence[Any]]:
    labels = [name for name, _ in plan.spots[0].labels]
    names = list(dict.fromkeys(name for spot in plan.spots for name, _ in spot.values))
    extra = [n for n in labels if n not in names]
    yield ("point", *extra, *names, "endpoint", "measure", "unit", "value", "low", "high", "n")
    for i, spot in enumerate(plan.spots):
        words, values = dict(spot.labels), dict(spot.values)
        head = (i, *(words[n] for n in extra), *(values.get(n, "") for n in names))
        for outcome in outcomes:
            yield (*head, outcome.endpoint, outcome.measure, outcome.unit, *outcome.at(i))


def _index_rows(outcomes: Sequence[Outcome]) -> Iterable[Sequence[Any]]:
    yield ("endpoint", "measure", "of", "index", "value", "low", "high", "n")
    for outcome in outcomes:
        for i in outcome.indices:
            yield (outcome.endpoint, outcome.measure, i.of, i.index, i.value, i.low, i.high, i.n)
