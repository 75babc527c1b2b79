"""Tables of parameter sets, and streams of random numbers that no two runs share unless they are meant to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from dishes import DISH, planned, run, written

from mst_abm.cli import main
from mst_abm.errors import RecordError, ScenarioError
from mst_abm.records.reader import open_run
from mst_abm.runs import campaign as campaigns
from mst_abm.runs import needs
from mst_abm.runs.campaign import open_campaign, seed_of
from mst_abm.runs.gathering import gather
from mst_abm.scenario.design import DesignPoint, load_design
from mst_abm.scenario.document import Place


def design(folder: Path, name: str, text: str) -> tuple[DesignPoint, ...]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_design(path)


# ------------------------------------------------------------------ tables


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    rows = design(
        tmp_path,
        "d.csv",
        'rules.killer kills.rate,initial.box.killer,"run.until"\n5 /h, 1e1,\n\n2 /day,4,36 h\n',
    )
    assert rows[0].overrides == ("rules.killer kills.rate=5 /h", "initial.box.killer=1e1")
    assert rows[1].values[2] == ("run.until", "36 h")
    assert [row.place.line for row in rows] == [2, 4]
    campaign = planned(tmp_path, design=rows, replicates=1)
    kills = [
        next(r.rate for r in campaign.scenario(i).model.rules if r.name == "killer kills")
        for i in (0, 1)
    ]
    assert kills == pytest.approx([5.0, 2.0 / 24.0])
    assert [campaign.scenario(i).run.until_h for i in (0, 1)] == [72.0, 36.0]


def test_a_list_or_a_grid_in_yaml(tmp_path: Path) -> None:
    rows = design(
        tmp_path, "d.yaml", "- {run.until: 1 d, initial.box.killer: 4}\n- {run.until: 2 d}\n"
    )
    assert [row.overrides for row in rows] == [
        ('run.until="1 d"', "initial.box.killer=4"),
        ('run.until="2 d"',),
    ]
    grid = design(tmp_path, "g.yaml", "initial.box.killer: [4, 8]\nrun.until: [1 d, 2 d, 3 d]\n")
    assert [dict(row.values)["initial.box.killer"] for row in grid] == ["4"] * 3 + ["8"] * 3
    assert len(planned(tmp_path, design=grid, replicates=1).shards) == 6


def test_a_line_of_a_table_that_begins_with_a_hash_is_a_note(tmp_path: Path) -> None:
    assert len(design(tmp_path, "d.csv", "# of ours\nrun.until\n1 d\n#2 d\n3 d\n")) == 2


def test_every_wrong_seed_is_told(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as error:
        design(tmp_path, "d.csv", "seed\n-5\n3\nabc\n")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("d.csv", "rules.killer kils.rate\n1 /h\n2 /h\n", "d.csv:2:1: .*did you mean 'killer kills'"),
        ("d.csv", "run.until\n1 d\n2 mg\n", "d.csv:3:1: .*2 mg"),
        ("d.csv", "run.until,a\n1 d\n", "d.csv:2:1: expected 2 values, as the header has names, got 1"),
        ("d.csv", "run.until,run.until\n1 d,2 d\n", "d.csv:1:1: the name 'run.until' is given twice"),
        ("d.csv", "seed,run.until\n-4,2 d\n", "d.csv:2:1: seed: expected a whole number of 0 or more, below 2"),
        ("d.csv", "run.until\n", "d.csv: expected at least one point, got none"),
        ("d.yaml", "- {run.untill: 1 d}\n", "d.yaml:1:3: .*did you mean 'until'"),
        ("d.yaml", "run.until: 3 d\n", "d.yaml:1:12: run.until: expected a list of values"),
        ("d.yaml", "- 3\n", "d.yaml:1:3: expected a point: values by dotted name"),
        ("d.txt", "run.until\n1 d\n", "d.txt:1:1: .*read from a file that ends in .csv"),
        ("none.csv", None, "none.csv: expected a table, got: No such file"),
    ],
)  # fmt: skip
def test_mistakes_of_a_design_are_said_where_they_are_before_anything_runs(
    tmp_path: Path, name: str, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ScenarioError, match=sentence) as error:
        planned(tmp_path, design=load_design(tmp_path / name))
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------ streams


def points(*seeds: int | None, values: str = "123456789") -> list[DesignPoint]:
    return [
        DesignPoint((("initial.box.killer", value),), seed, Place("design.csv", i + 2, 1))
        for i, (seed, value) in enumerate(zip(seeds, values, strict=False))
    ]


def test_one_point_has_the_seed_of_a_run(tmp_path: Path) -> None:
    (point,) = planned(tmp_path, seed=7).points
    assert point.seed == 7


def test_points_have_seeds_of_their_own_that_further_points_do_not_move(tmp_path: Path) -> None:
    few = planned(tmp_path, "few", design=points(None, None, None))
    more = planned(tmp_path, "more", design=points(None, None, None, None, None))
    seeds = [point.seed for point in more.points]
    assert seeds[:3] == [point.seed for point in few.points]
    assert len(set(seeds)) == 5
    assert seeds == [seed_of(1, i, False) for i in range(5)]
    assert not set(seeds) & {seed_of(2, i, False) for i in range(1000)}


def test_runs_that_would_share_random_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="points 0 and 2 share the seed 5, and with it"):
        planned(tmp_path, design=points(5, 6, 5))
    derived = seed_of(1, 1, False)
    with pytest.raises(RecordError, match=f"points 0 and 1 share the seed {derived}"):
        planned(tmp_path, design=points(derived, None))
    assert not (tmp_path / "out").exists()


def test_a_collision_of_derived_seeds_would_be_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With seeds of three bits there is one among nine points, by the pigeonhole principle."""
    true = seed_of
    monkeypatch.setattr(campaigns, "seed_of", lambda *which: true(*which) % 8)
    with pytest.raises(RecordError, match=r"share the seed \d"):
        planned(tmp_path, design=points(*[None] * 9))


