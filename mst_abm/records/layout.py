"""Make an empty record file as the schema has it: nothing can be created once a run writes to it."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from mst_abm.records.provenance import provenance
from mst_abm.records.schema import (
    BASE_COLUMNS,
    DECISION_COLUMNS,
    FORMAT,
    FORMAT_VERSION,
    GROWING,
    IDENTITY_COLUMNS,
    TEXT,
    Header,
    member_path,
    row_of,
)

CHUNK_BYTES = 1 << 20
CELL_CHUNK = 1 << 16
INDEX_CHUNK = 1024
# the netCDF mark of a dimension without coordinates
NO_VALUES = "This is a netCDF dimension but not a netCDF variable"
COMPRESSED = {
    "compression": "gzip",
    "compression_opts": 1,
    "shuffle": True,
    "fletcher32": True,  # a byte that was changed is noticed by whoever reads it
}
_TEXT_DTYPE = h5py.string_dtype()
_TEXT_TYPE = h5py.h5t.py_create(_TEXT_DTYPE, logical=True)
_SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)


class Layout:
    """The datasets of one new file.

    ``courses``: time courses by the names of the model, ``columns``: those of snapshots,
    ``fields``: levels in space at snapshots, ``scales``: dimension scales, ``depth``: records per chunk.
    """

    def __init__(self, file: h5py.File, header: Header) -> None:
        self.file, self.header = file, header
        self._sizes = self._dimension_sizes()
        self.scales: dict[str, h5py.Dataset] = {}
        self._groups: dict[str, h5py.Group] = {"": file["/"]}
        self._linked: set[str] = set()
        attributes = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.header.name,
            "seed": str(self.header.seed),
            **provenance(),
            **self.header.attributes,
        }
        for name, value in attributes.items():
            if isinstance(value, str):
                _describe(self.file, name, value)
            else:
                self.file.attrs[name] = value
        self._create_tables()
        self._create_courses()
        self._create_snapshots()
        self._create_end()

    def _dimension_sizes(self) -> dict[str, int]:
        header = self.header
        return {
            "replicate": len(header.replicates),
            "species": header.n_species,
            "compartment": len(header.compartments["compartment"]),
            "axis": 3,
            "channel": header.n_channels,
            "change": len(header.stoichiometry),
            "given": len(header.given),
            "reservoir": len(header.reservoirs.get("reservoir", ())),
            "endpoint": len(header.endpoints),
            "reaction": len(header.reactions),
            "observable": len(header.looked_at),
            **dict.fromkeys(GROWING, 0),
            **{
                f"{axis}_of_{name.replace('/', '_')}": n
                for name, blocks in header.fields.items()
                for axis, n in zip(("patch", *"zyx"), blocks.shape, strict=True)
            },
        }

    @property
    def depth(self) -> int:
        """Records per chunk and buffer: about CHUNK_BYTES of the widest dataset."""
        widest = max(self.header.n_species, self.header.n_channels, 1)
        row_bytes = 8 * widest * max(len(self.header.replicates), 1)
        return int(np.clip(CHUNK_BYTES // row_bytes, 1, max(self.header.n_records_expected, 1)))

    def _create_tables(self) -> None:
        """Everything that never changes; coordinates come before what they describe."""
        header = self.header
        self._add("time")
        self._add("replicate", header.replicates)
        self._add("inputs/scenario", header.scenario_text)
        self._add("inputs/model", header.model_text)
        for group, columns in (
            ("species", header.species),
            ("compartments", header.compartments),
            ("events", header.channels),
            ("reservoirs", header.reservoirs),
        ):
            for name, values in columns.items():
                self._add(f"{group}/{name}", values)
        for i, column in enumerate(("channel", "compartment", "species", "cells")):
            self._add(f"stoichiometry/{column}", header.stoichiometry[:, i])
        given = {
            "name": [g.name for g in header.given],
            "start": [g.start_h for g in header.given],
            "duration": [g.duration_h for g in header.given],
            "amount": [g.amount for g in header.given],
            "amount_unit": [g.unit for g in header.given],
        }
        for column, entries in given.items():
            self._add(f"given/{column}", entries)

    def _create_courses(self) -> None:
        header = self.header
        names = header.compartments["compartment"]
        units: dict[str, str | None] = {f"counts/{name}": None for name in names}
        if header.has_handover:
            lattices = names[header.compartments["kind"] == "lattice"]
            units |= {f"received/{name}": None for name in names}
            units |= {f"waiting/{name}": None for name in lattices}
        units["events/tally"] = None
        units |= {f"signals/{name}": unit for name, unit in header.signals.items()}
        if header.reservoirs:
            units |= {"reservoirs/is_owner": None, "reservoirs/events": None}
            places = dict.fromkeys(header.reservoirs["compartment"])
            units |= {f"{group}/{name}": None for name in places for group in ("held", "handed")}
        self.courses = {path: self._add_course(path, unit) for path, unit in units.items()}

    def _add_course(self, path: str, unit: str | None) -> h5py.Dataset:
        """A time course; what is a whole number of cells or events may be a mean."""
        is_number = row_of(member_path(path)).dtype == "i8"
        return self._add(
            path, unit=unit, dtype="f4" if self.header.has_means and is_number else None
        )

    def _create_snapshots(self) -> None:
        rows = BASE_COLUMNS + (IDENTITY_COLUMNS if self.header.has_identity else ())
        self.columns = {row.path.partition("/")[2]: self._add(row.path) for row in rows}
        for name in ("time", "replicate", "start", "size"):
            self._add(f"snapshots/frame_{name}")
        self.fields = {}
        for name, blocks in self.header.fields.items():
            self.fields[name] = self._add(f"fields/{name}", unit=blocks.unit)
            _describe(self.fields[name], "compartment", blocks.compartment)
        # the mark of a contiguous ragged array in the CF conventions
        self.file["snapshots/frame_size"].attrs["sample_dimension"] = "cell"

    def _create_end(self) -> None:
        """Room for what is written at the end: nothing can be created later."""
        header = self.header
        for column in ("endpoint", "unit", "description"):
            name = "name" if column == "endpoint" else column
            self._add(f"clinic/{column}", [getattr(e, name) for e in header.endpoints])
        self._add("clinic/categories", ["|".join(e.categories) for e in header.endpoints])
        for column in ("is_reported", "is_true"):
            self._add(f"clinic/{column}", np.zeros(len(header.endpoints)))
        for column in ("value", "true_value"):
            nothing = np.full((len(header.replicates), len(header.endpoints)), np.nan)
            self._add(f"clinic/{column}", nothing)
        self._add("observed/sample_time")
        for name, unit in header.observed.items():
            self._add(f"observed/{name}", unit=unit)
        for name, unit in header.reported.items():
            self._add(f"reported/{name}", unit=unit)
        if header.reactions:
            for column in ("name", "when", "done"):
                self._add(f"reactions/{column}", [getattr(r, column) for r in header.reactions])
            self._add("decisions/observable", header.looked_at)
            for column in (*DECISION_COLUMNS, "seen"):
                self._add(f"decisions/{column}")
        for name in header.statistics:
            self._add(f"statistics/{name}", 0.0)
        self._add("digest", np.bytes_(b""))
        self._add("wall_seconds", 0.0)
        for name in ("n_records", "n_snapshots", "n_snapshot_cells"):
            self._add(name, 0)
        self._add("status", np.bytes_(b"running"))

    def _add(
        self, path: str, data: Any = None, *, unit: str | None = None, dtype: Any = None
    ) -> h5py.Dataset:
        """Create one dataset as the schema has it, with unit, description and dimension scales.

        ``dtype``: instead of that of the schema.
        """
        wanted, path = path, member_path(path)
        row = row_of(path)
        member = wanted.partition("/")[2].replace("/", "_")
        dims = tuple(dim.replace("<field>", member) for dim in row.dims)
        shape = tuple(self._sizes[dim] for dim in dims)
        if dtype is None:
            dtype = h5py.string_dtype() if row.dtype == TEXT else row.dtype
        dtype = np.dtype(dtype)
        options: dict[str, Any] = {}
        if any(dim in GROWING for dim in dims):
            sizes = zip(dims, shape, strict=True)
            # HDF5 has chunks of no less than one, which a fixed dimension of none does not hold
            options["maxshape"] = tuple(n if n and dim not in GROWING else None for dim, n in sizes)
            options["chunks"] = self._chunks(dims, shape, dtype.itemsize)
        elif len(dims) > 1 and 0 not in shape:
            options["chunks"] = True
        if "chunks" in options and dtype.kind != "O":
            options |= COMPRESSED
        if data is not None and 0 not in shape:
            options["data"] = np.asarray(data, object if dtype.kind == "O" else dtype)
        if dims == ("cell",):
            options["fillvalue"] = 0  # what columns of zeros are left at, see the writer
        group, _, name = path.rpartition("/")
        dataset = self._group(group).create_dataset(name, shape, dtype, **options)
        _describe(dataset, "units", row.unit if unit is None else unit)
        _describe(dataset, "long_name", row.description)
        if path != wanted:
            _describe(dataset, "name", wanted.partition("/")[2])
        if dims == (name,):
            dataset.make_scale(name)
            self.scales[name] = dataset
            self._linked.add(path)
        else:
            for i, dim in enumerate(dims):
                dataset.dims[i].attach_scale(self._scale(dim, group))
        return dataset

    def _scale(self, dim: str, group: str) -> h5py.Dataset:
        """The dimension scale ``dim``, linked into ``group``; one without values if none exists."""
        path = f"{group}/{dim}"
        if dim not in self.scales:
            is_growing = dim in GROWING
            scale = self._group(group).create_dataset(
                dim,
                (self._sizes[dim],),
                "i1",
                maxshape=(None,) if is_growing else None,
                chunks=(CHUNK_BYTES,) if is_growing else None,
            )
            scale.make_scale(NO_VALUES)
            self.scales[dim] = scale
        elif path not in self._linked:
            self._group(group)[dim] = self.scales[dim]
        self._linked.add(path)
        return self.scales[dim]

    def _group(self, name: str) -> h5py.Group:
        """A group that remembers the order in which things were put into it."""
        if name not in self._groups:
            self._groups[name] = self.file.create_group(name, track_order=True)
        return self._groups[name]

    def _chunks(
        self, dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int
    ) -> tuple[int, ...]:
        if dims == ("cell",):
            return (CELL_CHUNK,)
        if len(dims) == 1:
            return (INDEX_CHUNK,)
        if dims[0] == "frame":
            return (1, *shape[1:])
        if dims[0] in GROWING:
            return (INDEX_CHUNK, *shape[1:])
        rest = int(np.prod(shape[2:], dtype=int)) * itemsize
        depth = self.depth if dims[1] == "time" else INDEX_CHUNK
        replicates = int(np.clip(CHUNK_BYTES // max(depth * rest, 1), 1, max(shape[0], 1)))
        return (replicates, depth, *(max(n, 1) for n in shape[2:]))


def _describe(thing: h5py.Dataset | h5py.Group, name: str, text: str) -> None:
    """Give an attribute of text to something new: a file has over a hundred, h5py's way is slow."""
    attribute = h5py.h5a.create(thing.id, name.encode(), _TEXT_TYPE, _SCALAR)
    attribute.write(np.array(text, _TEXT_DTYPE))
