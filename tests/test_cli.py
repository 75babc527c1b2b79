"""The command line: help is quick, errors are sentences, an interruption leaves a file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_simulation import FakeSimulation, make_scenario

import mst_abm.scenario
from mst_abm.cli import main
from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run

HEAVY = ("numba", "h5py", "matplotlib", "pint", "pydantic", "xarray", "numpy", "scipy", "tqdm")


@pytest.fixture
def invoke(monkeypatch, tmp_path):
    """Run a command in an empty folder with a simulation of nothing behind it."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, on_advance=None):
        def simulation(scenario, *, seed, replicates, first_replicate, threads, left_out):
            return FakeSimulation(
                scenario,
                replicates=replicates,
                first_replicate=first_replicate,
                on_advance=on_advance,
            )

        monkeypatch.setattr("mst_abm.runs.simulation.Simulation", simulation)
        # the room looks its names up lazily; what stands in its dictionary comes first
        monkeypatch.setitem(
            vars(mst_abm.scenario), "load_scenario", lambda *_, **__: make_scenario()
        )
        return CliRunner().invoke(main, list(map(str, arguments)))

    return run


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\nfrom mst_abm.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(mst_abm.__file__).parents[1])},
    )
    assert done.stdout.endswith("[]\n")
    for command in ("check", "run", "ensemble", "show", "plot", "schema"):
        assert f"\n  {command} " in done.stdout


def test_the_front_door_opens_one_name_at_a_time():
    assert mst_abm.open_run is open_run
    assert set(mst_abm.__all__) <= set(dir(mst_abm))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mst_abm.nonsense


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"mst-abm, version {mst_abm.__version__}\n"


def test_run_writes_a_file_a_table_and_a_figure(invoke, tmp_path):
    result = invoke("run", "any.yaml")
    assert result.exit_code == 0, result.output
    assert "fake: complete, 3 d simulated" in result.output
    assert result.output.endswith("figure: fake.png\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fake.h5", "fake.png"]


def test_run_without_figure_to_a_named_file_twice(invoke, tmp_path):
    result = invoke("run", "any.yaml", "-o", "a.h5", "--no-figure")
    assert result.exit_code == 0, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    again = invoke("run", "any.yaml", "-o", "a.h5", "--no-figure")
    assert again.exit_code == 2
    assert again.output == (
        "a.h5: this file exists and is never overwritten unasked; choose another name or use"
        " --force.\n"
    )
    forced = invoke("run", "any.yaml", "-o", "a.h5", "--no-figure", "--force")
    assert forced.exit_code == 0, forced.output


def test_force_replaces_a_figure_of_ours_and_no_other_picture(invoke, tmp_path):
    assert invoke("run", "any.yaml", "-o", "a.h5").exit_code == 0
    assert invoke("run", "any.yaml", "-o", "a.h5", "--force").exit_code == 0
    assert invoke("plot", "a.h5", "--force").output == "figure: a.png\n"
    (tmp_path / "a.png").write_bytes(b"a holiday")
    for command in (("run", "any.yaml", "-o", "a.h5"), ("plot", "a.h5")):
        refused = invoke(*command, "--force")
        assert refused.exit_code == 2
        assert refused.output == (
            "a.png: this is no figure of mst_abm and is not replaced even with --force; choose"
            " another name or move it away.\n"
        )
    assert (tmp_path / "a.png").read_bytes() == b"a holiday"


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (".", "expected the name of a file, got a folder"),
        ("none/a.h5", "none/a.h5: expected an existing folder, there is no 'none'"),
        ("a.png", "expected different names for the record and its figure"),
    ],
)
def test_an_impossible_output_is_refused_before_the_run(invoke, tmp_path, output, words):
    result = invoke("run", "any.yaml", "-o", output)
    assert result.exit_code == 2
    assert words in result.output and result.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_show_and_plot(invoke, tmp_path):
    invoke("run", "any.yaml", "-o", "a.h5", "--no-figure")
    assert "blasts die" in invoke("show", "a.h5").output
    assert invoke("plot", "a.h5").output == "figure: a.png\n"
    assert invoke("plot", "a.h5", "-o", "b.png").output == "figure: b.png\n"
    assert (tmp_path / "b.png").exists()


def test_an_error_is_one_sentence_and_a_traceback_only_with_debug(invoke):
    result = invoke("show", "none.h5")
    assert result.exit_code == 2
    assert result.output == "none.h5: expected a record file, there is none; check the name.\n"
    assert isinstance(invoke("--debug", "show", "none.h5").exception, RecordError)


def test_ctrl_c_says_where_the_records_are(invoke):
    def stop(to):
        if to == 30.0:
            raise KeyboardInterrupt

    result = invoke("run", "any.yaml", "-o", "a.h5", on_advance=stop)
    assert result.exit_code == 130
    assert "a.h5: holds everything up to the interruption." in result.output
    with open_run("a.h5") as run:
        assert (run.status, run.n_records) == ("interrupted", 5)


def test_a_damaged_record_is_one_sentence(tmp_path):
    """A record cut short, and one with bytes overwritten in the middle."""
    from click.testing import CliRunner

    from mst_abm.cli import main

    path = tmp_path / "box.h5"
    done = CliRunner().invoke(main, ["run", "box", "-o", str(path), "--no-figure"])
    assert done.exit_code == 0, done.output
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    cut = CliRunner().invoke(main, ["show", str(path)])
    assert cut.exit_code == 2 and len(cut.output.strip().splitlines()) == 1
    assert "expected a whole record file" in cut.output


def test_an_existing_figure_is_not_overwritten(tmp_path):
    from click.testing import CliRunner

    from mst_abm.cli import main

    figure = tmp_path / "box.png"
    figure.write_bytes(b"mine")
    refused = CliRunner().invoke(main, ["run", "box", "-o", str(tmp_path / "box.h5")])
    assert refused.exit_code == 2 and "never overwritten" in refused.output
    assert figure.read_bytes() == b"mine"
    assert not (tmp_path / "box.h5").exists()
