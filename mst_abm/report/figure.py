"""One figure of a run: time courses of cells, signals and events, and a slice of the lattice."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mst_abm.clinic.laboratory import lacking
from mst_abm.errors import RecordError
from mst_abm.records.reader import Run, Snapshot
from mst_abm.report.groups import Group, fatal_rules, groups_of

MOST_LINES = 7
MOST_RULES = 8
COLUMNS = 3
# inches: a panel, and in it left, bottom, width, height of the axes; the rest is for the legend.
# Fixed places take a third of the time of a layout that measures every label.
PANEL = (4.7, 2.9)
AXES = (0.65, 0.5, 2.45, 2.1)
HEAD = 0.4
LINE_STYLES = ("-", "--", ":", "-.")
# Okabe and Ito's eight without black, then tints that stay apart beside them
PALETTE = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B",
    "#7F7F00", "#9467BD", "#17BECF", "#B22222", "#556B2F", "#FF9896", "#393B79",
)  # fmt: skip
ANATOMY = ("#4d4d4d", "#8c8c8c", "#bdbdbd", "#d9d9d9")
#: Says in the file of a figure who drew it.
MARK = "drawn by mst_abm"
Panel = Callable[[Axes], None]


def is_figure(path: Path) -> bool:
    """Whether a file was drawn here: nothing else is ever replaced."""
    return MARK.encode() in path.read_bytes()


def draw(run: Run, path: str | os.PathLike[str]) -> None:
    """Draw a run into a PNG file (or what the ending of the name says).

    Raises
    ------
    RecordError
        If the run holds no record or the figure cannot be written.
    """
    if run.n_records == 0:
        raise RecordError(f"{run.path}: holds no records yet, there is nothing to draw.")
    panels = [
        *_observed_panels(run),
        *_cell_panels(run),
        *_reservoir_panels(run),
        *_signal_panels(run),
        *_event_panels(run),
        *_images(run),
    ]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context({"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 7}):
        width, height = PANEL[0] * columns, PANEL[1] * rows + HEAD
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        for i, panel in enumerate(panels):
            left = PANEL[0] * (i % columns) + AXES[0]
            bottom = PANEL[1] * (rows - 1 - i // columns) + AXES[1]
            place = (left / width, bottom / height, AXES[2] / width, AXES[3] / height)
            panel(figure.add_axes(place))
        figure.text(0.5, 1 - 0.5 * HEAD / height, _title(run), ha="center", va="center", size=10)
        try:
            figure.savefig(path, dpi=130, metadata=_metadata(Path(path).suffix.lower()))
        except (OSError, ValueError) as error:
            raise RecordError(
                f"{Path(path)}: the figure could not be written ({error})."
            ) from error


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


def _cell_panels(run: Run) -> list[Panel]:
    panels: list[Panel] = []
    shares = dict(zip(run.compartment_names, run.compartments["share"], strict=True))
    for compartment, groups in groups_of(run).items():
        share = float(shares[compartment])
        title = compartment if share == 1 else f"{compartment} ({share:.2g} of the body)"
        for part in _parts(groups, [group.type for group in groups]):
            panels.append(partial(_draw_cells, run=run, groups=part, title=title))
    return panels


def _parts(items: Sequence, families: Sequence) -> list[Sequence]:
    """Even parts of about MOST_LINES, in order; those of one family stay together."""
    n = -(-len(items) // MOST_LINES)
    ends = [len(items) * i // n for i in range(1, n)]
    for i, end in enumerate(ends):
        while end > 0 and families[end] == families[end - 1]:
            end -= 1
        ends[i] = end
    cuts = [0, *ends, len(items)]
    return [items[a:b] for a, b in pairwise(cuts) if b > a]


def _draw_cells(axes: Axes, run: Run, groups: Sequence[Group], title: str) -> None:
    colours = _colours(run)
    seen: dict[str, int] = {}
    for group in groups:
        nth = seen.setdefault(group.type, 0)
        seen[group.type] += 1
        style = {"color": colours[group.type], "ls": LINE_STYLES[nth % len(LINE_STYLES)]}
        _line(axes, run, group.counts, group.label, style)
    axes.set_yscale("symlog", linthresh=1, linscale=0.3)
    axes.set_ylim(bottom=0)
    _finish(axes, run, title, "simulated cells")


def _observed_panels(run: Run) -> list[Panel]:
    if not len(run.observed_times_h):
        return []
    days = run.observed_times_h
    courses = run.observed
    absent = lacking(courses)
    parts = _by_unit({n: unit for n, unit in run.observed_units.items() if n not in absent})
    return [
        partial(_draw_levels, run=run, names=names, courses=courses, times_h=days,
                title="as a laboratory reports", unit=unit)
        for names, unit in parts
    ]  # fmt: skip


def _reservoir_panels(run: Run) -> list[Panel]:
    """Classes that have a reservoir: cells of the body, in the sample or not."""
    courses = {str(n): run.body_cells(i) for i, n in enumerate(run.reservoirs.get("reservoir", ()))}
    return [
        partial(_draw_levels, run=run, names=part, courses=courses, times_h=run.times_h,
                title="rare classes, in the sample or in reservoirs", unit="cells of the body")
        for part in _parts(list(courses), list(courses))
    ]  # fmt: skip


def _signal_panels(run: Run) -> list[Panel]:
    courses = run.signals
    return [
        partial(_draw_levels, run=run, names=names, courses=courses, times_h=run.times_h,
                title="signals", unit=unit)
        for names, unit in _by_unit(run.signal_units)
    ]  # fmt: skip


def _by_unit(units: dict[str, str]) -> list[tuple[Sequence[str], str]]:
    names: dict[str, list[str]] = {}
    for name, unit in units.items():
        names.setdefault(unit, []).append(name)
    return [(part, unit) for unit, of in names.items() for part in _parts(of, of)]


def _draw_levels(
    axes: Axes,
    run: Run,
    names: Sequence[str],
    courses: dict[str, np.ndarray],
    times_h: np.ndarray,
    title: str,
    unit: str,
) -> None:
    for i, name in enumerate(names):
        style = {"color": PALETTE[i % len(PALETTE)]}
        _line(axes, run, courses[name], name, style, times_h)
    values = np.concatenate([courses[name].ravel() for name in names])
    positive = values[values > 0]
    if len(positive) and positive.max() > 100 * np.median(positive):
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(positive.min(), positive.max() * 1e-6) / 2)
    label = "level" if unit in ("1", "", "dimensionless") else unit
    _finish(axes, run, title, label)


def _event_panels(run: Run) -> list[Panel]:
    """Deaths by the rule that caused them, and the rules that acted most."""
    fatal = fatal_rules(run)
    totals = {key[0]: n.cumsum(axis=1) for key, n in run.events_by("rule").items() if n.any()}
    ranked = sorted(totals.items(), key=lambda item: -item[1][:, -1].mean())
    deaths = [item for item in ranked if item[0] in fatal][:MOST_RULES]
    others = [item for item in ranked if item[0] not in fatal][:MOST_RULES]
    titled = (("deaths by rule", deaths), ("other events by rule", others))
    return [
        partial(_draw_events, run=run, rules=items, title=title) for title, items in titled if items
    ]


def _draw_events(axes: Axes, run: Run, rules: Sequence[tuple[str, np.ndarray]], title: str) -> None:
    for i, (rule, events) in enumerate(rules):
        _line(axes, run, events, rule, {"color": PALETTE[i % len(PALETTE)]})
    axes.set_yscale("symlog", linthresh=1, linscale=0.3)
    axes.set_ylim(bottom=0)
    _finish(axes, run, title, "events since the start")


def _line(
    axes: Axes,
    run: Run,
    values: np.ndarray,
    label: str,
    style: dict,
    times_h: np.ndarray | None = None,
) -> None:
    """Median over replicates, with a band when there are several."""
    days = (run.times_h if times_h is None else times_h) / _time_unit(run)[0]
    axes.plot(days, np.median(values, axis=0), label=fill(label, 24), lw=1.3, **style)
    if len(values) > 1:
        low, high = np.quantile(values, (0.05, 0.95), axis=0)
        axes.fill_between(days, low, high, color=style["color"], alpha=0.15, lw=0)


def _time_unit(run: Run) -> tuple[float, str]:
    return (24.0, "day") if run.times_h[-1] >= 48 else (1.0, "hour")


def _finish(axes: Axes, run: Run, title: str, label: str) -> None:
    scale, unit = _time_unit(run)
    end = max(float(run.times_h[-1]), float(run.times_h[0]) + 1e-9) / scale
    for start, duration in zip(run.given["start"], run.given["duration"], strict=True):
        first = float(start) / scale
        if first <= end:
            width = max(float(duration) / scale, 0.004 * end)
            axes.axvspan(first, min(first + width, end), color="#999999", alpha=0.25, lw=0)
    axes.set(title=title, xlabel=unit, ylabel=label)
    axes.set_xlim(float(run.times_h[0]) / scale, end)
    axes.grid(alpha=0.25, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.6)


def _colours(run: Run) -> dict[str, str]:
    """One colour per type, the same in every panel; greys for anatomy."""
    static = run.species["is_static"].astype(bool)
    types = dict.fromkeys(run.species["type"][1:][~static[1:]])
    anatomy = dict.fromkeys(run.species["type"][1:][static[1:]])
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(types)}
    return colours | {name: ANATOMY[i % len(ANATOMY)] for i, name in enumerate(anatomy)}


# ---------------------------------------------------------------------- the lattice


def _images(run: Run) -> list[Panel]:
    """First and last snapshot of the first patch of every lattice."""
    times = run.frames["time"]
    first_replicate = run.frames["replicate"] == (run.replicates[0] if len(times) else 0)
    frames = np.flatnonzero(first_replicate)
    if not len(frames):
        return []
    panels: list[Panel] = []
    for row, kind in enumerate(run.compartments["kind"]):
        if kind != "lattice":
            continue
        for frame in dict.fromkeys((int(frames[0]), int(frames[-1]))):
            panels.append(partial(_draw_slice, run=run, row=row, frame=frame))
    return panels


def _draw_slice(axes: Axes, run: Run, row: int, frame: int) -> None:
    snapshot = run.snapshot(frame)
    shape = run.compartments["shape"][row]
    types = dict.fromkeys(run.species["type"])
    number = {name: i for i, name in enumerate(types)}
    grid = _slice(snapshot, row, shape, np.array([number[t] for t in run.species["type"]]))
    colours = _colours(run)
    palette = ["#ffffff", *(colours[name] for name in list(types)[1:])]
    spacing = float(run.compartments["spacing"][row])
    extent = (0, shape[0] * spacing, 0, shape[1] * spacing)
    axes.imshow(
        grid.T,
        origin="lower",
        interpolation="nearest",
        cmap=ListedColormap(palette),
        vmin=-0.5,
        vmax=len(palette) - 0.5,
        extent=extent,
    )
    present = [i for i in range(len(types)) if (grid == i).any()]
    names = ["vacant", *list(types)[1:]]
    handles = [
        Patch(facecolor=palette[i], edgecolor="#888888", lw=0.4, label=names[i]) for i in present
    ]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    scale, unit = _time_unit(run)
    where = f", slice {shape[2] // 2 + 1} of {shape[2]}" if shape[2] > 1 else ""
    compartment = run.compartment_names[row]
    axes.set_title(f"{compartment}, {unit} {snapshot.time_h / scale:.4g}{where}")
    axes.set(xlabel="um", ylabel="um", anchor="W")


def _slice(snapshot: Snapshot, row: int, shape: np.ndarray, type_of: np.ndarray) -> np.ndarray:
    """The middle slice of the first patch: type number per site, 0 vacant."""
    columns = snapshot.columns
    inside = columns["compartment"] == row
    first = columns["patch"][inside].min(initial=255)
    chosen = inside & (columns["patch"] == first) & (columns["z"] == shape[2] // 2)
    grid = np.zeros((int(shape[0]), int(shape[1])), int)
    grid[columns["x"][chosen], columns["y"][chosen]] = type_of[columns["species"][chosen]]
    return grid
