"""Where pages, figures and exports go: nothing is overwritten unasked, and never what is not ours."""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mst_abm.errors import RecordError
from mst_abm.records.atomic import written

#: Says in a file who made it.
MARK = "drawn by mst_abm"


def is_ours(path: Path) -> bool:
    """Whether a file was made here: nothing else is ever replaced."""
    if not path.is_file() or not path.stat().st_size:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(MARK.encode()) >= 0


def refuse_output(path: Path, *, force: bool, record: Path, what: str) -> None:
    """Refuse before any work what could not be written afterwards; ``what``: figure, page ...

    Raises
    ------
    RecordError
    """
    if path == record:
        raise RecordError(
            f"{path}: expected different names for the record and its {what}; end the record's in .h5."
        )
    if not path.parent.is_dir():
        raise RecordError(f"{path}: expected an existing folder for the {what}; make it first.")
    if path.is_dir():
        raise RecordError(f"{path}: expected the name of a file, got a folder; add a name.")
    if path.exists() and not force:
        raise RecordError(
            f"{path}: this {what} exists and is never overwritten unasked; choose another name, "
            "or use --force."
        )
    if path.exists() and not is_ours(path):
        raise RecordError(
            f"{path}: this is no {what} of mst_abm and is not replaced even with --force; choose "
            "another name or move it away."
        )


def write_rows(path: Path, rows: Iterable[Iterable[Any]]) -> Path:
    """Write a table as CSV, the first row its head; it stands under its name when it is whole."""
    with written(path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path
