"""The summary and the figure say what the file holds, for a model they have never seen."""

from __future__ import annotations

import re
import struct
import warnings

import numpy as np
import pytest
from fake_simulation import FakeSimulation, make_scenario

from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run
from mst_abm.records.writer import RunWriter
from mst_abm.report.figure import draw
from mst_abm.report.groups import fatal_rules, groups_of, lasting_axes
from mst_abm.report.summary import duration, number, summary
from mst_abm.runs.to_file import header_of, run_to_file


def recorded(path, *, replicates=1, **scenario):
    simulation = FakeSimulation(make_scenario(**scenario), replicates=replicates)
    run_to_file(simulation.scenario, path, simulation=simulation, replicates=replicates)
    return open_run(path)


def test_the_summary_is_a_short_table(tmp_path):
    with recorded(tmp_path / "run.h5") as run:
        text = summary(run)
    lines = text.splitlines()
    assert lines[0] == "fake: complete, 3 d simulated, seed 7, 1 replicate"
    assert max(map(len, lines)) <= 120
    # species 4 and 5 are donor cd8, n grows by n per hour: 4 * 72 + 5 * 72
    assert re.search(r"^  donor cd8 +0 +0 +0 h +648 +3 d +648$", text, re.M)
    assert re.search(r"^deaths by rule\n  blasts die +648$", text, re.M)
    assert "  cytarabine: 150 mg, at 24 h, over 12 h" in lines
    assert "assumptions: 1 of 2 numbers" in lines
    assert f"file: {tmp_path / 'run.h5'} (13 records, 4 snapshots)" in lines
    assert "stroma" not in text  # anatomy is no cell of a patient's course


def test_lines_are_split_by_what_lasts_and_not_by_states(tmp_path):
    with recorded(tmp_path / "run.h5") as run:
        assert lasting_axes(run) == ["origin"]
        groups = groups_of(run)
        assert [g.label for g in groups["marrow"]] == ["blast", "host cd8", "donor cd8"]
        assert list(groups) == ["marrow", "blood"]


def test_deaths_are_the_events_that_leave_fewer_cells(tmp_path):
    with recorded(tmp_path / "run.h5") as run:
        assert fatal_rules(run) == {"blasts die"}


def test_numbers_are_short():
    values = (0.0, 12.0, 1234567.0, 2.5e9, 0.12345, 1e-5, float("nan"))
    assert [number(v) for v in values] == [
        "0", "12", "1,234,567", "2.5e+09", "0.1235", "1e-05", "-",
    ]  # fmt: skip
    assert (duration(36), duration(60)) == ("36 h", "2.5 d")


@pytest.mark.parametrize("replicates", [1, 3])
def test_the_figure_is_a_png_of_fair_size(tmp_path, replicates):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with recorded(tmp_path / "run.h5", replicates=replicates) as run:
            draw(run, tmp_path / "run.png")
    head = (tmp_path / "run.png").read_bytes()[:24]
    width, height = struct.unpack(">II", head[16:24])
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert 1000 < width < 3000
    assert 500 < height < 3000


def test_a_run_without_snapshots_or_with_one_record_has_a_figure(tmp_path):
    with recorded(tmp_path / "a.h5", snapshots_every_h=0.0) as run:
        draw(run, tmp_path / "a.png")
    simulation = FakeSimulation()
    header = header_of(simulation, seed=1, replicates=np.arange(1))
    with RunWriter(tmp_path / "b.h5", header) as writer:
        writer.append_record(simulation)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_run(tmp_path / "b.h5") as run:
            assert "0 h simulated" in summary(run)
            draw(run, tmp_path / "b.png")


def test_a_figure_that_cannot_be_written_is_one_sentence(tmp_path):
    with (
        recorded(tmp_path / "run.h5") as run,
        pytest.raises(RecordError, match="the figure could not be written"),
    ):
        draw(run, tmp_path / "missing" / "run.png")


def test_an_interrupted_run_has_no_endpoints_rather_than_unreached_ones(tmp_path):
    def stop(to):
        if to == 30.0:
            raise KeyboardInterrupt

    simulation = FakeSimulation(on_advance=stop)
    with pytest.raises(KeyboardInterrupt):
        run_to_file(simulation.scenario, tmp_path / "run.h5", simulation=simulation)
    with open_run(tmp_path / "run.h5") as run:
        assert "not reached" not in summary(run)
