"""One figure of a run: time courses of cells, signals and events, and a slice of the lattice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mst_abm.errors import RecordError
from mst_abm.records.places import MARK
from mst_abm.records.reader import Run
from mst_abm.report.palette import VACANT, colours_of
from mst_abm.report.panels import Panel, panels_of, time_unit
from mst_abm.report.space import Slice, frames_of, lattices_of, slice_of, types_of
from mst_abm.report.style import STYLE, bare

COLUMNS = 3
# inches: a panel, and in it left, bottom, width, height of the axes; the rest is for the legend.
# Fixed places take a third of the time of a layout that measures every label.
PANEL = (4.7, 2.9)
AXES = (0.65, 0.5, 2.45, 2.1)
HEAD = 0.4
LINE_STYLES = ("-", "--", ":", "-.")
Draw = Callable[[Axes], None]


def draw(run: Run, path: str | os.PathLike[str]) -> None:
    """Draw a run into a PNG file (or what the ending of the name says).

    Raises
    ------
    RecordError
        If the run holds no record or the figure cannot be written.
    """
    if run.n_records == 0:
        raise RecordError(f"{run.path}: holds no records yet, there is nothing to draw.")
    given = given_times(run)
    panels: list[Draw] = [partial(draw_panel, panel=panel, given=given) for panel in panels_of(run)]
    panels += _images(run)
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(STYLE):
        width, height = PANEL[0] * columns, PANEL[1] * rows + HEAD
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        for i, panel in enumerate(panels):
            left = PANEL[0] * (i % columns) + AXES[0]
            bottom = PANEL[1] * (rows - 1 - i // columns) + AXES[1]
            place = (left / width, bottom / height, AXES[2] / width, AXES[3] / height)
            panel(figure.add_axes(place))
        figure.text(
            0.5, 1 - 0.5 * HEAD / height, plain(_title(run)), ha="center", va="center", size=10
        )
        try:
            figure.savefig(path, dpi=130, metadata=_metadata(Path(path).suffix.lower()))
        except (OSError, ValueError) as error:
            raise RecordError(
                f"{Path(path)}: the figure could not be written ({error})."
            ) from error


def plain(text: str) -> str:
    """A name as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def _metadata(ending: str) -> dict[str, str] | None:
    """The mark in the words of a kind of file; formats of photographs take none."""
    if ending in ("", ".png"):
        return {"Software": MARK}
    return {"Creator": MARK} if ending in (".pdf", ".svg", ".eps", ".ps") else None


def _title(run: Run) -> str:
    n = len(run.replicates)
    replicates = "" if n == 1 else f", {n} replicates: median and 5 to 95 %"
    unfinished = "" if run.status == "complete" else f" ({run.status})"
    given = "; grey: doses and infusions" if len(run.given["name"]) else ""
    return f"{run.name}{unfinished}, seed {run.attributes['seed']}{replicates}{given}"


# ---------------------------------------------------------------------- time courses


def draw_panel(axes: Axes, panel: Panel, given: Sequence[tuple[float, float]]) -> None:
    """Median over replicates of every line, with a band when there are several; ``given``: start and duration, h."""
    scale, unit = time_unit(panel.times_h)
    days = panel.times_h / scale
    for line in panel.lines:
        style = LINE_STYLES[line.dash % len(LINE_STYLES)]
        axes.plot(
            days,
            line.middle,
            label=plain(fill(line.label, 24)),
            lw=1.3,
            color=line.colour,
            ls=style,
        )
        if line.band is not None:
            axes.fill_between(days, *line.band, color=line.colour, alpha=0.15, lw=0)
    if panel.scale == "symlog":
        axes.set_yscale("symlog", linthresh=1, linscale=0.3)
        axes.set_ylim(bottom=0)
    elif panel.scale == "log":
        axes.set_yscale("log")
        axes.set_ylim(panel.limits)
    first = float(days[0])
    end = max(float(days[-1]), first + 1e-9)
    for start, duration in given:
        begin = start / scale
        if begin <= end:
            width = max(duration / scale, 0.004 * end)
            axes.axvspan(begin, min(begin + width, end), color="#999999", alpha=0.25, lw=0)
    axes.set(title=plain(panel.title), xlabel=unit, ylabel=plain(panel.unit))
    axes.set_xlim(first, end)
    bare(axes)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.6)


def given_times(run: Run) -> list[tuple[float, float]]:
    """Start and duration of what was given, h."""
    starts, durations = run.given["start"], run.given["duration"]
    return [(float(a), float(b)) for a, b in zip(starts, durations, strict=True)]


# ---------------------------------------------------------------------- the lattice


def _images(run: Run) -> list[Draw]:
    """First and last snapshot of the first patch of every lattice."""
    return [
        partial(draw_slice, shown=slice_of(run, run.snapshot(frame), row), run=run, has_key=True)
        for row in lattices_of(run)
        for frame in frames_of(run, 2)
    ]


def draw_slice(axes: Axes, shown: Slice, run: Run, *, has_key: bool) -> None:
    """A slice in the colours of the types; ``has_key``: with their names beside it."""
    palette = slice_colours(run)
    side, other = shown.grid.shape
    axes.imshow(
        shown.grid.T,
        origin="lower",
        interpolation="nearest",
        cmap=ListedColormap(palette),
        vmin=-0.5,
        vmax=len(palette) - 0.5,
        extent=(0, side * shown.spacing, 0, other * shown.spacing),
    )
    if has_key:
        handles = slice_key(run, np.unique(shown.grid))
        axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    scale, unit = time_unit(run.times_h)
    where = f", slice {shown.plane} of {shown.planes}" if shown.planes > 1 else ""
    axes.set_title(f"{shown.compartment}, {unit} {shown.time_h / scale:.4g}{where}")
    axes.set(xlabel="um", ylabel="um", anchor="W")


def slice_colours(run: Run) -> list[str]:
    """Of the numbers of a slice."""
    colours = colours_of(run)
    return [VACANT, *(colours[name] for name in types_of(run)[1:])]


def slice_key(run: Run, numbers: Iterable[int]) -> list[Patch]:
    """Entries of a legend for numbers of slices."""
    palette, names = slice_colours(run), ["vacant", *types_of(run)[1:]]
    return [
        Patch(facecolor=palette[i], edgecolor="#888888", lw=0.4, label=names[i]) for i in numbers
    ]
