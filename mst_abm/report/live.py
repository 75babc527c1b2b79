"""Pictures that answer to the mouse, as plain data for plotly.js: drawn in the browser, on screen only.

Text is left as it is; the script of the page escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mst_abm.records.reader import Run
from mst_abm.report.palette import colours_of
from mst_abm.report.panels import Panel, time_unit
from mst_abm.report.space import Points
from mst_abm.report.stills import points_label

DASHES = ("solid", "dash", "dot", "dashdot")
#: More points of a line than a screen has columns add nothing but bytes.
MOST_TIMES = 600
#: Of a decade: the height of the linear part, from 0 to 1, as in the figure.
LINEAR = 0.3
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def panel_data(panel: Panel, given: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A panel: lines with true values beside those that are drawn, axis, what was given."""
    scale, unit = time_unit(panel.times_h)
    kept = _kept(len(panel.times_h))
    days = panel.times_h[kept] / scale
    lines = []
    for line in panel.lines:
        middle = line.middle[kept]
        entry: dict[str, Any] = {
            "name": line.label,
            "colour": line.colour,
            "dash": DASHES[line.dash % len(DASHES)],
            "values": _short(middle),
            "y": _short(_height(middle, panel)),
        }
        if line.band is not None:
            # a band that goes down to nothing ends at the edge of a logarithmic axis
            floor = panel.limits[0] if panel.scale == "log" else -np.inf
            bands = (np.maximum(edge[kept], floor) for edge in line.band)
            entry["low"], entry["high"] = (_short(_height(edge, panel)) for edge in bands)
        lines.append(entry)
    ticks, words = _ticks(panel)
    end = float(days[-1])
    blocks = [
        [a / scale, min(max((a + b) / scale, a / scale + 0.004 * end), end)]
        for a, b in given
        if a / scale <= end
    ]
    return {
        "x": _short(days),
        "unit": unit,
        "label": panel.unit,
        "lines": lines,
        "range": _range(panel),
        "ticks": ticks,
        "words": words,
        "given": blocks,
    }


def points_data(run: Run, points: Sequence[Points]) -> list[dict[str, Any]]:
    """Cells of a view by type."""
    colours = colours_of(run)
    still = set(map(str, run.species["type"][run.species["is_static"].astype(bool)]))
    return [
        {
            "name": points_label(part),
            "colour": colours[part.type],
            "size": 1.5 if part.type in still else 2.5,
            **{axis: part.places[:, i].tolist() for i, axis in enumerate("xyz")},
        }
        for part in points
    ]


def _kept(n: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, MOST_TIMES)).round().astype(int))


def _height(values: np.ndarray, panel: Panel) -> np.ndarray:
    """Where a value stands on the axis: decades where it is logarithmic, a straight foot below 1 of counts."""
    values = np.asarray(values, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if panel.scale == "symlog":
            return np.where(values <= 1, LINEAR * values, LINEAR + np.log10(values))
        if panel.scale == "log":
            return np.where(values > 0, np.log10(values), np.nan)
    return values


def _ticks(panel: Panel) -> tuple[list[float], list[str]]:
    """Places and words of the axis; none: as plotly likes."""
    if panel.scale == "linear":
        return [], []
    if panel.scale == "log":
        low, high = np.log10(panel.limits)
        decades = np.arange(np.ceil(low), np.floor(high) + 1)
        places, values = decades, 10.0**decades
    else:
        top = max(float(line.values.max(initial=1)) for line in panel.lines)
        decades = np.arange(0, np.ceil(np.log10(max(top, 10))) + 1)
        places, values = LINEAR + decades, 10.0**decades
        places, values = np.append(0.0, places), np.append(0.0, values)
    step = max(1, len(places) // 8)
    return places[::step].tolist(), [_power(v) for v in values[::step]]


def _range(panel: Panel) -> list[float] | None:
    """As in the figure, where counts begin at zero; None: as plotly likes."""
    if panel.scale == "linear":
        return None
    if panel.scale == "log":
        low, high = np.log10(panel.limits)
        return [float(low), float(high)]
    tops = [line.values if line.band is None else line.band[1] for line in panel.lines]
    top = max(float(np.max(values, initial=1.0)) for values in tops)
    return [0.0, float(1.05 * _height(np.array(top), panel))]


def _power(value: float) -> str:
    """A power of ten as on paper."""
    if value == 0 or 0.01 <= value < 1e4:
        return f"{value:g}"
    return "10" + f"{round(np.log10(value))}".translate(_RAISED)


def _short(values: np.ndarray) -> list[float | None]:
    """Five digits are more than a screen shows; what is no number is a gap."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in values.tolist()]
