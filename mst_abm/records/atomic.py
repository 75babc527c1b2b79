"""Files that are whole under their name or not there: written under another one, forced to the disc, renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def settle(unfinished: Path, path: Path) -> None:
    """Give a file that is whole its name, once it is on the disc; then force the name there too, where the system can."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` to write under; it takes its place when all went well."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield unfinished
        settle(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file of these bytes."""
    with written(path) as unfinished:
        unfinished.write_bytes(content)
