"""A record in the formats of others, by name; every format has its own module among the records."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mst_abm.errors import RecordError
from mst_abm.records.places import is_ours, refuse_output
from mst_abm.records.reader import Run, open_run
from mst_abm.records.tables import table_of, tables_of
from mst_abm.records.to_anndata import write_anndata
from mst_abm.records.to_arrow import is_our_csv, write_csv, write_parquet
from mst_abm.records.to_tskit import write_tskit
from mst_abm.records.to_vtk import write_vtkhdf
from mst_abm.report.palette import colours_of

#: Formats of one file, by name, with the ending of the file.
SINGLE = {"vtkhdf": ".vtkhdf", "anndata": ".h5ad", "tskit": ".trees"}
#: Formats of a folder with a file for each table.
TABLES = {"csv": write_csv, "parquet": write_parquet}
FORMATS = (*SINGLE, *TABLES)


def default_place(record: Path, to: str) -> Path:
    """Where an export goes that was given no name: beside the record."""
    if to in SINGLE:
        return record.with_suffix(SINGLE[to])
    return record.with_name(f"{record.stem}.{to}")


def export(
    record: str | os.PathLike[str],
    to: str,
    output: str | os.PathLike[str] | None = None,
    *,
    tables: tuple[str, ...] = (),
    frame: int = -1,
    force: bool = False,
) -> list[Path]:
    """Write a record in another format; returns the files.

    ``tables``: only these, of csv and parquet; ``frame``: the snapshot, of anndata and tskit.

    Raises
    ------
    RecordError
        If a library is missing, the record lacks what the format needs, or a file is in the way.
    """
    if to not in FORMATS:
        raise RecordError(f"expected a format ({', '.join(FORMATS)}), got '{to}'.")
    record = Path(record)
    place = Path(output) if output is not None else default_place(record, to)
    with open_run(record) as run:
        if to in TABLES:
            return _write_tables(run, to, place, tables, force)
        refuse_output(place, force=force, record=record, what="export")
        writers: dict[str, Callable[[Run, Path], None]] = {
            "vtkhdf": write_vtkhdf,
            "anndata": partial(write_anndata, frame=frame, colours=colours_of(run)),
            "tskit": partial(write_tskit, frame=frame),
        }
        writers[to](run, place)
    return [place]


def _write_tables(
    run: Run, to: str, folder: Path, names: tuple[str, ...], force: bool
) -> list[Path]:
    """A file for each table; all that is in the way is found before anything is written."""
    chosen = [table_of(run, name) for name in names] or list(tables_of(run).values())
    if folder.exists() and not folder.is_dir():
        raise RecordError(f"{folder}: expected a folder for the tables, got a file; add a name.")
    files = [folder / f"{table.name}.{to}" for table in chosen]
    for file, table in zip(files, chosen, strict=True):
        if not file.exists():
            continue
        if not force:
            raise RecordError(
                f"{file}: this table exists and is never overwritten unasked; choose another folder, "
                "or use --force."
            )
        if not (is_our_csv(file, table) if to == "csv" else is_ours(file)):
            raise RecordError(
                f"{file}: this is no table of mst_abm and is not replaced even with --force; choose "
                "another folder or move it away."
            )
    if not folder.parent.is_dir():
        raise RecordError(f"{folder}: expected an existing folder around it; make it first.")
    folder.mkdir(exist_ok=True)
    for file, table in zip(files, chosen, strict=True):
        TABLES[to](table, file)
    return files
