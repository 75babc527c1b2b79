"""Whether a record is whole, and whether two records of one run hold the same numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from mst_abm.records.reader import open_file
from mst_abm.records.schema import GROWING, row_of

#: Said of the file and of the wall clock, or known only at the end of a run.
OF_THE_FILE = ("status", "digest", "wall_seconds", "n_records", "n_snapshots", "n_snapshot_cells")
OF_THE_END = ("clinic", "statistics")
#: What counts the rows of a growing dimension; the others are written at the end.
COUNTERS = {"time": "n_records", "frame": "n_snapshots", "cell": "n_snapshot_cells"}
ROWS = 1 << 16


def faults(path: Path) -> list[str]:
    """Read every byte of a record against the checksums of its chunks; sentences about what is wrong."""
    found = []
    with open_file(path) as file:
        counts = {dim: int(file[name][()]) for dim, name in COUNTERS.items()}
        for name, dataset in _datasets(file):
            try:
                for _ in _rows(dataset, len(dataset) if dataset.shape else 1):
                    pass
            except (OSError, RuntimeError):
                found.append(f"{path}: '{name}' is damaged, a checksum does not hold.")
                continue
            for axis, dim in enumerate(_dims(name)):
                if dim in counts and dataset.shape[axis] < counts[dim]:
                    found.append(
                        f"{path}: '{name}' has {dataset.shape[axis]} rows along {dim}, {counts[dim]} were "
                        "committed."
                    )
    return found


def unlike(path: Path, again: Path) -> list[str]:
    """Names of the datasets in which a record differs from one that holds its beginning."""
    odd = []
    with open_file(path) as one, open_file(again) as other:
        ends = {dim: int(other[name][()]) for dim, name in COUNTERS.items()}
        for name, dataset in _datasets(other):
            dims = _dims(name)
            at_the_end = any(dim in GROWING and dim not in ends for dim in dims)
            if name in OF_THE_FILE or name.partition("/")[0] in OF_THE_END or at_the_end:
                continue
            if name not in one or not _is_beginning(one[name], dataset, dims, ends):
                odd.append(name)
    return odd


def _is_beginning(
    one: h5py.Dataset, other: h5py.Dataset, dims: tuple[str, ...], ends: dict[str, int]
) -> bool:
    here = tuple(slice(0, ends[dim]) if dim in ends else slice(None) for dim in dims)
    if any(a < ends[dim] for a, dim in zip(one.shape, dims, strict=True) if dim in ends):
        return False
    x, y = np.asarray(one[here]), np.asarray(other[here])
    return np.array_equal(x, y, equal_nan=x.dtype.kind == "f")


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Datasets of the schema; dimensions without values are none."""
    names: list[str] = []
    file.visit(names.append)
    for name in names:
        try:
            row_of(name)
        except KeyError:
            continue
        if isinstance(file[name], h5py.Dataset):
            yield name, file[name]


def _dims(name: str) -> tuple[str, ...]:
    return row_of(name).dims


def _rows(dataset: h5py.Dataset, n: int) -> Iterator[object]:
    if not dataset.shape:
        yield dataset[()]
        return
    step = max(dataset.chunks[0] if dataset.chunks else ROWS, 1)
    for first in range(0, n, step):
        yield dataset[first : first + step]


def replicate_digests(path: Path) -> dict[int, str]:
    """SHA-256 of everything a record holds of each replicate, by number; the same however many are in the file.

    Time courses, endpoints, laboratory series, decisions and snapshots; nothing of the whole batch.
    """
    with open_file(path) as file:
        numbers = [int(number) for number in file["replicate"][:]]
        axes = [n for n, _ in _datasets(file) if _dims(n) in (("time",), ("sample_time",))]
        digests = {number: hashlib.sha256() for number in numbers}
        for name in axes:
            for digest in digests.values():
                digest.update(name.encode() + file[name][:].tobytes())
        for name, dataset in _datasets(file):
            if name != "replicate" and _dims(name)[:1] == ("replicate",):
                for number, values in zip(numbers, dataset[:], strict=True):
                    digests[number].update(name.encode() + np.ascontiguousarray(values).tobytes())
        for number, content in _of_replicates(file):
            digests[number].update(content)
    return {number: digest.hexdigest() for number, digest in digests.items()}


def _of_replicates(file: h5py.File) -> Iterator[tuple[int, bytes]]:
    """Decisions and snapshots, each with the number of its replicate, in the order of the file."""
    if "decisions" in file:
        group = file["decisions"]
        rows = [group[name][:] for name in ("decision_time", "decision_reaction", "seen")]
        for i, number in enumerate(group["decision_replicate"][:]):
            yield int(number), b"".join(column[i].tobytes() for column in rows)
    if "snapshots" not in file:
        return
    cells = [name for name, _ in _datasets(file) if _dims(name) == ("cell",)]
    fields = [name for name, _ in _datasets(file) if _dims(name)[:1] == ("frame",)]
    fields = [name for name in fields if name.startswith("fields/")]
    for i in range(int(file["n_snapshots"][()])):
        number, start, size = (
            int(file[f"snapshots/frame_{name}"][i]) for name in ("replicate", "start", "size")
        )
        yield number, file["snapshots/frame_time"][i].tobytes()
        for name in sorted(cells):
            yield number, name.encode() + file[name][start : start + size].tobytes()
        for name in sorted(fields):
            yield number, name.encode() + file[name][i].tobytes()
