"""Still pictures of a page as data addresses: what is printed, and what is seen without scripts.

The same input gives the same bytes.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mst_abm.records.reader import Run
from mst_abm.report.figure import draw_panel, draw_slice, slice_key
from mst_abm.report.palette import colours_of
from mst_abm.report.panels import Panel
from mst_abm.report.space import Points, Slice
from mst_abm.report.style import STYLE

WIDTH = 7.2
PANEL_HEIGHT = 2.7
PANEL_AXES = (0.095, 0.17, 0.60, 0.73)
SLICE_SIDE = 2.3
_STYLE = STYLE | {"svg.hashsalt": "mst_abm"}


def panel_still(panel: Panel, given: Sequence[tuple[float, float]]) -> str:
    """A panel with its legend, as SVG."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, PANEL_HEIGHT))
        axes = figure.add_axes(PANEL_AXES)
        draw_panel(axes, panel, given)
        axes.set_title("")
        content = BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return _address("image/svg+xml", content)


def slices_still(run: Run, slices: Sequence[Slice]) -> str:
    """Slices of one lattice at several times with one key below, as PNG."""
    columns = min(3, len(slices))
    rows = -(-len(slices) // columns)
    numbers = np.unique(np.concatenate([np.unique(shown.grid) for shown in slices]))
    with matplotlib.rc_context(_STYLE):
        handles = slice_key(run, numbers)
        key_rows = -(-len(handles) // 6)
        width, foot = WIDTH, 0.2 * key_rows + 0.1
        side = min(WIDTH / columns, 1.5 * SLICE_SIDE)
        height = side * rows + foot
        figure = Figure(figsize=(width, height))
        for i, shown in enumerate(slices):
            column, row = i % columns, i // columns
            left = column * side + 0.45
            bottom = height - (row + 1) * side + 0.42
            place = ((left) / width, bottom / height, (side - 0.6) / width, (side - 0.7) / height)
            axes = figure.add_axes(place)
            draw_slice(axes, shown, run, has_key=False)
            axes.set_title(axes.get_title().removeprefix(f"{shown.compartment}, ").split(",")[0])
            axes.set_anchor("C")
        figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0.04, 0.0), ncol=6, frameon=False
        )
        return _png(figure)


def points_still(run: Run, points: Sequence[Points]) -> str:
    """A view of one patch from a corner, as PNG."""
    colours = colours_of(run)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH, 4.2))
        axes: Any = figure.add_axes((0.0, 0.02, 0.7, 0.96), projection="3d")
        for part in points:
            x, y, z = part.places.T
            axes.scatter(
                x,
                y,
                zs=z,
                s=4,
                color=colours[part.type],
                label=fill(points_label(part), 26),
                depthshade=False,
                lw=0,
            )
        axes.set(xlabel="x, um", ylabel="y, um", zlabel="z, um")
        everything = np.concatenate([part.places for part in points])
        axes.set_box_aspect(np.ptp(everything, axis=0) + 1e-9, zoom=0.88)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.08, 0.5), markerscale=2.5)
        return _png(figure)


def points_label(points: Points) -> str:
    """Type of the cells, and how many of them are left out."""
    return points.type if points.one_in == 1 else f"{points.type} (1 of {points.one_in} shown)"


def _png(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return _address("image/png", content)


def _address(kind: str, content: BytesIO) -> str:
    return f"data:{kind};base64,{b64encode(content.getvalue()).decode()}"