def test_paired_points_have_the_same_random_numbers_on_purpose(tmp_path: Path) -> None:
    """Points that differ in nothing that acts give the same replicates; unpaired ones do not."""
    idle = [
        DesignPoint((("run.checkpoint", f"{n} d"),), None, Place("design.csv", n, 1))
        for n in (2, 3)
    ]
    found = {}
    for is_paired in (True, False):
        campaign = planned(tmp_path, str(is_paired), design=idle, is_paired=is_paired, replicates=3)
        run(campaign)
        with (
            open_run(campaign.record(campaign.shards[0])) as one,
            open_run(campaign.record(campaign.shards[1])) as other,
        ):
            found[is_paired] = (one.counts("box") == other.counts("box")).all()
    assert found == {True: True, False: False}
    with pytest.raises(RecordError, match="points 0 and 1 are the same; leave one of them out"):
        planned(tmp_path, "twice", design=points(None, None, values="44"), is_paired=True)
    with pytest.raises(ScenarioError, match="design.csv:2:1: .*contradict each other"):
        planned(tmp_path, "own", design=points(3, None), is_paired=True)


def test_paired_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("initial.box.killer\n4\n8\n")
    command = ["ensemble", str(written(tmp_path)), "--replicates", "2", "--paired"]
    command += ["--over", str(tmp_path / "d.csv"), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert (
        "paired: replicate by replicate, all points have the same random numbers" in result.output
    )
    assert open_campaign(tmp_path / "out").is_paired
    seeds = gather(tmp_path / "out").columns["seed"]
    assert seeds == [1, 1, 1, 1]


def test_a_shard_takes_about_a_minute_if_nobody_says(tmp_path: Path) -> None:
    small = planned(tmp_path, "small", replicates=100_000, per_shard=None)
    assert small.per_shard == 1000
    few = planned(tmp_path, "few", replicates=20, per_shard=None)
    assert len(few.shards) == 7  # of eight at least, as far as they go evenly
    long = DISH.replace("[12, 12]", "[200, 200]").replace("prey: 60", "prey: 30000")
    long = long.replace("until: 3 d", "until: 240 d")
    cell_hours = 30_008 * 240 * 24
    found = planned(tmp_path, "long", long, replicates=400, per_shard=None)
    assert found.per_shard == int(needs.SHARD_CELL_HOURS / cell_hours) > 1
    large = DISH.replace("[12, 12]", "[1200, 1200]").replace("prey: 60", "prey: 600000")
    large_one = planned(tmp_path, "large", large, replicates=200, per_shard=None)
    assert (
        1 < large_one.per_shard < needs.SHARD_CELL_HOURS / (600_008 * 72)
    )  # it is memory that counts
