"""The figure of a sweep: outcomes along an axis, or what each parameter does to them, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mst_abm.clinic.designs import GRID, HYPERCUBE, Index
from mst_abm.report import palette
from mst_abm.report.style import SUMMARY_STYLE, save
from mst_abm.runs.sweep import Outcome, Plan

#: Panels beside each other; pairs and lines that are drawn at most.
WIDE, MOST_BARS, MOST_LINES = 3, 24, 8


def draw_sweep(plan: Plan, outcomes: Sequence[Outcome], path: Path) -> Path:
    """Draw a panel for every outcome, of a hypercube one for every parameter too.

    Raises
    ------
    RecordError
        If another file has that name.
    """
    with matplotlib.rc_context(SUMMARY_STYLE):
        if plan.sweep.method == GRID:
            figure = _panels(len(outcomes))
            for axes, outcome in zip(figure.axes, outcomes, strict=True):
                _along(axes, plan, outcome)
        elif plan.sweep.method == HYPERCUBE:
            figure = _panels(len(outcomes) * len(plan.sweep.axes), len(plan.sweep.axes))
            pairs = ((o, i) for o in outcomes for i in range(len(plan.sweep.axes)))
            for axes, (outcome, i) in zip(figure.axes, pairs, strict=True):
                _scattered(axes, plan, outcome, i)
        else:
            most = max((len({i.of for i in o.indices}) for o in outcomes), default=1)
            figure = _panels(len(outcomes), height=max(2.6, 0.28 * min(most, MOST_BARS) + 1.2))
            for axes, outcome in zip(figure.axes, outcomes, strict=True):
                _bars(axes, outcome)
        return save(figure, path, dpi=120)


def _panels(n: int, wide: int = WIDE, height: float = 2.9) -> Figure:
    columns = min(n, wide)
    rows = -(-n // columns)
    figure = Figure(figsize=(4.2 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for i in range(n):
        figure.add_subplot(rows, columns, i + 1)
    return figure


def _title(outcome: Outcome) -> str:
    unit = "" if outcome.unit == "1" else f", {outcome.unit}"
    return f"{outcome.endpoint}\n{outcome.measure}{unit}"


def _along(axes: Axes, plan: Plan, outcome: Outcome) -> None:
    """The axis with most values across; a line for each combination of the others."""
    names = [name for name, _ in plan.spots[0].labels]
    words = {name: list(dict.fromkeys(dict(s.labels)[name] for s in plan.spots)) for name in names}
    across = max(names, key=lambda name: (_numbers(words[name]) is not None, len(words[name])))
    numbers = _numbers(words[across])
    places = dict(
        zip(words[across], range(len(words[across])) if numbers is None else numbers, strict=True)
    )
    lines: dict[tuple[str, ...], list[int]] = {}
    for i, spot in enumerate(plan.spots):
        key = tuple(word for name, word in spot.labels if name != across)
        lines.setdefault(key, []).append(i)
    for k, (key, spots) in enumerate(list(lines.items())[:MOST_LINES]):
        x = np.array([places[dict(plan.spots[i].labels)[across]] for i in spots], float)
        found = np.array([outcome.at(i)[:3] for i in spots])
        style: Any = {
            "color": palette.colour(k),
            "marker": "o",
            "ms": 4,
            "capsize": 2,
            "elinewidth": 1,
        }
        style |= {"lw": 0 if numbers is None else 1}  # names have no order
        axes.errorbar(x, found[:, 0], _arms(*found.T), label=", ".join(key), **style)
    if numbers is None:
        axes.set_xticks(range(len(places)), list(places), fontsize=7, rotation=20, ha="right")
    elif min(numbers) > 0 and max(numbers) > 20 * min(numbers):
        axes.set_xscale("log")
    axes.set_xlabel(f"{across}{_unit(plan, across)}")
    if outcome.is_share:
        axes.set_ylim(-0.03, 1.03)
    if any(lines) and any(any(key) for key in lines):
        axes.legend()
    axes.set_title(_title(outcome))


def _unit(plan: Plan, name: str) -> str:
    units = {axis.name: axis.unit for axis in plan.sweep.axes}
    return f" ({units[name]})" if units.get(name) else ""


def _numbers(words: Sequence[str]) -> list[float] | None:
    """Words as numbers, of one unit that may stand behind each; None where they are none."""
    parts = [word.partition(" ") for word in words]
    try:
        numbers = [float(part[0]) for part in parts]
    except ValueError:
        return None
    return numbers if len({part[2] for part in parts}) == 1 else None


def _scattered(axes: Axes, plan: Plan, outcome: Outcome, axis: int) -> None:
    spots = range(len(plan.spots))
    words = [plan.spots[i].labels[axis][1] for i in spots]
    numbers = _numbers(words)
    values = [outcome.at(i)[0] for i in spots]
    if numbers is None:
        axes.plot(plan.shares[:, axis], values, ".", color=palette.colour(0))
    else:
        axes.plot(numbers, values, ".", color=palette.colour(0))
        if plan.sweep.axes[axis].distribution.kind in ("loguniform", "lognormal"):
            axes.set_xscale("log")
    name = plan.sweep.axes[axis].name
    axes.set_xlabel(f"{name}{_unit(plan, name)}")
    found = [i for i in outcome.indices if i.of == name]
    told = f"; rank correlation {found[0].value:.2f}" if found else ""
    axes.set_title(f"{_title(outcome)}{told}")


def _bars(axes: Axes, outcome: Outcome) -> None:
    """Indices of each parameter, those that have an interval, largest first of pairs."""
    with_interval = [i for i in outcome.indices if not np.isnan(i.low)]
    axes.set_title(_title(outcome))
    if not with_interval:
        axes.text(0.5, 0.5, "no index", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    names = list(dict.fromkeys(i.of for i in with_interval))
    kinds = list(dict.fromkeys(i.index for i in with_interval))
    if len(names) > MOST_BARS:
        size: dict[str, float] = {}
        for index in with_interval:
            size[index.of] = max(size.get(index.of, 0.0), abs(index.value))
        singles = [n for n in names if any(i.of == n and i.index != "pair" for i in with_interval)]
        rest = sorted(set(names) - set(singles), key=lambda n: (-size[n], n))
        names = [*singles, *rest][:MOST_BARS]
    for k, kind in enumerate(kinds):
        found = [i for i in with_interval if i.index == kind and i.of in names]
        y = np.array([names.index(i.of) for i in found]) + 0.2 * (k - (len(kinds) - 1) / 2)
        _interval_bars(axes, found, y, k)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0.0, color="grey", lw=0.8)
    axes.legend()


def _interval_bars(axes: Axes, found: Sequence[Index], y: np.ndarray, place: int) -> None:
    values = np.array([(i.value, i.low, i.high) for i in found])
    axes.errorbar(
        values[:, 0], y, xerr=_arms(*values.T), fmt="o", ms=4, capsize=2,
        color=palette.colour(place), label=found[0].index,
    )  # fmt: skip


def _arms(value: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Lengths of error bars, none where there is no interval."""
    return np.nan_to_num(np.clip([value - low, high - value], 0.0, None), nan=0.0, posinf=0.0)
