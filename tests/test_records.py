"""The record file: what goes in comes out, it opens everywhere, and nothing committed is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from fake_simulation import FakeSimulation, make_scenario, species_name

from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run
from mst_abm.records.schema import (
    ATTRIBUTES,
    DATASETS,
    Endpoint,
    Observed,
    markdown_table,
    row_of,
)
from mst_abm.records.writer import RunWriter
from mst_abm.runs.to_file import header_of, run_to_file

TESTS = Path(__file__).parent


def write(path, *, scenario=None, replicates=1, **options):
    simulation = FakeSimulation(scenario, replicates=replicates, first_replicate=3)
    run_to_file(
        simulation.scenario,
        path,
        simulation=simulation,
        replicates=replicates,
        first_replicate=3,
        **options,
    )
    return path


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return write(tmp_path_factory.mktemp("record") / "run.h5", replicates=2)


def datasets_of(file):
    found = []
    file.visititems(lambda name, item: found.append(item) if hasattr(item, "shape") else None)
    return found


def test_what_goes_in_comes_out(record):
    twin = FakeSimulation(replicates=2, first_replicate=3)
    with open_run(record) as run:
        assert (run.status, run.name, run.n_records, run.n_snapshots) == ("complete", "fake", 13, 4)
        assert run.replicates.tolist() == [3, 4]
        assert run.times_h.tolist() == list(range(0, 73, 6))
        assert run.scenario_text == twin.scenario.resolved_text
        previous = received = 0
        for k, time_h in enumerate(run.times_h):
            twin.time_h = float(time_h)
            for name, counts in twin.counts.items():
                assert np.array_equal(run.counts(name)[:, k], counts)
            assert np.array_equal(run.events()[:, k], twin.tally - previous)
            assert np.array_equal(run.received("blood")[:, k], (twin.received - received)[:, 1])
            assert np.array_equal(run.waiting("marrow")[:, k], twin.waiting["marrow"])
            for i, name in enumerate(("g_csf", "time")):
                assert np.array_equal(run.signals[name][:, k], twin.signals[:, i])
            previous, received = twin.tally, twin.received
        assert run.signal_units == {"g_csf": "1", "time": "umol/L"}
        assert run.statistics == {"attempts": 144.0, "executed": 72.0}
        assert run.digest == twin.digest()
        assert run.observed_units == {"circulating": "1e6"}
        assert run.observed_times_h.tolist() == [0, 24, 48, 72]
        blasts = run.counts("blood")[:, ::4, 1:3].sum(axis=2)
        assert np.allclose(run.observed["circulating"], blasts / 0.001 / 1e6)
        assert run.given["name"].tolist() == ["cytarabine", "donor"]
        assert run.attributes["seed"] == "7"


def test_snapshots_are_ragged_tables(record):
    twin = FakeSimulation()
    with open_run(record) as run:
        assert run.frames["time"].tolist() == [0, 24, 48, 72]
        for index in (0, 2, -1):
            snapshot = run.snapshot(index)
            twin.time_h = snapshot.time_h
            for name, values in twin.agents().items():
                assert np.array_equal(snapshot.columns[name], values)
        with pytest.raises(RecordError, match="expected a snapshot from -4 to 3, got 4"):
            run.snapshot(4)


def test_sums_by_axis_and_rule(record):
    with open_run(record) as run:
        counts = run.counts("marrow")
        by_type = run.counts_by("marrow", "type", "origin")
        assert list(by_type) == [("blast", ""), ("cd8", "host"), ("cd8", "donor"), ("stroma", "")]
        assert np.array_equal(by_type[("cd8", "donor")], counts[:, :, 4:6].sum(axis=2))
        by_rule = run.events_by("rule")
        assert np.array_equal(by_rule[("blasts die",)], run.events()[:, :, 3])
        with pytest.raises(RecordError, match="expected a compartment .marrow, blood., got 'bone'"):
            run.counts("bone")


def test_every_dataset_is_in_the_schema_with_unit_and_description(record):
    with h5py.File(record) as file:
        for dataset in datasets_of(file):
            if dataset.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but"):
                continue
            path = dataset.name.strip("/")
            row = row_of(path)
            assert dataset.attrs["units"] and dataset.attrs["long_name"], path
            assert len(row.dims) == dataset.ndim, path
            if row.dtype != "text":
                assert dataset.dtype == np.dtype(row.dtype), path
            for dim, name in zip(dataset.dims, row.dims, strict=True):
                if row.dims != (path.rpartition("/")[2],):
                    assert dim[0].name.rpartition("/")[2] == name, path
        for row in DATASETS:
            if "<" not in row.path and not row.is_optional:
                assert row.path in file, row.path
        assert {name for name, _ in ATTRIBUTES} == set(file.attrs)


def test_the_documented_table_is_the_schema():
    text = (TESTS.parent / "docs" / "file_format.md").read_text()
    assert markdown_table() in text, "paste mst_abm.records.schema.markdown_table() into the page"


@pytest.mark.parametrize("group", ["counts", "events", "signals", "clinic", "observed", "given"])
def test_opens_in_xarray(record, group):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(record, engine="h5netcdf", group=group) as dataset:
        dataset.load()
        if group == "counts":
            assert dataset.marrow.dims == ("replicate", "time", "species")
            assert dataset.species.values[4] == species_name(4)
            assert dataset.marrow.sel(replicate=4, time=6.0, species="stroma") == 4 + 6 * 6
        if group == "events":
            assert dataset.tally.dims == ("replicate", "time", "channel")
            assert dataset.rule.values[3] == "blasts die"


def test_opens_in_xarray_by_the_reader_and_in_pandas(record):
    pytest.importorskip("h5netcdf")
    pytest.importorskip("pandas")
    with open_run(record) as run:
        assert run.to_xarray("snapshots").sizes["frame"] == 4
        table = run.to_pandas("marrow")
        row = table[(table.replicate == 4) & (table.time_h == 6) & (table.species == "stroma")]
        assert row["count"].item() == 4 + 6 * 6


def test_opens_in_h5dump(record):
    if shutil.which("h5dump") is None:
        pytest.skip("h5dump is not installed")
    done = subprocess.run(
        ["h5dump", "-d", "/counts/marrow", record], capture_output=True, text=True, check=True
    )
    assert "H5T_STD_I64LE" in done.stdout and "umol" not in done.stdout
    whole = subprocess.run(["h5dump", record], capture_output=True, text=True, check=True)
    assert "blasts die" in whole.stdout and not whole.stderr


def test_the_file_format_is_one_every_reader_knows(record):
    # superblock version 3 is HDF5 1.10's; 'latest' would write a newer one
    assert record.read_bytes()[8] == 3


def test_endpoints_and_observed_counts(tmp_path):
    simulation = FakeSimulation(replicates=2)
    header = header_of(simulation, seed=1, replicates=np.arange(2))
    header = replace(
        header,
        endpoints=(Endpoint("recovery", "d", "day of neutrophils above 0.5e9/L"),),
        observed={"neutrophils": "1e9/L"},
    )
    with RunWriter(tmp_path / "a.h5", header) as writer:
        writer.append_record(simulation)
        writer.finish(
            endpoints={"recovery": np.array([12.5, np.nan])},
            true_endpoints={"recovery": np.array([12.0, 30.0])},
            observed=Observed(np.array([0.0, 24.0]), {"neutrophils": np.array([[4, 2], [4, 0.1]])}),
            digest="abc",
        )
    with open_run(tmp_path / "a.h5") as run:
        assert run.endpoints["recovery"][0] == 12.5 and np.isnan(run.endpoints["recovery"][1])
        assert run.true_endpoints["recovery"].tolist() == [12.0, 30.0]
        assert run.endpoint_table["unit"].tolist() == ["d"]
        assert run.observed["neutrophils"].tolist() == [[4, 2], [4, 0.1]]
        assert run.observed_units == {"neutrophils": "1e9/L"}
        assert run.observed_times_h.tolist() == [0, 24]


# ---------------------------------------------------------------------- refusals


def test_an_existing_file_is_not_overwritten_unasked(tmp_path):
    path = write(tmp_path / "run.h5")
    before = path.read_bytes()
    with pytest.raises(RecordError, match="never overwritten unasked"):
        write(path)
    assert path.read_bytes() == before
    write(path, scenario=make_scenario(until_h=12.0), force=True)
    with open_run(path) as run:
        assert run.n_records == 3
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


@pytest.mark.parametrize("content", [b"", b"my only copy", b"\x89HDF\r\n\x1a\n cut short"])
def test_force_replaces_nothing_but_a_record(tmp_path, content):
    path = tmp_path / "notes.h5"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="is not replaced even with --force; choose another name"):
        write(path, force=True)
    assert path.read_bytes() == content
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RecordError, match="is not replaced even with --force"):
        write(tmp_path / "other.h5", force=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes.h5", "other.h5"]


def test_force_replaces_the_file_of_a_killed_run(tmp_path):
    simulation = FakeSimulation()
    header = header_of(simulation, seed=1, replicates=np.arange(1))
    path = tmp_path / "run.h5"
    with RunWriter(tmp_path / "live.h5", header, flush_seconds=0.0) as writer:
        writer.append_record(simulation)
        shutil.copyfile(tmp_path / "live.h5", path)  # what a kill would leave
    with open_run(path) as run:
        assert run.status == "running"
    write(path, force=True)
    with open_run(path) as run:
        assert run.status == "complete"


def test_a_forced_run_that_fails_early_leaves_the_old_file(tmp_path):
    path = write(tmp_path / "run.h5")
    before = path.read_bytes()

    def fail(_):
        raise ZeroDivisionError

    simulation = FakeSimulation(on_advance=fail)
    with pytest.raises(ZeroDivisionError):
        run_to_file(simulation.scenario, path, simulation=simulation, force=True)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_bad_places_are_refused_in_one_sentence(tmp_path):
    with pytest.raises(RecordError, match="there is no '.*missing'; make it first.$"):
        write(tmp_path / "missing" / "run.h5")
    with pytest.raises(RecordError, match="got a folder; add a name.$"):
        write(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    if not os.access(closed, os.W_OK):  # root may write anywhere
        with pytest.raises(RecordError, match="cannot be written to"):
            write(closed / "run.h5")


def test_what_the_system_says_is_passed_on_without_the_librarys_words(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise OSError("Unable to open (errno = 5, error message = 'x', flags = 15, o_flags = c2)")

    monkeypatch.setattr(h5py, "File", refused)
    words = r"run.h5: could not be written \(input/output error\); check the folder and the disc.$"
    with pytest.raises(RecordError, match=words):
        write(tmp_path / "run.h5")


def test_the_reader_refuses_what_is_no_record(tmp_path):
    with pytest.raises(RecordError, match="there is none; check the name.$"):
        open_run(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(RecordError, match="which a run writes .*got another kind of file"):
        open_run(tmp_path / "text.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(RecordError, match="got another HDF5 file"):
        open_run(tmp_path / "other.h5")
    path = write(tmp_path / "run.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(RecordError, match="got 99; install a newer mst_abm"):
        open_run(path)


# ---------------------------------------------------------------------- nothing lost


def test_ctrl_c_leaves_a_readable_file(tmp_path):
    def stop(to):
        if to == 30.0:
            raise KeyboardInterrupt

    simulation = FakeSimulation(on_advance=stop)
    with pytest.raises(KeyboardInterrupt):
        run_to_file(simulation.scenario, tmp_path / "run.h5", simulation=simulation)
    with open_run(tmp_path / "run.h5") as run:
        assert run.status == "interrupted"
        assert run.times_h.tolist() == [0, 6, 12, 18, 24]
        assert run.counts("marrow").shape[1] == 5


def test_an_error_leaves_a_readable_file(tmp_path):
    def stop(to):
        if to == 12.0:
            raise ValueError

    simulation = FakeSimulation(on_advance=stop)
    with pytest.raises(ValueError):
        run_to_file(simulation.scenario, tmp_path / "run.h5", simulation=simulation)
    with open_run(tmp_path / "run.h5") as run:
        assert (run.status, run.n_records) == ("failed", 2)


def test_a_growing_file_can_be_read(tmp_path):
    simulation = FakeSimulation()
    header = header_of(simulation, seed=1, replicates=np.arange(1))
    code = (
        "import sys; from mst_abm.records.reader import open_run\n"
        "run = open_run(sys.argv[1]); print(run.status, run.n_records, run.counts('marrow').shape)"
    )
    with RunWriter(tmp_path / "run.h5", header, flush_seconds=0.0) as writer:
        for n in (1, 2):
            simulation.time_h = 6.0 * n
            writer.append_record(simulation)
            done = subprocess.run(
                [sys.executable, "-c", code, tmp_path / "run.h5"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout.strip() == f"running {n} (1, {n}, 7)"


ENDLESS = """
import os, sys
import numpy as np
from fake_simulation import FakeSimulation
from mst_abm.records.writer import RunWriter
from mst_abm.runs.to_file import header_of
sim = FakeSimulation(replicates=20)
header = header_of(sim, seed=1, replicates=np.arange(20))
writer = RunWriter(sys.argv[1], header, flush_seconds=0.0)
mark = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
for k in range(10**9):
    sim.time_h = float(k)
    if k % 3 == 0:
        writer.append_snapshot(sim)
    writer.append_record(sim)
    os.pwrite(mark, b"%012d" % writer.n_records, 0)
