"""A record as long tables: one row per thing counted, a unit for every column.

What pandas, Parquet and CSV get is the same. Tables come in blocks, so that a record may exceed memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.schema import SNAPSHOT_COLUMNS

if TYPE_CHECKING:
    from mst_abm.records.reader import Run

#: Rows of a block, about.
ROWS = 1 << 20


@dataclass(frozen=True)
class Words:
    """A column of text as numbers into a list of names: names repeat in their thousands."""

    codes: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)


Column = np.ndarray | Words
Block = Mapping[str, Column]


@dataclass(frozen=True)
class LongTable:
    """A table with the units of its columns ("1": none, "": text) and its blocks of rows."""

    name: str
    about: str
    units: dict[str, str]
    blocks: Callable[[], Iterator[Block]]


def tables_of(run: Run) -> dict[str, LongTable]:
    """Every table that the record has something for."""
    found = [_counts(run), _events(run), _signals(run), _given(run)]
    found += [_observed(run), _endpoints(run)] if len(run.observed_times_h) else []
    found += [_cells(run)] if run.n_snapshots else []
    return {table.name: table for table in found}


def table_of(run: Run, name: str) -> LongTable:
    """One table by name.

    Raises
    ------
    RecordError
        If the record has no such table.
    """
    known = tables_of(run)
    if name not in known:
        raise RecordError(f"{run.path}: expected a table ({', '.join(known)}), got '{name}'.")
    return known[name]


def to_frame(table: LongTable) -> Any:
    """A pandas frame; units by column in its ``attrs``.

    Raises
    ------
    MissingPackageError
        If pandas is not installed.
    """
    pandas = needs("pandas", "analysis")

    def column(values: Column) -> Any:
        if isinstance(values, Words):
            return pandas.Categorical.from_codes(values.codes, list(values.names))
        return values

    parts = [
        pandas.DataFrame({name: column(values) for name, values in block.items()})
        for block in table.blocks()
    ]
    frame = (
        pandas.concat(parts, ignore_index=True)
        if parts
        else pandas.DataFrame(columns=[*table.units])
    )
    frame.attrs["units"] = dict(table.units)
    return frame


# ---------------------------------------------------------------------- the tables


def _counts(run: Run) -> LongTable:
    axes = _free(run.axes, taken=("replicate", "time_h", "compartment", "species", "type"))
    units = {"replicate": "1", "time_h": "h", "compartment": "", "species": "", "type": ""}
    units |= dict.fromkeys(axes.values(), "") | {"cells": "cell", "body_cells": "cell"}
    places = tuple(run.compartment_names)

    def blocks() -> Iterator[Block]:
        for i, place in enumerate(places):
            counts = run.counts(place)
            present = [s for s in range(1, counts.shape[2]) if counts[:, :, s].any()]
            for rows, part in _parts(counts[:, :, present]):
                replicate, time, which = _crossed(rows, run, len(present))
                species = np.array(present, int)[which]
                yield {
                    **_when(run, replicate, time),
                    "compartment": Words(np.full(len(species), i), places),
                    **_kinds(run, species, axes),
                    "cells": part,
                    "body_cells": part / run.compartments["share"][i],
                }

    return LongTable("counts", "cells of each species at every record; species that never occur in a "
                     "compartment are left out", units, blocks)  # fmt: skip


def _events(run: Run) -> LongTable:
    text = ("rule", "verb", "compartment", "actor", "partner", "products")
    units = {"replicate": "1", "time_h": "h", **dict.fromkeys(text, ""), "events": "event"}

    def blocks() -> Iterator[Block]:
        tally = run.events()
        present = [c for c in range(tally.shape[2]) if tally[:, :, c].any()]
        for rows, part in _parts(tally[:, :, present]):
            replicate, time, which = _crossed(rows, run, len(present))
            channel = np.array(present, int)[which]
            yield {
                **_when(run, replicate, time),
                **{name: _words(run.channels[name], channel) for name in text},
                "events": part,
            }

    return LongTable("events", "events since the previous record; kinds that never happened are left out",
                     units, blocks)  # fmt: skip


def _signals(run: Run) -> LongTable:
    units = {"replicate": "1", "time_h": "h", "signal": "", "unit": "", "value": "<unit>"}
    names = tuple(run.signal_units)

    def blocks() -> Iterator[Block]:
        for i, name in enumerate(names):
            for rows, part in _parts(run.signals[name][:, :, None]):
                replicate, time, _ = _crossed(rows, run, 1)
                yield {
                    **_when(run, replicate, time),
                    **_named(i, names, tuple(run.signal_units.values()), len(part), "signal"),
                    "value": part,
                }

    return LongTable("signals", "level of every signal at every record", units, blocks)


def _observed(run: Run) -> LongTable:
    units = {"replicate": "1", "time_h": "h", "observable": "", "unit": ""}
    units |= {"value": "<unit>", "reported": "<unit>"}
    names = tuple(run.observed_units)
    times = run.observed_times_h

    def blocks() -> Iterator[Block]:
        for i, name in enumerate(names):
            true = run.observed[name]
            n = true.size
            yield {
                "replicate": np.repeat(run.replicates, len(times)),
                "time_h": np.tile(times, len(run.replicates)),
                **_named(i, names, tuple(run.observed_units.values()), n, "observable"),
                "value": true.ravel(),
                "reported": run.reported.get(name, np.full_like(true, np.nan)).ravel(),
            }

    return LongTable("observed", "the truth in the units of a laboratory once a day, and what it reports of it "
                     "(missing: no sample)", units, blocks)  # fmt: skip


def _endpoints(run: Run) -> LongTable:
    units = {
        "replicate": "1",
        "endpoint": "",
        "unit": "",
        "value": "<unit>",
        "true_value": "<unit>",
    }
    units |= {"category": "", "true_category": "", "description": ""}
    table = run.endpoint_table
    names = tuple(map(str, table["endpoint"]))

    def blocks() -> Iterator[Block]:
        n = len(run.replicates)
        for i, name in enumerate(names):
            if not table["is_true"][i]:
                continue
            words = ("", *filter(None, str(table["categories"][i]).split("|")))
            codes = [_codes(v[name], len(words)) for v in (run.endpoints, run.true_endpoints)]
            yield {
                "replicate": run.replicates,
                **_named(i, names, tuple(map(str, table["unit"])), n, "endpoint"),
                "value": run.endpoints[name],
                "true_value": run.true_endpoints[name],
                "category": Words(codes[0], words),
                "true_category": Words(codes[1], words),
                "description": _words(table["description"], np.full(n, i)),
            }

    return LongTable("endpoints", "endpoints of every replicate as reported and as they were (missing: not reached)",
                     units, blocks)  # fmt: skip


def _given(run: Run) -> LongTable:
    units = {"name": "", "start_h": "h", "duration_h": "h", "amount": "<unit>", "unit": ""}
    given = run.given

    def blocks() -> Iterator[Block]:
        rows = np.arange(len(given["name"]))
        yield {
            "name": _words(given["name"], rows),
            "start_h": given["start"],
            "duration_h": given["duration"],
            "amount": given["amount"],
            "unit": _words(given["amount_unit"], rows),
        }

    return LongTable("given", "doses and infusions as they were planned", units, blocks)


def _cells(run: Run) -> LongTable:
    axes = _free(run.axes, taken=CELL_COLUMNS)
    base = {
        "replicate": "1",
        "time_h": "h",
        "compartment": "",
        "patch": "1",
        "species": "",
        "type": "",
    }
    rest = {f"{axis}_um": "um" for axis in "xyz"}
    own = {row.path.partition("/")[2]: row.unit for row in SNAPSHOT_COLUMNS}
    stored = set(run.snapshot(0).columns)
    rest |= {n: unit for n, unit in own.items() if n in stored and n not in (*base, *"xyz")}

    def blocks() -> Iterator[Block]:
        for frame in range(run.n_snapshots):
            yield cells_of(run, frame, axes)

    return LongTable("cells", "every cell at every snapshot; places only on lattices",
                     base | dict.fromkeys(axes.values(), "") | rest, blocks)  # fmt: skip


CELL_COLUMNS = (
    "replicate", "time_h", "compartment", "patch", "species", "type", "x_um", "y_um", "z_um",
    *(row.path.partition("/")[2] for row in SNAPSHOT_COLUMNS),
)  # fmt: skip


def cells_of(run: Run, frame: int, axes: Mapping[str, str] | None = None) -> dict[str, Column]:
    """Columns of all cells of one snapshot; ``axes``: names of columns by axis."""
    if axes is None:
        axes = _free(run.axes, taken=CELL_COLUMNS)
    snapshot = run.snapshot(frame)
    columns = dict(snapshot.columns)
    place = columns.pop("compartment").astype(int)
    is_placed = run.compartments["kind"][place] == "lattice"
    spacing = run.compartments["spacing"][place]
    found: dict[str, Column] = {
        "replicate": np.full(len(place), snapshot.replicate),
        "time_h": np.full(len(place), snapshot.time_h),
        "compartment": Words(place, tuple(run.compartment_names)),
        "patch": columns.pop("patch"),
        **_kinds(run, columns.pop("species").astype(int), axes),
    }
    for axis in "xyz":
        found[f"{axis}_um"] = np.where(is_placed, columns.pop(axis) * spacing, np.nan)
    return found | columns


# ---------------------------------------------------------------------- parts of them


def _parts(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows of replicates with their values laid out flat, about ROWS at a time."""
    width = max(values.shape[1] * values.shape[2], 1)
    step = max(1, ROWS // width)
    for first in range(0, len(values), step):
        part = values[first : first + step]
        if part.size:
            yield slice(first, first + len(part)), part.ravel()


def _crossed(rows: slice, run: Run, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replicate, time and place in the last axis of every value of a part."""
    shape = (rows.stop - rows.start, run.n_records, n)
    replicate, time, which = np.unravel_index(np.arange(np.prod(shape)), shape)
    return replicate + rows.start, time, which


def _when(run: Run, replicate: np.ndarray, time: np.ndarray) -> dict[str, Column]:
    return {"replicate": run.replicates[replicate], "time_h": run.times_h[time]}


def _kinds(run: Run, species: np.ndarray, axes: Mapping[str, str]) -> dict[str, Column]:
    """Species, type and a column for every axis."""
    table = run.species
    found: dict[str, Column] = {
        "species": Words(species, tuple(map(str, table["species"]))),
        "type": _words(table["type"], species),
    }
    return found | {column: _words(table[axis], species) for axis, column in axes.items()}


def _words(values: np.ndarray, rows: np.ndarray) -> Words:
    """Text picked by row."""
    names, codes = np.unique(np.asarray(values, str), return_inverse=True)
    return Words(codes[rows] if len(rows) else np.zeros(0, int), tuple(map(str, names)))


def _named(i: int, names: tuple[str, ...], units: tuple[str, ...], n: int, what: str) -> dict:
    """Name and unit of everything in a block."""
    return {what: Words(np.full(n, i), names), "unit": _words(np.array(units), np.full(n, i))}


def _codes(values: np.ndarray, n: int) -> np.ndarray:
    """Categories from 1 on; 0 where none was reached, or the endpoint has none."""
    if n == 1:
        return np.zeros(len(values), int)
    return np.where(np.isfinite(values), np.nan_to_num(values) + 1, 0).astype(int)


def _free(axes: list[str], taken: tuple[str, ...]) -> dict[str, str]:
    """A column for each axis: an underscore is added to a name that is taken."""
    found: dict[str, str] = {}
    for axis in axes:
        name = axis
        while name in taken or name in found.values() or name in ("cells", "body_cells"):
            name += "_"
        found[axis] = name
    return found
