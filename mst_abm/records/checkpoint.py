"""A checkpoint: everything a run needs to go on, in one file that is whole or is not there.

HDF5 made in memory, followed by a mark and the SHA-256 of all bytes before it. It is written under another
name, forced to the disc and renamed, so that a kill, a full disc or a loss of power leaves the one
before. The checksum is looked at before anything else is read. What the arrays mean is not known here.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mst_abm.errors import DiscFullError, RecordError
from mst_abm.records.atomic import settle

FORMAT = "mst_abm checkpoint"
FORMAT_VERSION = 1
MARK = b"mst_abm checkpoint sha256\n"
TAIL = len(MARK) + hashlib.sha256().digest_size
#: Smaller arrays are not worth a filter.
LEAST_PACKED = 1 << 14
#: Bytes of a chunk before it is packed: HDF5's own choice, 40 kB, takes a quarter longer for a large lattice.
CHUNK = 1 << 20
COMPRESSED: Mapping[str, Any] = {"compression": "lzf", "shuffle": True}
#: Bytes that are read at once for the checksum.
BLOCK = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """``facts``: numbers and texts by name; ``arrays``: by path; those of records come back as bytes."""

    path: Path
    facts: dict[str, Any]
    arrays: Mapping[str, np.ndarray]


class Kept(Mapping[str, np.ndarray]):
    """Arrays of a checkpoint, each read from its file whenever it is asked for.

    So a state is not in memory twice when a simulation is put where it was.
    """

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path, self._names = path, names

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        with _opened(self.path) as file:
            return file[name][()]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def checkpoint_path(record: Path, which: int | str) -> Path:
    """The name of a checkpoint beside its record: two take turns, 0 and 1; forks keep their own."""
    return record.with_name(f"{record.name}.checkpoint-{which}")


def checkpoint_paths(record: Path) -> list[Path]:
    """All checkpoints there are beside a record."""
    start = f"{record.name}.checkpoint-"
    found = (p for p in record.parent.iterdir() if p.name.startswith(start))
    return sorted(p for p in found if not p.name.endswith(".partial"))


def remove_checkpoints(record: Path) -> None:
    """Remove the two that take turns, and what a kill left half written."""
    for which in (0, 1):
        path = checkpoint_path(record, which)
        path.unlink(missing_ok=True)
        _partial(path).unlink(missing_ok=True)


def write_checkpoint(
    path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a checkpoint in place of an older one of that name, which stays until this one is safe.

    Raises
    ------
    RecordError
        DiscFullError where there is no room.
    """
    image = _image(facts, arrays)
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(image)
            file.write(MARK + hashlib.sha256(image).digest())
        settle(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiscFullError(
                f"{path}: the disc is full, or a quota reached, and this checkpoint is not written; free "
                "some space."
            ) from error
        raise RecordError(
            f"{path}: this checkpoint could not be written ({os.strerror(error.errno or 0).lower()}); "
            "check the folder and the disc."
        ) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint whose every byte is as it was written; its arrays when they are asked for.

    Raises
    ------
    RecordError
    """
    check_checkpoint(path)
    with _opened(path) as file:
        facts = json.loads(file.attrs["facts"])
        version = int(file.attrs["format_version"])
        if version != FORMAT_VERSION:
            raise RecordError(
                f"{path}: expected checkpoint format {FORMAT_VERSION}, got {version}; go on with the "
                f"version of mst_abm that wrote it, {facts.get('version')}."
            )
        names: list[str] = []

        def take(name: str, thing: Any) -> None:
            if isinstance(thing, h5py.Dataset):
                names.append(name)

        file.visititems(take)
    return Checkpoint(path, facts, Kept(path, tuple(names)))


def check_checkpoint(path: Path) -> None:
    """Look at the checksum alone; RecordError if it does not hold."""
    seen = hashlib.sha256()
    try:
        with path.open("rb") as file:
            left = path.stat().st_size - TAIL
            while left > 0 and (block := file.read(min(BLOCK, left))):
                seen.update(block)
                left -= len(block)
            tail = file.read()
    except FileNotFoundError:
        raise RecordError(f"{path}: expected a checkpoint, there is none.") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RecordError(f"{path}: this checkpoint could not be read ({reason}).") from error
    if tail != MARK + seen.digest():
        raise RecordError(f"{path}: this checkpoint is damaged, its checksum does not hold.")


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 part; by a handle of Python's, so that no lock is asked of the file system."""
    with path.open("rb") as raw, h5py.File(raw, "r") as file:
        yield file


def _image(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> memoryview:
    """The bytes of an HDF5 file with these contents."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["facts"] = json.dumps(dict(facts))
        for name, array in arrays.items():
            plain = _plain(array)
            is_packed = plain.nbytes >= LEAST_PACKED
            options = {"chunks": _chunks(plain), **COMPRESSED} if is_packed else {}
            file.create_dataset(name, data=plain, **options)
    return buffer.getbuffer()


def _chunks(array: np.ndarray) -> tuple[int, ...]:
    """Chunks of whole rows, as many as fit, or of a part of one row."""
    room = CHUNK // array.itemsize
    shape: list[int] = []
    for n in reversed(array.shape):
        shape.append(max(1, min(n, room)))
        room //= shape[-1]
    return tuple(reversed(shape))


def _plain(array: np.ndarray) -> np.ndarray:
    """Records as bytes, whose types HDF5 would give back slightly altered."""
    if array.dtype.names is None:
        return array
    packed = np.ascontiguousarray(array)
    return packed.view(np.uint8).reshape(*array.shape, array.dtype.itemsize)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")
