"""Cells on lattices through time as VTKHDF, which ParaView and VTK open: points with time steps.

A point is a cell, in micrometres; patches stand side by side along x. Every snapshot of one replicate is a step.
HDF5 bounds are those of 1.10, as in the record: readers of VTK know no later ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from mst_abm.errors import RecordError
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.records.reader import Columns, Run

#: Of the VTKHDF format for PolyData with steps.
VERSION = (2, 2)
CHUNK = 1 << 15
#: Sites between patches.
GAP = 4
_UNUSED = ("Lines", "Polygons", "Strips")
_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_vtkhdf(run: Run, path: Path, *, replicate: int | None = None) -> None:
    """Every snapshot of a replicate, the first unless told otherwise.

    Raises
    ------
    RecordError
        If the replicate has no snapshot, or no compartment is a lattice.
    """
    frames = run.frames_of(replicate)
    lattices = np.flatnonzero(run.compartments["kind"] == "lattice")
    if not len(lattices):
        raise RecordError(f"{run.path}: has no lattice; cells that mix have no places to show.")
    with written(path) as unfinished, h5py.File(unfinished, "w", libver=("v110", "v110")) as file:
        group = file.create_group("VTKHDF", track_order=True)
        group.attrs["Version"] = np.array(VERSION, "i8")
        group.attrs.create("Type", np.bytes_("PolyData"))
        file.attrs["made"] = MARK
        file.attrs["run"] = run.name
        file.attrs["types"] = json.dumps(dict(enumerate(type_names(run))))
        sizes = _write_points(run, group, frames, lattices)
        _write_vertices(group, sizes)
        _write_steps(run, group, frames, sizes)


def type_names(run: Run) -> list[str]:
    """Names of the numbers in the array ``type``; 0 is a vacant site."""
    return list(dict.fromkeys(map(str, run.species["type"])))


def _write_points(
    run: Run, group: h5py.Group, frames: np.ndarray, lattices: np.ndarray
) -> np.ndarray:
    """Points and what is known of each; returns the points of every step."""
    names = type_names(run)
    type_of = np.array([names.index(str(t)) for t in run.species["type"]], "u2")
    data = group.create_group("PointData")
    points = _grown(group, "Points", "f4", 3)
    columns: dict[str, h5py.Dataset] = {}
    sizes = []
    for frame in frames:
        cells = run.snapshot(int(frame)).columns
        kept = np.isin(cells["compartment"], lattices)
        values = {n: v[kept] for n, v in cells.items() if n not in "xyz"}
        values["type"] = type_of[values["species"]]
        _append(points, _places(run, cells, kept))
        for name, column in values.items():
            if name not in columns:
                columns[name] = _grown(data, name, column.dtype)
            _append(columns[name], column)
        sizes.append(int(kept.sum()))
    return np.array(sizes, "i8")


def _places(run: Run, cells: Columns, kept: np.ndarray) -> np.ndarray:
    """float32 (cell, 3), um."""
    row = cells["compartment"][kept].astype(int)
    spacing = run.compartments["spacing"][row]
    shift = cells["patch"][kept] * (run.compartments["shape"][row, 0] + GAP)
    x, y, z = (cells[axis][kept].astype(float) for axis in "xyz")
    return np.stack([x + shift, y, z], axis=1).astype("f4") * spacing[:, None].astype("f4")


def _write_vertices(group: h5py.Group, sizes: np.ndarray) -> None:
    """A vertex for each point: one ramp of numbers serves every step."""
    most = int(sizes.max(initial=0))
    vertices = group.create_group("Vertices")
    vertices.create_dataset("Offsets", data=np.arange(most + 1, dtype="i8"), **_PACKED)
    connectivity = np.arange(most, dtype="i8")
    vertices.create_dataset("Connectivity", data=connectivity, **(_PACKED if most else {}))
    group["NumberOfPoints"] = sizes
    for name in ("NumberOfCells", "NumberOfConnectivityIds"):
        vertices[name] = sizes
    for kind in _UNUSED:
        empty = group.create_group(kind)
        empty["Offsets"] = np.zeros(1, "i8")
        empty["Connectivity"] = np.zeros(0, "i8")
        for name in ("NumberOfCells", "NumberOfConnectivityIds"):
            empty[name] = np.zeros(len(sizes), "i8")


def _write_steps(run: Run, group: h5py.Group, frames: np.ndarray, sizes: np.ndarray) -> None:
    n = len(frames)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype("i8")
    steps = group.create_group("Steps")
    steps.attrs["NSteps"] = np.int64(n)
    steps["Values"] = run.frames["time"][frames]
    steps["Values"].attrs["units"] = "h"
    steps["NumberOfParts"] = np.ones(n, "i8")
    steps["PartOffsets"] = np.arange(n, dtype="i8")
    steps["PointOffsets"] = starts
    for name in ("CellOffsets", "ConnectivityIdOffsets"):
        steps[name] = np.zeros((n, 4), "i8")
    offsets = steps.create_group("PointDataOffsets")
    for name in group["PointData"]:
        offsets[name] = starts


def _grown(group: h5py.Group, name: str, dtype: object, width: int = 0) -> h5py.Dataset:
    shape = (0, width) if width else (0,)
    limit = (None, width) if width else (None,)
    chunks = (CHUNK, width) if width else (CHUNK,)
    return group.create_dataset(name, shape, dtype, maxshape=limit, chunks=chunks, **_PACKED)


def _append(dataset: h5py.Dataset, values: np.ndarray) -> None:
    n = len(dataset)
    dataset.resize(n + len(values), axis=0)
    dataset[n:] = values
