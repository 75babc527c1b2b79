"""Figures of a trial: survival with numbers at risk, incidence, recovery, donor cells, what killed the leukaemia.

One colour for each arm in all of them, bands of 95 % confidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mst_abm.clinic.intervals import mean_interval
from mst_abm.clinic.survival import (
    CENSORED,
    HAPPENED,
    RULED_OUT,
    Curve,
    Outcome,
    at_risk,
    columns_of,
    incidence_curve,
    outcome,
    survival_curve,
)
from mst_abm.records.arms import ArmRecords
from mst_abm.report import palette
from mst_abm.report.style import SUMMARY_STYLE, bare, save

MOST_RULES = 10
#: Quantiles of donor cells over patients, widest first, with the depth of their band.
FAN = ((0.025, 0.975, 0.12), (0.1, 0.9, 0.2), (0.25, 0.75, 0.3))
#: Donor share below which nothing is drawn: PCR sees no less.
FLOOR = 1e-5
TITLES = {
    "os": ("overall survival", "days from the start"),
    "dfs": ("disease-free survival", "days from the response"),
    "remission": ("complete remission (dashed: death before)", "days from the start"),
    "relapse": ("relapse (dashed: death in remission)", "days from the response"),
    "neutrophil_recovery": ("neutrophils back (0.5e9/L)", "days from the end of chemotherapy"),
    "platelet_recovery": ("platelets back (20e9/L)", "days from the end of chemotherapy"),
}


@dataclass(frozen=True)
class ArmToDraw:
    """An arm: endpoints float64 (patient,), its records, and the day on which the first course ends."""

    name: str
    columns: Mapping[str, np.ndarray]
    records: ArmRecords
    course_end_d: float

    def outcome(self, name: str) -> Outcome | None:
        """When it came to these patients; None where the arm knows nothing of it."""
        if not self.columns.keys() >= set(columns_of(name)):
            return None
        origin = self.course_end_d if name.endswith("_recovery") else 0.0
        found = outcome(self.columns, name, origin_d=origin)
        return found if found.n else None


def draw_trial(
    arms: Sequence[ArmToDraw], folder: Path, observed: Mapping[tuple[str, str], float]
) -> list[Path]:
    """Draw what the arms have; ``observed``: medians that a trial saw, by arm and endpoint. Returns the files."""
    with matplotlib.rc_context(SUMMARY_STYLE):
        figures = {
            "survival": _over_time(arms, ("os", "dfs"), observed, has_table=True),
            "incidence": _over_time(arms, ("remission", "relapse"), observed, has_table=True),
            "recovery": _over_time(arms, ("neutrophil_recovery", "platelet_recovery"), observed),
            "donor_cells": _donor_cells(arms),
            "leukaemia_lost": _lost(arms),
        }
        return [save(f, folder / f"{name}.png", dpi=150) for name, f in figures.items() if f]


def _panels(
    columns: int, height: float = 3.4, width: float = 4.6, *, below: float = 0.0
) -> tuple[Figure, np.ndarray]:
    """Axes (row, column); with ``below`` a second row of so many inches."""
    figure = Figure(figsize=(width * columns, height + below), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [height, below] if below else [1.0]
    return figure, figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)


# ---------------------------------------------------------------------- times to events


def _over_time(
    arms: Sequence[ArmToDraw],
    names: Sequence[str],
    observed: Mapping[tuple[str, str], float],
    *,
    has_table: bool = False,
) -> Figure | None:
    names = [name for name in names if any(arm.outcome(name) for arm in arms)]
    if not names:
        return None
    figure, panels = _panels(len(names), below=0.19 * (len(arms) + 2) if has_table else 0.0)
    for column, name in enumerate(names):
        there = [(i, found) for i, arm in enumerate(arms) if (found := arm.outcome(name))]
        _draw_outcome(panels[0, column], there, name)
        for i, arm in enumerate(arms):
            if (arm.name, name) in observed:
                style = {"color": palette.colour(i), "ms": 7, "mec": "#444444", "zorder": 5}
                panels[0, column].plot(observed[arm.name, name], 0.5, "v", **style)
        if has_table:
            _table(panels[1, column], panels[0, column], there)
    handles = [Line2D([], [], color=palette.colour(i), lw=1.6) for i in range(len(arms))]
    labels = [f"{arm.name} ({len(_first(arm))} patients)" for arm in arms]
    if any((arm.name, name) in observed for arm in arms for name in names):
        handles.append(Line2D([], [], color="#444444", marker="v", ls="none", ms=6))
        labels.append("median that the trial saw")
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def _first(arm: ArmToDraw) -> np.ndarray:
    return next(iter(arm.columns.values()))


def _draw_outcome(axes: Axes, there: Sequence[tuple[int, Outcome]], name: str) -> None:
    is_recovery = name.endswith("_recovery")
    end = max(float(item.times_d.max()) for _, item in there)
    if is_recovery:
        # a little beyond the last who came back
        back = [float(x.times_d[x.causes == HAPPENED].max(initial=0.0)) for _, x in there]
        end = 1.15 * max(back) if max(back) else end
    for i, item in there:
        colour = palette.colour(i)
        if item.is_competing:
            _steps(axes, incidence_curve(item), end, colour)
            if (item.causes == RULED_OUT).any() and not is_recovery:
                _steps(axes, incidence_curve(item, RULED_OUT), end, colour, is_other=True)
        else:
            curve = survival_curve(item)
            _steps(axes, curve, end, colour)
            _ticks(axes, item, curve, colour)
    title, label = TITLES[name]
    axes.set(
        title=title, xlabel=label, ylabel="share of patients", ylim=(-0.02, 1.02), xlim=(0, end)
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    bare(axes)


def _steps(axes: Axes, curve: Curve, end: float, colour: str, *, is_other: bool = False) -> None:
    days = np.append(curve.days, end)
    share, low, high = (np.append(x, x[-1]) for x in (curve.share, curve.low, curve.high))
    axes.step(days, share, where="post", color=colour, lw=1.6, ls="--" if is_other else "-")
    if not is_other:
        axes.fill_between(days, low, high, step="post", color=colour, alpha=0.15, lw=0)


def _ticks(axes: Axes, found: Outcome, curve: Curve, colour: str) -> None:
    """A stroke where somebody was lost sight of."""
    days = np.unique(found.times_d[found.causes == CENSORED])
    step = np.searchsorted(curve.days, days, side="right") - 1
    axes.plot(days, curve.share[step], "|", color=colour, ms=7, mew=1.2)


def _table(axes: Axes, above: Axes, there: Sequence[tuple[int, Outcome]]) -> None:
    """Numbers at risk under the days of the panel above, a line for each arm."""
    low, high = above.get_xlim()
    days = np.array([day for day in above.get_xticks() if low <= day <= high])
    axes.set(xlim=(low, high), ylim=(-len(there) - 0.5, 0.5))
    axes.axis("off")
    axes.text(low, 0, "at risk", fontsize=8, color="#444444", ha="left", va="center")
    for row, (i, found) in enumerate(there, start=1):
        for day, n in zip(days, at_risk(found, days), strict=True):
            axes.text(
                day, -row, str(n), fontsize=8, color=palette.colour(i), ha="center", va="center"
            )


# ---------------------------------------------------------------------- donor cells, leukaemia lost


def _donor_cells(arms: Sequence[ArmToDraw]) -> Figure | None:
    """Share of donor cells in blood: median and bands that hold 50, 80 and 95 % of the patients alive."""
    there = [
        (i, arm) for i, arm in enumerate(arms)
        if arm.records.donor_share.size and np.nanmax(arm.records.donor_share, initial=0.0) > 0
    ]  # fmt: skip
    if not there:
        return None
    figure, panels = _panels(len(there))
    for axes, (i, arm) in zip(panels[0], there, strict=True):
        share, days, colour = arm.records.donor_share, arm.records.days, palette.colour(i)
        seen = ~np.isnan(share).all(axis=0)
        share, days = np.maximum(share[:, seen], FLOOR), days[seen]
        for low, high, depth in FAN:
            bounds = np.nanquantile(share, (low, high), axis=0)
            label = f"{100 * (high - low):.0f} % of patients"
            axes.fill_between(days, *bounds, color=colour, alpha=depth, lw=0, label=label)
        axes.plot(days, np.nanmedian(share, axis=0), color=colour, lw=1.6, label="median")
        axes.axhline(1e-2, color="#666666", lw=0.8, ls=":")
        axes.text(days[-1], 1.15e-2, "1 %", ha="right", va="bottom", fontsize=8, color="#666666")
        axes.set_yscale("log")
        axes.set(
            title=f"{arm.name} ({len(share)} patients)",
            xlabel="days from the start", ylabel="donor share of leukocytes (1e-5 or more)",
            ylim=(FLOOR, 1.5), xlim=(0, days[-1]),
        )  # fmt: skip
        axes.legend(frameon=False, loc="upper right")
        bare(axes)
    return figure


def _lost(arms: Sequence[ArmToDraw]) -> Figure | None:
    """Which rules took the leukaemia cells: mean share over patients with its interval."""
    there = [(i, arm) for i, arm in enumerate(arms) if arm.records.lost]
    if not there:
        return None
    means: dict[str, float] = {}
    for _, arm in there:
        for rule, share in arm.records.lost.items():
            means[rule] = max(means.get(rule, 0.0), float(share.mean()))
    rules = sorted((r for r in means if means[r] > 0), key=lambda r: means[r])[-MOST_RULES:]
    if not rules:
        return None
    figure, panels = _panels(1, 1.2 + 0.2 * len(rules) * max(1.5, len(there)), 7.5)
    axes, apart = panels[0, 0], 0.7 / len(there)
    least = 10.0 ** np.floor(np.log10(min(means[rule] for rule in rules)))
    for k, (i, arm) in enumerate(there):
        shares = [arm.records.lost.get(rule, np.zeros(1)) for rule in rules]
        values = np.array([share.mean() for share in shares])
        bounds = np.nan_to_num(np.array([mean_interval(share) for share in shares]))
        places = np.arange(len(rules)) + (len(there) - 1 - 2 * k) * apart / 2
        seen = values > 0
        axes.plot(values[seen], places[seen], "o", ms=5, color=palette.colour(i), label=arm.name)
        axes.hlines(
            places[seen],
            np.maximum(bounds[seen, 0], least),
            bounds[seen, 1],
            color=palette.colour(i),
            lw=1.2,
        )
    axes.set_xscale("log")
    axes.set_yticks(range(len(rules)), rules)
    axes.set(
        xlabel="share of all leukaemia cells lost (mean of patients, 95 %)",
        ylim=(-0.6, len(rules) - 0.4),
    )
    axes.set_xlim(least, 1.0)
    axes.legend(frameon=False, loc="lower right")
    bare(axes)
    return figure
