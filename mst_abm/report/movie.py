"""A movie of a run: a plane of a lattice at every snapshot, beside the time courses of its cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.records.reader import Run
from mst_abm.report.figure import (
    draw_panel,
    draw_slice,
    given_times,
    plain,
    slice_key,
)
from mst_abm.report.panels import CELLS, Panel, panels_of, time_unit
from mst_abm.report.space import lattices_of, slice_of
from mst_abm.report.style import STYLE

ENDINGS = (".mp4", ".gif")
#: Inches and dots: sides of whole blocks of 16 pixels, which encoders ask for.
SIZE, DPI = (9.6, 5.6), 120
_PIXELS = (int(SIZE[0] * DPI), int(SIZE[1] * DPI))


def film(run: Run, path: Path, *, compartment: str | None = None, per_second: float = 5.0) -> int:
    """Write every snapshot of the first replicate that has some; returns how many frames there are.

    ``path`` ends in .mp4 or .gif; ``compartment``: a lattice, the first unless named.

    Raises
    ------
    RecordError
        If there is no snapshot or lattice, a library is missing, or the ending is another.
    """
    if path.suffix.lower() not in ENDINGS:
        raise RecordError(f"{path}: expected a name that ends in {' or '.join(ENDINGS)}.")
    frames = run.frames_of()
    row = _lattice(run, compartment)
    pictures = _pictures(run, frames, row)
    with written(path) as unfinished:
        if path.suffix.lower() == ".gif":
            _write_gif(unfinished, pictures, per_second)
        else:
            _write_mp4(unfinished, pictures, per_second)
    return len(frames)


def _lattice(run: Run, compartment: str | None) -> int:
    names = {run.compartment_names[row]: row for row in lattices_of(run)}
    if not names:
        raise RecordError(f"{run.path}: has no lattice; cells that mix have no places to show.")
    if compartment is None:
        return next(iter(names.values()))
    if compartment not in names:
        raise RecordError(
            f"{run.path}: expected a lattice ({', '.join(names)}), got '{compartment}'."
        )
    return names[compartment]


def _pictures(run: Run, frames: np.ndarray, row: int) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3), one for each snapshot; what stays is drawn once."""
    slices = [slice_of(run, run.snapshot(int(frame)), row) for frame in frames]
    scale, unit = time_unit(run.times_h)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        left = figure.add_axes((0.06, 0.24, 0.40, 0.66))
        draw_slice(left, slices[0], run, has_key=False)
        image = left.images[0]
        right = figure.add_axes((0.56, 0.24, 0.41, 0.66))
        draw_panel(right, _courses(run, row), given_times(run))
        for legend in filter(None, [right.get_legend()]):
            legend.remove()  # the key below has the same colours
        hand = right.axvline(0.0, color="#1b1f24", lw=1)
        shown = np.unique(np.concatenate([np.unique(s.grid) for s in slices]))
        figure.legend(handles=slice_key(run, shown), loc="lower center", ncol=8, frameon=False)
        title = figure.text(0.5, 0.955, "", ha="center", va="center", size=11)
        where = left.get_title().partition(",")[0]
        plane = f"plane {slices[0].plane} of {slices[0].planes}, " if slices[0].planes > 1 else ""
        left.set_title(f"{where}, {plane}patch {slices[0].patch + 1}")
        for frame, now in zip(frames, slices, strict=True):
            image.set_data(now.grid.T)
            at = float(run.frames["time"][frame]) / scale
            hand.set_xdata([at, at])
            title.set_text(plain(f"{run.name}, {unit} {at:.4g}"))
            canvas.draw()
            yield np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _courses(run: Run, row: int) -> Panel:
    """All cells of a compartment in one panel."""
    name = run.compartment_names[row]
    mine = [p for p in panels_of(run) if p.section == CELLS and p.title.partition(" (")[0] == name]
    if not mine:
        raise RecordError(f"{run.path}: no cell was ever in '{name}'.")
    lines = tuple(line for panel in mine for line in panel.lines)
    return Panel(CELLS, mine[0].title, mine[0].unit, mine[0].times_h, lines, "symlog")


def _write_gif(path: Path, pictures: Iterator[np.ndarray], per_second: float) -> None:
    from PIL import Image

    first, *rest = (Image.fromarray(picture).quantize(64) for picture in pictures)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=round(1000 / per_second),
        loop=0,
        comment=MARK.encode(),
    )


def _write_mp4(path: Path, pictures: Iterator[np.ndarray], per_second: float) -> None:
    """H.264, which every browser plays."""
    ffmpeg: Any = needs("imageio_ffmpeg", "movie")
    note = ["-metadata", f"comment={MARK}", "-movflags", "+faststart"]
    writer = ffmpeg.write_frames(
        str(path), _PIXELS, fps=per_second, codec="libx264", quality=8, output_params=note
    )
    writer.send(None)
    try:
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
