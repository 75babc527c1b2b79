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
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mst_abm.errors import DiscFullError, RecordError

FORMAT = "mst_abm checkpoint"
FORMAT_VERSION = 1
MARK = b"mst_abm checkpoint sha256\n"
TAIL = len(MARK) + hashlib.sha256().digest_size
#: Smaller arrays are not worth a filter.
LEAST_PACKED = 1 << 14
COMPRESSED: Mapping[str, Any] = {"compression": "lzf", "shuffle": True, "chunks": True}


@dataclass(frozen=True)
class Checkpoint:
    """``facts``: numbers and texts by name; ``arrays``: by path; those of records come back as bytes."""

    path: Path
    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


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
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _settle(path.parent)
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
    """Read a checkpoint whose every byte is as it was written.

    Raises
    ------
    RecordError
    """
    data = _checked(path)
    with h5py.File(io.BytesIO(data), "r") as file:
        facts = json.loads(file.attrs["facts"])
        version = int(file.attrs["format_version"])
        if version != FORMAT_VERSION:
            raise RecordError(
                f"{path}: expected checkpoint format {FORMAT_VERSION}, got {version}; go on with the "
                f"version of mst_abm that wrote it, {facts.get('version')}."
            )
        arrays: dict[str, np.ndarray] = {}

        def take(name: str, thing: Any) -> None:
            if isinstance(thing, h5py.Dataset):
                arrays[name] = thing[()]

        file.visititems(take)
    return Checkpoint(path, facts, arrays)


def check_checkpoint(path: Path) -> None:
    """Look at the checksum alone; RecordError if it does not hold."""
    _checked(path)


def _image(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> memoryview:
    """The bytes of an HDF5 file with these contents."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=("v110", "v110")) as file:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["facts"] = json.dumps(dict(facts))
        for name, array in arrays.items():
            plain = _plain(array)
            options = COMPRESSED if plain.nbytes >= LEAST_PACKED else {}
            file.create_dataset(name, data=plain, **options)
    return buffer.getbuffer()


def _plain(array: np.ndarray) -> np.ndarray:
    """Records as bytes, whose types HDF5 would give back slightly altered."""
    if array.dtype.names is None:
        return array
    packed = np.ascontiguousarray(array)
    return packed.view(np.uint8).reshape(*array.shape, array.dtype.itemsize)


def _checked(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"{path}: expected a checkpoint, there is none.") from None
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RecordError(f"{path}: this checkpoint could not be read ({reason}).") from error
    body, tail = data[:-TAIL], data[-TAIL:]
    if tail != MARK + hashlib.sha256(body).digest():
        raise RecordError(f"{path}: this checkpoint is damaged, its checksum does not hold.")
    return body


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _settle(folder: Path) -> None:
    """Force the new name to the disc too, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
