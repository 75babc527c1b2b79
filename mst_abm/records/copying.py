"""The committed part of one record into another: how a run that stopped goes on.

A file whose writer was killed cannot be written to again safely, for HDF5 does not know where its data end. So the
records up to a checkpoint are copied into a new file, which takes the old one's place once it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from mst_abm.errors import RecordError
from mst_abm.records.layout import Layout
from mst_abm.records.reader import open_file

ROWS = 1 << 16


@dataclass(frozen=True)
class Earlier:
    """Where a record goes on: what of ``path`` is taken over, and the writer's memory at that point."""

    path: Path
    n_records: int
    n_snapshots: int
    n_snapshot_cells: int
    seconds: float = 0.0
    statistics: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)


def copy_committed(earlier: Earlier, layout: Layout) -> None:
    """Copy time courses, snapshots and fields into a new file of the same layout.

    Raises
    ------
    RecordError
        If the old file does not hold so much, or something else.
    """
    with open_file(earlier.path) as old:
        for name in ("n_records", "n_snapshots", "n_snapshot_cells"):
            if int(old[name][()]) < getattr(earlier, name):
                raise RecordError(
                    f"{earlier.path}: expected {name} of {getattr(earlier, name)} or more, as the "
                    f"checkpoint knew it, got {int(old[name][()])}; this is an older copy of the record."
                )
        for source, target in _pairs(old, layout):
            if source.shape[2:] != target.shape[2:] or source.shape[:1] != target.shape[:1]:
                raise RecordError(
                    f"{earlier.path}: '{target.name}' has another shape than the run that goes on; give "
                    "the record this checkpoint belongs to."
                )
            _copy(source, target, earlier.n_records, axis=1)
        _copy(old["time"], layout.file["time"], earlier.n_records)
        for name, column in layout.columns.items():
            _copy(old[f"snapshots/{name}"], column, earlier.n_snapshot_cells, is_sparse=True)
        for name in ("time", "replicate", "start", "size"):
            path = f"snapshots/frame_{name}"
            _copy(old[path], layout.file[path], earlier.n_snapshots)
        for levels in layout.fields.values():
            _copy(old[levels.name], levels, earlier.n_snapshots)
    layout.scales["cell"].resize(earlier.n_snapshot_cells, axis=0)
    layout.scales["frame"].resize(earlier.n_snapshots, axis=0)


def _pairs(old: h5py.File, layout: Layout) -> Iterator[tuple[h5py.Dataset, h5py.Dataset]]:
    for course in layout.courses.values():
        if course.name not in old:
            raise RecordError(
                f"{old.filename}: expected '{course.name}', there is none; give the record this "
                "checkpoint belongs to."
            )
        yield old[course.name], course


def _copy(
    source: h5py.Dataset, target: h5py.Dataset, n: int, *, axis: int = 0, is_sparse: bool = False
) -> None:
    """The first ``n`` rows along an axis, by whole chunks. ``is_sparse``: zeros are left unwritten."""
    target.resize(n, axis=axis)
    step = max(source.chunks[axis] if source.chunks else ROWS, 1)
    for first in range(0, n, step):
        last = min(first + step, n)
        here = (slice(None),) * axis + (slice(first, last),)
        values = source[here]
        if not is_sparse or values.any():
            target[here] = values