"""


def test_killed_at_any_moment_the_file_holds_every_committed_record(tmp_path):
    random = np.random.default_rng(1)
    for trial in range(6):
        path, mark = tmp_path / f"{trial}.h5", tmp_path / f"{trial}.txt"
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, path, mark],
            env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        )
        try:
            deadline = time.monotonic() + 60
            while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(float(random.uniform(0.02, 0.3)))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        promised = int(mark.read_text())
        with open_run(path) as run:
            assert run.status == "running" and run.n_records >= promised > 0
            n = run.n_records
            assert run.times_h.tolist() == list(range(n))
            expected = np.arange(20)[:, None, None] + (
                np.arange(n)[None, :, None] * np.arange(7)[None, None, :]
            )
            assert np.array_equal(run.counts("marrow"), expected)
            for index, time_h in enumerate(run.frames["time"]):
                assert len(run.snapshot(index)) == 10 + int(time_h)


FULL = """
import os, resource, sys
import numpy as np
from fake_simulation import FakeSimulation
from mst_abm.errors import DiscFullError
from mst_abm.records.writer import RunWriter
from mst_abm.runs.to_file import header_of
sim = FakeSimulation(replicates=20)
header = header_of(sim, seed=1, replicates=np.arange(20))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    with RunWriter(sys.argv[1], header, flush_seconds=0.0) as writer:
        for k in range(10**6):
            sim.time_h = float(k)
            writer.append_record(sim)
            writer.append_snapshot(sim)
except DiscFullError as error:
    print(error, flush=True)
    os._exit(2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of files are set as POSIX has it")
@pytest.mark.parametrize("room", [20_000, 400_000])
def test_a_full_disc_is_one_sentence(tmp_path, room):
    path = tmp_path / "run.h5"
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, str(room)],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
    )
    sentence = f"{path}: the disc is full, or a quota reached; free some space and run again.\n"
    assert (done.returncode, done.stdout) == (2, sentence), done.stderr
    # without a first record there is no file; with one it stays, as far as the disc took it
    assert path.exists() == (room > 20_000)


def test_a_hundred_thousand_replicates_are_written_within_a_second(tmp_path):
    n = 100_000
    simulation = FakeSimulation(replicates=n)
    simulation.agents = None
    header = header_of(simulation, seed=1, replicates=np.arange(n))
    started = time.process_time()
    with RunWriter(tmp_path / "run.h5", header) as writer:
        for time_h in (0.0, 4.0):
            simulation.time_h = time_h
            writer.append_record(simulation)
    assert time.process_time() - started < 5.0  # about 1 s alone; five times the datasets of a box
    with open_run(tmp_path / "run.h5") as run:
        assert run.counts("marrow").shape == (n, 2, 7)
