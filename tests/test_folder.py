"""The page of a folder: every replicate counted once, what is not whole told, groups side by side."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from worlds import mixed, plain, rule, world

from mst_abm.cli import main
from mst_abm.errors import RecordError
from mst_abm.records.reader import open_run
from mst_abm.report.folder import MOST_COURSES, arms_of, opened, read_arm
from mst_abm.runs.to_file import run_to_file

pytest.importorskip("jinja2")
pytest.importorskip("plotly")


def dying(rate: float):
    observables = {"cells": {"of": "pool.cell", "relative_to": "1 cell", "source": "test"}}
    return world(
        [rule("die", "cell", rate)],
        {"pool": mixed()},
        {"pool": {"cell": 200}},
        types=plain("cell"),
        until=48.0,
        record=6.0,
        observables=observables,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two arms, 3 + 2 and 4 replicates, an unfinished record and a file that is none."""
    place = tmp_path_factory.mktemp("trial")
    for arm, rate, sizes in (("slow", 0.01, (3, 2)), ("fast", 0.1, (4,))):
        (place / arm).mkdir()
        first = 0
        for n in sizes:
            run_to_file(
                dying(rate), place / arm / f"r{first}.h5", replicates=n, first_replicate=first
            )
            first += n
    (place / "fast" / "broken.h5").write_bytes(b"not a record")
    return place


def test_records_are_grouped_and_counted(folder):
    arms = arms_of(folder)
    assert [(arm.name, len(arm.records)) for arm in arms] == [("fast", 2), ("slow", 2)]
    fast, slow = map(read_arm, arms)
    assert (fast.replicates, slow.replicates) == (4, 5)
    assert list(fast.left_out) == ["broken.h5"] and not slow.left_out
    with opened(slow) as runs:
        assert [len(run.replicates) for run in runs] == [3, 2]
    assert MOST_COURSES > 2


def test_the_page_shows_both_arms_with_their_medians(folder):
    done = CliRunner().invoke(main, ["report", str(folder), "--force"])
    assert done.output == f"page: {folder / 'report.html'}\n"
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "9 simulated courses" in text and "broken.h5" in text
    data = [
        json.loads(found) for found in re.findall(r'application/json">(.*?)</script>', text, re.S)
    ]
    (panel,) = (
        item for item in data if {line["name"] for line in item["lines"]} == {"fast", "slow"}
    )
    medians = {line["name"]: line["values"] for line in panel["lines"]}
    for arm in ("fast", "slow"):
        values = []
        for path in sorted((folder / arm).glob("r*.h5")):
            with open_run(path) as run:
                values.append(run.observed["cells"])
        assert medians[arm] == pytest.approx(np.median(np.concatenate(values), axis=0).tolist())
    assert 'href="slow/r0.h5"' in text


def test_courses_that_are_not_drawn_are_told(folder, monkeypatch):
    from mst_abm.report.comparison import folder_page

    def words():
        return " ".join(t for s in folder_page(folder, folder / "x.html").sections for t in s.text)

    assert "courses are those of" not in words()
    monkeypatch.setattr("mst_abm.report.folder.MOST_COURSES", 1)
    assert "slow: courses are those of 1 of 2 records" in words()


def test_a_folder_without_records_is_one_sentence(tmp_path):
    with pytest.raises(RecordError, match="there is none in it"):
        arms_of(tmp_path)
    done = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert done.exit_code == 2 and "expected a folder with records" in done.output


def test_a_campaign_says_how_many_of_how_many(tmp_path):
    from mst_abm.runs.campaign import plan_campaign
    from mst_abm.runs.shards import run_shard

    (tmp_path / "dying.yaml").write_text(dying(0.05).resolved_text, encoding="utf-8")
    campaign = plan_campaign(tmp_path / "dying.yaml", tmp_path / "c", replicates=5, per_shard=2)
    for number in (0, 2):
        run_shard(campaign.folder, number)
    (arm,) = arms_of(tmp_path / "c")
    assert (arm.planned, read_arm(arm).replicates) == (5, 3)
    CliRunner().invoke(main, ["report", str(tmp_path / "c")], catch_exceptions=False)
    assert "3 of 5" in (tmp_path / "c" / "report.html").read_text(encoding="utf-8")
