"""A calibration as text, tables and a figure: which sets agree, what that says of each number, and what they predict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.clinic.fitting import NO_SHIFT, shrinkage
from mst_abm.clinic.targets import INTERVAL
from mst_abm.records.places import write_rows
from mst_abm.report.targets import markdown, observed, shown
from mst_abm.runs.calibrate import Calibrated
from mst_abm.scenario.sweep import Axis

SETS, ACCEPTED, NUMBERS, TARGETS, FIGURE = (
    "sets.csv", "accepted.csv", "numbers.csv", "targets.csv", "figure.png",
)  # fmt: skip
#: Of a histogram.
BINS = 12


def calibration_text(found: Calibrated) -> str:
    """What a calibration shows, in Markdown."""
    plan = found.calibration
    level = 0.05 / len(plan.fit)
    lines = [
        f"{plan.name}: {len(found.accepted)} of {len(found.sets)} parameter sets accepted; engine: {plan.engine}, "
        f"{plan.trial.patients} patients",
        f"Accepted: no tail of {len(plan.fit)} fitted targets below {level:.2g} (5 % together).",
    ]
    if found.on_cells:
        met = sum(item.is_accepted for item in found.on_cells)
        lines.append(
            f"Cells were run at {len(found.on_cells)} sets; {met} of these agree by themselves."
        )
    if not found.accepted:
        lines.append("No set agrees: widen a prior, or ask which targets contradict each other.")
    lines += ["", *markdown([(*_NUMBERS,), *(_words(row) for row in _numbers(found))])]
    lines += ["", *markdown([(*_TARGETS,), *_targets(found)])]
    lines.append(
        "Less prior: how much smaller the variance is than the prior's. Cells less companion: logits of shares, else the "
        "target's unit."
    )
    return "\n".join(lines) + "\n"


def write_calibration(found: Calibrated, folder: Path) -> list[Path]:
    """Write tables and figure into the folder of a calibration; their paths."""
    names = [name for name, _ in found.sets[0].set.values]
    plan = found.calibration
    head = ("set", "wave", "accepted", *names, *(f"{t.name} simulated" for t in plan.trial.targets))
    head = (*head, *(f"{t.name} tail" for t in plan.trial.targets))
    rows = [
        (
            item.set.number,
            item.wave,
            "yes" if item.is_accepted else "no",
            *(value for _, value in item.set.values),
            *(row.simulated for row in item.rows),
            *(row.tail for row in item.rows),
        )
        for item in found.sets
    ]
    accepted = [tuple(value for _, value in item.set.values) for item in found.accepted]
    return [
        write_rows(folder / SETS, [head, *rows]),
        write_rows(folder / ACCEPTED, [names, *accepted]),
        write_rows(folder / NUMBERS, [_NUMBERS, *_numbers(found)]),
        write_rows(folder / TARGETS, [_TARGETS, *_targets(found)]),
        draw_calibration(found, folder / FIGURE),
    ]


_NUMBERS = (
    "number", "unit", "prior low", "prior high", "accepted low", "median", "accepted high",
    "less prior", "from", "to",
)  # fmt: skip


def _numbers(found: Calibrated) -> Iterable[tuple[Any, ...]]:
    for i, axis in enumerate(found.calibration.free):
        shares = np.array([item.set.shares[i] for item in found.accepted])
        at = [*INTERVAL[:1], 0.5, *INTERVAL[1:]]
        inner = np.quantile(shares, at) if len(shares) else np.full(3, np.nan)
        prior = [_quantile(axis, share) for share in INTERVAL]
        yield (axis.name, axis.unit, *prior, *(_quantile(axis, s) for s in inner), *shrinkage(shares))  # fmt: skip


def _quantile(axis: Axis, share: float) -> float:
    return float(axis.distribution.quantile(float(share))) if np.isfinite(share) else np.nan


def _words(row: Sequence[Any]) -> tuple[str, ...]:
    return tuple(
        cell if isinstance(cell, str) else "-" if np.isnan(cell) else f"{cell:.3g}" for cell in row
    )


_TARGETS = (
    "target", "arm", "endpoint", "observed", "accepted sets (95 %)", "met in", "fitted",
    "cells less companion",
)  # fmt: skip


def _targets(found: Calibrated) -> Iterable[tuple[str, ...]]:
    plan = found.calibration
    for i, target in enumerate(plan.trial.targets):
        rows = [item.rows[i] for item in found.accepted]
        band, met = "-", "-"
        if rows:
            values = np.array([row.simulated for row in rows])
            low, high = np.quantile(values, INTERVAL, method="closest_observation")
            band = f"{shown(target, low)} to {shown(target, high)}"
            met = f"{np.mean([row.tail >= 0.05 for row in rows]):.0%}"
        shift = found.shifts[i]
        told = "" if shift is NO_SHIFT else f"{shift.mean:.2g} (sd {shift.sd:.2g}, n = {shift.n})"
        fitted = "yes" if target.name in plan.fit else "predicted"
        yield (target.name, target.arm, target.endpoint, observed(target), band, met, fitted, told)


def draw_calibration(found: Calibrated, path: Path) -> Path:
    """Every set as a point for each pair of numbers, the accepted ones on top; shares along the diagonal.

    Raises
    ------
    RecordError
        If another file has that name.
    """
    import matplotlib

    from mst_abm.report.style import SUMMARY_STYLE, bare, save

    axes_of = found.calibration.free
    n = len(axes_of)
    with matplotlib.rc_context(SUMMARY_STYLE):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2.3 * n + 1.2, 2.3 * n + 0.6), layout="constrained")
        panels = np.atleast_2d(figure.subplots(n, n, squeeze=False))
        is_in = np.array([item.is_accepted for item in found.sets])
        values = [
            np.array([_quantile(axis, item.set.shares[i]) for item in found.sets])
            for i, axis in enumerate(axes_of)
        ]
        for row in range(n):
            for column in range(n):
                panel = panels[row, column]
                if column > row:
                    panel.set_visible(False)
                    continue
                _panel(panel, axes_of, values, is_in, row, column)
                bare(panel)
                if row == n - 1:
                    panel.set_xlabel(_label(axes_of[column]))
                if column == 0:
                    panel.set_ylabel("sets" if row == 0 else _label(axes_of[row]))
        figure.suptitle(f"{is_in.sum()} of {len(is_in)} sets agree with the fitted targets")
    return save(figure, path, 110)


def _panel(
    panel: Any,
    axes_of: Sequence[Axis],
    values: Sequence[np.ndarray],
    is_in: np.ndarray,
    row: int,
    column: int,
) -> None:
    log = [axis.distribution.kind.startswith("log") for axis in axes_of]
    if log[column]:
        panel.set_xscale("log")
    x = values[column]
    if row == column:
        low, high = float(x.min()), float(x.max())
        if low < high:
            space = np.geomspace if log[column] and low > 0.0 else np.linspace
            bins = space(low, high, BINS + 1)
            panel.hist(x, bins, color="0.85")
            panel.hist(x[is_in], bins, color="tab:blue")
        return
    if log[row]:
        panel.set_yscale("log")
    panel.plot(x[~is_in], values[row][~is_in], ".", ms=3, color="0.75")
    panel.plot(x[is_in], values[row][is_in], ".", ms=4, color="tab:blue")


def _label(axis: Axis) -> str:
    return f"{axis.name}, {axis.unit}" if axis.unit else axis.name
