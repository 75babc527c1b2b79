"""Tables of a record as Parquet or CSV, block by block through pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.records.tables import Block, LongTable, Words


def write_parquet(table: LongTable, path: Path) -> None:
    """One table; the unit of a column is in the metadata of its field.

    Raises
    ------
    MissingPackageError
        If pyarrow is not installed.
    """
    _write(table, path, needs("pyarrow.parquet", "export").ParquetWriter, is_packed=True)


def write_csv(table: LongTable, path: Path) -> None:
    """One table: a header of names, then rows; an empty field is a missing value.

    Raises
    ------
    MissingPackageError
        If pyarrow is not installed.
    """
    _write(table, path, needs("pyarrow.csv", "export").CSVWriter, is_packed=False)


def _write(table: LongTable, path: Path, writer_of: Any, *, is_packed: bool) -> None:
    schema = _schema(table, is_packed=is_packed)
    with written(path) as unfinished, writer_of(unfinished, schema) as writer:
        for block in table.blocks():
            writer.write_table(_arrow(block, schema))


def is_our_csv(path: Path, table: LongTable) -> bool:
    """Whether a file begins with the header of the table; CSV has no room for another mark."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readline().strip().replace('"', "") == ",".join(table.units)


def _schema(table: LongTable, *, is_packed: bool) -> Any:
    pyarrow = needs("pyarrow", "export")
    first: Block = next(table.blocks(), {})
    fields = []
    for name, unit in table.units.items():
        values = first.get(name)
        if values is None or isinstance(values, Words):
            kind = pyarrow.string()
            kind = pyarrow.dictionary(pyarrow.int32(), kind) if is_packed else kind
        else:
            kind = pyarrow.from_numpy_dtype(values.dtype)
        fields.append(pyarrow.field(name, kind, metadata={"unit": unit} if unit else None))
    return pyarrow.schema(fields, metadata={"mst_abm": MARK, "content": table.about})


def _arrow(block: Block, schema: Any) -> Any:
    pyarrow = needs("pyarrow", "export")
    columns = []
    for field in schema:
        values = block[field.name]
        if isinstance(values, Words):
            array = pyarrow.DictionaryArray.from_arrays(
                pyarrow.array(values.codes, pyarrow.int32()), pyarrow.array(list(values.names))
            )
            columns.append(array.cast(field.type))
        else:
            # not a number is a missing value in these tables
            columns.append(pyarrow.array(values, field.type, from_pandas=True))
    return pyarrow.Table.from_arrays(columns, schema=schema)
