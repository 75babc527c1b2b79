"""How figures look, and how those of a trial or a sweep are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mst_abm.errors import RecordError
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK, is_ours

#: Of many small panels of a run.
STYLE: Any = {"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 7}
#: Of the few panels that sum up many runs.
SUMMARY_STYLE: Any = {
    "font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8, "axes.axisbelow": True,
}  # fmt: skip


def bare(axes: Axes) -> None:
    """A faint grid, and no frame above and at the right."""
    axes.grid(alpha=0.25, lw=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path, dpi: int) -> Path:
    """Write a figure as PNG in place of an earlier one.

    Raises
    ------
    RecordError
        If another file has that name.
    """
    if path.exists() and not is_ours(path):
        raise RecordError(f"{path}: expected a figure of this package; move it elsewhere.")
    with written(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=dpi, metadata={"Software": MARK})
    return path
