"""A movie shows every snapshot, in both formats, and is told from the files of others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from fake_simulation import FakeSimulation, make_scenario

from mst_abm.cli import main
from mst_abm.errors import RecordError
from mst_abm.records.places import is_ours
from mst_abm.records.reader import open_run
from mst_abm.report.movie import film
from mst_abm.runs.to_file import run_to_file


@pytest.fixture
def record(tmp_path):
    simulation = FakeSimulation(make_scenario())
    run_to_file(simulation.scenario, tmp_path / "run.h5", simulation=simulation)
    return tmp_path / "run.h5"


def test_a_gif_has_a_frame_for_every_snapshot(record, tmp_path):
    from PIL import Image

    with open_run(record) as run:
        assert film(run, tmp_path / "run.gif", per_second=4) == run.n_snapshots == 4
    with Image.open(tmp_path / "run.gif") as gif:
        frames = []
        for i in range(gif.n_frames):
            gif.seek(i)
            frames.append(np.asarray(gif.convert("RGB")).copy())
        assert gif.n_frames == 4 and gif.info["duration"] == 250
    assert all((a != b).any() for a, b in pairwise(frames))
    assert is_ours(tmp_path / "run.gif")


def test_an_mp4_is_read_back_frame_by_frame(record, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    with open_run(record) as run:
        film(run, tmp_path / "run.mp4", per_second=2)
    reader = ffmpeg.read_frames(str(tmp_path / "run.mp4"))
    facts = next(reader)
    frames = [np.frombuffer(frame, "u1") for frame in reader]
    assert facts["codec"] == "h264" and facts["fps"] == 2 and facts["size"] == (1152, 672)
    assert len(frames) == 4
    assert all((a != b).any() for a, b in pairwise(frames))
    assert is_ours(tmp_path / "run.mp4")


def test_what_cannot_be_filmed_is_one_sentence(record, tmp_path):
    with open_run(record) as run:
        with pytest.raises(RecordError, match=r"ends in .mp4 or .gif"):
            film(run, tmp_path / "run.avi")
        with pytest.raises(RecordError, match=r"expected a lattice \(marrow\), got 'blood'"):
            film(run, tmp_path / "run.gif", compartment="blood")
    simulation = FakeSimulation(make_scenario(snapshots_every_h=0.0))
    run_to_file(simulation.scenario, tmp_path / "none.h5", simulation=simulation)
    with open_run(tmp_path / "none.h5") as run, pytest.raises(RecordError, match="no snapshots"):
        film(run, tmp_path / "run.gif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none.h5", "run.h5"]


def test_the_command_films_and_replaces_only_movies(record, tmp_path):
    place = tmp_path / "a.gif"
    done = CliRunner().invoke(main, ["movie", str(record), "-o", str(place)])
    assert done.output == f"movie: {place} (4 frames)\n"
    place.write_bytes(b"a letter")
    done = CliRunner().invoke(main, ["movie", str(record), "-o", str(place), "--force"])
    assert done.exit_code == 2 and "this is no movie of mst_abm" in done.output
