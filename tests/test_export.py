"""A record in the formats of others, read back with the libraries of others."""

from __future__ import annotations

import json
from itertools import combinations

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from worlds import lattice, mixed, plain, rule, world

from mst_abm.cli import main
from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run
from mst_abm.records.tables import ROWS, tables_of
from mst_abm.report.export import export
from mst_abm.runs.to_file import run_to_file

FRAMES = 7


def growing(*, identity: bool = True):
    """Cells that divide on a lattice, leave it, die, and change an axis in a mixed space."""
    rules = [
        rule("divide", "cell[age=young] -> cell[age=young] + cell[age=old]", 0.3, on=["box"]),
        rule("become", "cell[age=old] -> cell[age=young]", 0.5),
        rule("die", "cell", 0.05),
        rule("leave", "cell -> pool", 0.05, on=["box"]),
    ]
    return world(
        rules,
        {"box": lattice(10, 10, 3, patches=2), "pool": mixed()},
        {"box": [{"cells": "cell[age=young]", "number": 12}], "pool": {}},
        types={"cell": {"axes": {"age": ["young", "old"]}}},
        until=12.0,
        run_options={"record": {"counts": "1 h", "snapshots": "2 h"}, "identity": identity},
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "run.h5"
    run_to_file(growing(), path, replicates=2, snapshot_replicates=2)
    return path


@pytest.fixture
def run(record):
    with open_run(record) as found:
        yield found


# ------------------------------------------------------------------ tables


def test_tables_hold_the_record(run):
    pytest.importorskip("pandas")
    counts = run.table("counts")
    wide = counts.pivot_table("cells", ["replicate", "time_h"], "species", "sum", observed=True)
    for name, values in run.counts_by("box", "species").items():
        mine = counts[(counts.compartment == "box") & (counts.species == name[0])]
        assert mine.cells.tolist() == values.ravel().tolist()
    assert len(wide) == 2 * 13
    assert counts.attrs["units"]["time_h"] == "h" and counts.attrs["units"]["body_cells"] == "cell"
    events = run.table("events")
    assert events.events.sum() == run.events().sum()
    assert events.attrs["units"]["events"] == "event"
    cells = run.table("cells")
    assert len(cells) == run.frames["size"].sum()
    last = cells[(cells.replicate == run.snapshot(-1).replicate) & (cells.time_h == 12.0)]
    snapshot = run.snapshot(-1).columns
    on_lattice = snapshot["compartment"] == 0
    assert np.array_equal(last.x_um.to_numpy()[on_lattice], snapshot["x"][on_lattice] * 8.0)
    assert np.isnan(last.x_um.to_numpy()[~on_lattice]).all()
    assert set(last.age.astype(str)) <= {"young", "old"}


def test_tables_come_in_blocks_that_join_to_the_same(run, monkeypatch):
    pytest.importorskip("pandas")
    whole = run.table("counts")
    monkeypatch.setattr("mst_abm.records.tables.ROWS", 5)
    assert ROWS > 5 and run.table("counts").equals(whole)


def test_a_wrong_name_of_a_table_is_one_sentence(run):
    with pytest.raises(RecordError, match=r"expected a table \(counts, events, .*\), got 'count'"):
        run.table("count")


def test_xarray_has_units_and_names(run):
    pytest.importorskip("h5netcdf")
    counts = run.to_xarray()
    assert counts["box"].attrs["units"] == "cell" and counts["time"].attrs["units"] == "h"
    young = counts["box"].sel(species="cell[age=young]", replicate=1)
    assert np.array_equal(young, run.counts_by("box", "species")[("cell[age=young]",)][1])
    assert run.to_pandas("box").attrs["units"]["count"] == "cell"


def test_parquet_is_the_table_with_units(record, run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("pandas")
    files = export(record, "parquet", tmp_path / "tables")
    assert [file.stem for file in files] == list(tables_of(run))
    for file in files:
        table = parquet.read_table(file)
        frame = run.table(file.stem)
        assert table.column_names == list(frame.columns)
        assert table.num_rows == len(frame)
    counts = parquet.read_table(tmp_path / "tables" / "counts.parquet")
    assert counts.schema.field("time_h").metadata == {b"unit": b"h"}
    assert counts.column("cells").to_pylist() == run.table("counts").cells.tolist()
    assert counts.column("species").to_pylist() == run.table("counts").species.tolist()


def test_csv_is_the_table(record, run, tmp_path):
    pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    export(record, "csv", tmp_path / "tables", tables=("counts", "cells"))
    assert sorted(p.name for p in (tmp_path / "tables").iterdir()) == ["cells.csv", "counts.csv"]
    read = pandas.read_csv(tmp_path / "tables" / "cells.csv", dtype={"id": "u8", "parent": "u8"})
    frame = run.table("cells")
    assert read.id.tolist() == frame.id.tolist()
    assert np.array_equal(read.x_um, frame.x_um, equal_nan=True)
    assert read.species.tolist() == frame.species.astype(str).tolist()


# ------------------------------------------------------------------ ParaView


def test_vtk_reads_every_cell_of_every_step(record, run, tmp_path):
    pytest.importorskip("vtkmodules")
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOHDF import vtkHDFReader

    (path,) = export(record, "vtkhdf", tmp_path / "cells.vtkhdf")
    reader = vtkHDFReader()
    assert reader.CanReadFile(str(path))
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    frames = run.frames_of(0)
    assert reader.GetNumberOfSteps() == len(frames) == FRAMES
    sizes = set()
    for step, frame in enumerate(frames):
        reader.SetStep(step)
        reader.Update()
        output = reader.GetOutput()
        cells = run.snapshot(int(frame)).columns
        kept = cells["compartment"] == 0
        assert reader.GetTimeValue() == run.frames["time"][frame]
        assert output.GetNumberOfPoints() == output.GetNumberOfVerts() == kept.sum()
        points = vtk_to_numpy(output.GetPoints().GetData())
        shift = cells["patch"][kept] * (10 + 4)
        assert np.array_equal(points[:, 0], (cells["x"][kept] + shift) * np.float32(8))
        for axis, name in ((1, "y"), (2, "z")):
            assert np.array_equal(points[:, axis], cells[name][kept] * np.float32(8))
        for name in ("species", "id", "birth_h", "patch"):
            array = vtk_to_numpy(output.GetPointData().GetArray(name))
            assert np.array_equal(array, cells[name][kept]), name
        sizes.add(int(kept.sum()))
    assert len(sizes) > 1  # steps differ, so that a reader stuck at one would be noticed


def test_types_of_points_are_those_of_the_cells_and_named_in_the_file(tmp_path):
    options = {"record": {"counts": "1 h", "snapshots": "1 h"}}
    both = {"box": [{"cells": "prey", "number": 7}, {"cells": "killer", "number": 5}]}
    scenario = world([rule("die", "prey", 0.1)], {"box": lattice(6, 6, 6)}, both, types=plain("prey", "killer"), until=1.0, run_options=options)  # fmt: skip
    run_to_file(scenario, tmp_path / "run.h5")
    (path,) = export(tmp_path / "run.h5", "vtkhdf")
    with h5py.File(path) as file, open_run(tmp_path / "run.h5") as run:
        names = json.loads(file.attrs["types"])
        found = [names[str(i)] for i in file["VTKHDF/PointData/type"][:12]]
        assert found == run.species["type"][run.snapshot(0).columns["species"]].tolist()
        assert sorted(found) == 5 * ["killer"] + 7 * ["prey"]


def test_a_record_without_a_lattice_or_snapshots_is_told(tmp_path):
    rules = [rule("die", "cell", 0.1)]
    options = {"record": {"counts": "1 h", "snapshots": "1 h"}}
    small = world(rules, {"pool": mixed()}, {"pool": {"cell": 9}}, types=plain("cell"), until=2.0, run_options=options)  # fmt: skip
    run_to_file(small, tmp_path / "a.h5")
    with pytest.raises(RecordError, match="has no lattice"):
        export(tmp_path / "a.h5", "vtkhdf")
    run_to_file(world(rules, {"pool": mixed()}, {"pool": {"cell": 9}}, types=plain("cell"), until=2.0), tmp_path / "b.h5")  # fmt: skip
    with pytest.raises(RecordError, match="holds no snapshots"):
        export(tmp_path / "b.h5", "vtkhdf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


# ------------------------------------------------------------------ single cells


def test_anndata_has_a_row_for_every_cell(record, run, tmp_path):
    anndata = pytest.importorskip("anndata")
    (path,) = export(record, "anndata", tmp_path / "last.h5ad")
    found = anndata.read_h5ad(path)
    cells = run.snapshot(-1).columns
    assert found.n_obs == len(cells["species"]) and found.n_vars == 0
    assert found.obs_names.tolist() == [str(i) for i in cells["id"]]
    names = run.species["species"][cells["species"]]
    assert found.obs["species"].astype(str).tolist() == names.tolist()
    on_lattice = cells["compartment"] == 0
    places = np.stack([cells[axis][on_lattice] * 8.0 for axis in "xyz"], axis=1)
    assert np.array_equal(found.obsm["spatial"][on_lattice], places)
    assert np.isnan(found.obsm["spatial"][~on_lattice]).all()
    assert found.uns["time_h"] == 12.0 and list(found.uns["type_colors"]) == ["#0072B2"]


# ------------------------------------------------------------------ descent


def ancestry(run, replicate):
    """Parent, birth and clone of every cell that a snapshot of a replicate saw, by plain reading."""
    kin = {}
    for frame in run.frames_of(replicate):
        cells = run.snapshot(int(frame)).columns
        for i, cell in enumerate(cells["id"].tolist()):
            kin[cell] = (
                int(cells["parent"][i]),
                float(cells["birth_h"][i]),
                int(cells["clone"][i]),
            )
    return kin


def line_of(kin, cell):
    """Times at which the line of a cell branched off, by mother, as far as it is known."""
    found = {}
    while cell in kin and kin[cell][0]:
        found[kin[cell][0]] = kin[cell][1]
        cell = kin[cell][0]
    return found


def test_the_tree_has_the_ancestry_and_times_of_the_record(record, run, tmp_path):
    tskit = pytest.importorskip("tskit")
    (path,) = export(record, "tskit", tmp_path / "run.trees")
    found = tskit.load(path)
    assert found.time_units == "hours" and found.num_trees == 1
    replicate = run.snapshot(-1).replicate
    kin = ancestry(run, replicate)
    cells = run.snapshot(-1).columns["id"].tolist()
    nodes = {found.node(n).metadata["id"]: n for n in found.samples()}
    assert sorted(nodes) == sorted(cells)
    tree = found.first()
    lines = {cell: line_of(kin, cell) for cell in cells}
    n_shared = n_apart = 0
    for a, b in combinations(cells, 2):
        together = [m for m in lines[a] if m in lines[b]]
        if together:
            # the first mother they share parted them; daughters of one mother were born at once
            expected = 12.0 - min(lines[a][together[0]], lines[b][together[0]])
            assert tree.tmrca(nodes[a], nodes[b]) == pytest.approx(expected, abs=1e-9)
            n_shared += 1
        elif kin[a][2] != kin[b][2]:
            assert tree.mrca(nodes[a], nodes[b]) == tskit.NULL
            n_apart += 1
    assert n_shared > 30 and n_apart > 30
    for root in tree.roots:
        if tree.is_internal(root):
            assert found.node(root).metadata["kind"] == "founder"
            assert found.node(root).time == 12.0  # all founders were there at the start
    columns = run.snapshot(-1).columns
    for i, cell in enumerate(cells):
        individual = found.individual(found.node(nodes[cell]).individual)
        assert individual.metadata["type"] == "cell" and individual.metadata["id"] == cell
        assert individual.metadata["species"] == run.species["species"][columns["species"][i]]
        if columns["compartment"][i] == 0:
            place = [columns[axis][i] * 8.0 for axis in "xyz"]
            assert individual.location.tolist() == place


def test_the_tree_says_where_it_does_not_know(tmp_path):
    pytest.importorskip("tskit")
    rare = growing()
    from dataclasses import replace

    scenario = replace(rare, run=replace(rare.run, snapshots_every_h=12.0))
    run_to_file(scenario, tmp_path / "rare.h5")
    from mst_abm.records.to_tskit import to_tskit

    with open_run(tmp_path / "rare.h5") as run:
        found = to_tskit(run)
    gaps = [n for n in found.nodes() if n.metadata.get("is_gap_above")]
    assert gaps
    tree = found.first()
    for node in gaps:
        assert found.node(tree.parent(node.id)).metadata["kind"] == "founder"
        assert found.node(tree.parent(node.id)).metadata["clone"] == node.metadata["clone"]


def test_without_identities_there_is_no_tree(tmp_path):
    pytest.importorskip("tskit")
    run_to_file(growing(identity=False), tmp_path / "run.h5")
    with pytest.raises(RecordError, match="set run: identity: on"):
        export(tmp_path / "run.h5", "tskit")


# ------------------------------------------------------------------ places


@pytest.mark.parametrize("to", ["vtkhdf", "csv", "parquet", "anndata", "tskit"])
def test_exports_replace_their_own_kind_alone_and_only_when_told(record, tmp_path, to):
    for library in ("pyarrow", "anndata", "tskit"):
        pytest.importorskip(library)
    place = tmp_path / "out"
    files = export(record, to, place)
    with pytest.raises(RecordError, match="never overwritten unasked"):
        export(record, to, place)
    before = files[0].read_bytes()
    export(record, to, place, force=True)
    assert len(files[0].read_bytes()) == len(before)
    files[0].write_text("somebody's letters")
    with pytest.raises(RecordError, match="is not replaced even with --force"):
        export(record, to, place, force=True)
    assert files[0].read_text() == "somebody's letters"
    assert not list(tmp_path.rglob("*.part*"))


def test_the_command_says_what_it_wrote(record, tmp_path):
    done = CliRunner().invoke(
        main, ["export", str(record), "--to", "vtkhdf", "-o", str(tmp_path / "a.vtkhdf")]
    )
    assert done.exit_code == 0 and done.output == f"written: {tmp_path / 'a.vtkhdf'}\n"
    done = CliRunner().invoke(main, ["export", str(record), "--to", "xml"])
    assert done.exit_code == 2 and "expected a format (vtkhdf" in done.output
