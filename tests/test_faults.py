"""Kills at random instants, damaged files, full discs: what was committed stays, and a run goes on or says why not."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from busy_body import busy_body
from click.testing import CliRunner
from stopped import StoppedAt, contents, differences
from worlds import seed_of

import mst_abm.records.checkpoint as files
import mst_abm.runs.to_file as to_file
from mst_abm.cli import main
from mst_abm.errors import DiscFullError, RecordError
from mst_abm.records.checkpoint import checkpoint_paths, read_checkpoint, write_checkpoint
from mst_abm.records.reader import open_run
from mst_abm.records.writer import RunWriter
from mst_abm.runs.resuming import resume
from mst_abm.runs.to_file import run_to_file
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

KILLS = 12
MANY = 200
OPTIONS = {"replicates": 3, "first_replicate": 1, "seed": 9}


def scenario() -> Scenario:
    """A body that writes as much as it computes: records every half hour, a checkpoint every hour."""
    more = ["run.record={counts: 30 min, snapshots: 3 h}", "run.checkpoint=1 h"]
    return load_scenario_text(busy_body(until=24.0).resolved_text, name="busy", overrides=more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run.h5"
    run_to_file(scenario(), path, **OPTIONS)
    return path


# ------------------------------------------------------------------ kill -9


def in_a_child(work: Callable[[Callable[[object], None]], None]) -> tuple[int, int]:
    """Work in a process of its own, every record in the file at once; its number, and what it says of
    its records: a pipe with a byte for each that was committed.
    """
    told, tell = os.pipe()
    child = os.fork()
    if child:
        os.close(tell)
        return child, told
    try:
        os.close(told)
        to_file.RunWriter = partial(RunWriter, flush_seconds=0.0)  # type: ignore[misc]
        work(lambda _: os.write(tell, b"r"))
    finally:
        os._exit(0)


def killed(work: Callable[[Callable[[object], None]], None], after: float) -> tuple[bool, int]:
    """Kill a child after so many seconds: whether it was still at work, and the records it had committed."""
    child, told = in_a_child(work)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    n = 0
    while got := os.read(told, 1 << 16):
        n += len(got)
    os.close(told)
    return os.WIFSIGNALED(status), n


def is_beginning(part: Path, whole: Path) -> int:
    """Records of a file that was cut off, each as in the whole one."""
    with open_run(part) as one, open_run(whole) as other:
        n = one.n_records
        assert (one.times_h == other.times_h[:n]).all()
        assert (one.events() == other.events()[:, :n]).all()
        for name in one.compartment_names:
            assert (one.counts(name) == other.counts(name)[:, :n]).all()
        for i in range(one.n_snapshots):
            mine, its = one.snapshot(i).columns, other.snapshot(i).columns
            assert all((mine[name] == its[name]).all() for name in its)
        return n


def kill_and_go_on(path: Path, whole: Path, draw: random.Random, seconds: float) -> list[str]:
    """A run killed at random, gone on with, killed again, gone on with to the end; what was met."""
    free = {"checkpoint_cost": math.inf}

    def begin(progress: Callable[[object], None]) -> None:
        run_to_file(scenario(), path, progress=progress, **OPTIONS, **free)

    def go_on(progress: Callable[[object], None]) -> None:
        resume(path, progress=progress, threads=1, **free)

    met = []
    was_at_work, n = killed(begin, draw.uniform(0.0, seconds))
    met.append("killed" if was_at_work else "over before")
    if not path.exists():
        assert n == 0
        return [*met, "before the first record"]
    assert is_beginning(path, whole) >= n
    met.append("while a checkpoint was written" if list(path.parent.glob("*.partial")) else "else")
    met.append("with a checkpoint" if checkpoint_paths(path) else "without")
    if was_at_work:
        before = is_beginning(path, whole)
        killed(go_on, draw.uniform(0.0, seconds))
        met.append("shorter after resume" if is_beginning(path, whole) < before else "longer")
    with open_run(path) as run:
        status = run.status
    if status != "complete":
        resume(path)
    elif checkpoint_paths(path):  # killed when all was written but its checkpoints not yet removed
        with pytest.raises(RecordError, match="complete"):
            resume(path)
    assert differences(path, whole) == []
    left = [p.name for p in path.parent.iterdir() if ".h5.partial-" not in p.name]
    assert left == [path.name]
    return met


def kills(n: int, folder: Path, whole: Path) -> Counter:
    draw = random.Random(seed_of(7))
    begin = time.monotonic()
    child, told = in_a_child(
        lambda tell: run_to_file(
            scenario(), folder / "t.h5", progress=tell, checkpoint_cost=math.inf, **OPTIONS
        )
    )
    os.waitpid(child, 0)
    os.close(told)
    seconds = time.monotonic() - begin
    met: Counter = Counter()
    for i in range(n):
        place = folder / str(i)
        place.mkdir()
        met.update(kill_and_go_on(place / "run.h5", whole, draw, seconds))
        shutil.rmtree(place)
    return met


@pytest.mark.proof
def test_killed_at_a_dozen_instants(tmp_path: Path, whole: Path) -> None:
    met = kills(KILLS, tmp_path, whole)
    assert met["killed"] >= KILLS // 2 and met["with a checkpoint"] >= 3, met


@pytest.mark.verify
def test_killed_at_two_hundred_instants(tmp_path: Path, whole: Path) -> None:
    met = kills(MANY, tmp_path, whole)
    print("kills:", dict(met))
    assert met["killed"] >= MANY // 2
    assert met["while a checkpoint was written"] >= 3 and met["without"] >= 1, met


# ------------------------------------------------------------------ damaged and wrong files


@pytest.fixture
def cut(tmp_path: Path) -> Iterator[Path]:
    """A run stopped at 13 h with two checkpoints beside it."""
    path = tmp_path / "run.h5"
    signals = StoppedAt(math.inf)

    def stop(progress: to_file.Progress) -> None:
        signals.now(progress.time_h)

    signals.hour = 13.0
    with pytest.raises(KeyboardInterrupt):
        run_to_file(
            scenario(), path, progress=stop, checkpoint_cost=math.inf, signals=signals, **OPTIONS
        )
    assert len(checkpoint_paths(path)) == 2
    yield path


def refused(path: Path) -> str:
    """What `mst-abm resume` says; it is one sentence a file, and nothing is changed by it."""
    before = {p: p.read_bytes() for p in path.parent.iterdir()}
    done = CliRunner().invoke(main, ["resume", str(path)])
    assert done.exit_code == 2, done.output
    assert {p: p.read_bytes() for p in path.parent.iterdir()} == before
    return done.output


def by_age(path: Path) -> list[Path]:
    return sorted(checkpoint_paths(path), key=lambda p: read_checkpoint(p).facts["time_h"])


def test_any_byte_that_was_changed_is_noticed(cut: Path, tmp_path: Path) -> None:
    path = by_age(cut)[-1]
    data = path.read_bytes()
    draw = random.Random(seed_of(3))
    places = [0, 8, len(data) // 2, len(data) - 1, *(draw.randrange(len(data)) for _ in range(60))]
    for place in places:
        wrong = bytearray(data)
        wrong[place] ^= 1 << draw.randrange(8)
        path.write_bytes(wrong)
        with pytest.raises(RecordError, match="damaged, its checksum does not hold"):
            read_checkpoint(path)
    for n in (0, 10, len(data) - 1):
        path.write_bytes(data[:n])
        with pytest.raises(RecordError, match="damaged, its checksum does not hold"):
            read_checkpoint(path)


def test_the_other_checkpoint_will_do(cut: Path, whole: Path) -> None:
    older, newer = by_age(cut)
    newer.write_bytes(newer.read_bytes()[:-5])
    told: list[str] = []
    resume(cut, notice=told.append)
    assert told[0] == f"{newer}: this checkpoint is damaged, its checksum does not hold."
    assert told[1].startswith(f"{cut}: goes on from day 0.5")
    assert differences(cut, whole) == []
    assert not older.exists()


def test_two_damaged_ones_will_not(cut: Path) -> None:
    for path in checkpoint_paths(cut):
        path.write_bytes(b"nothing")
    told = refused(cut)
    assert told.count("\n") == 2 and told.count("is damaged, its checksum does not hold.") == 2


WRONG = {
    "version": ("0.0.9", "this checkpoint is of mst_abm 0.0.9, this is 0.1.0; go on with that version."),
    "build": ("0" * 16, "was written by another build of mst_abm; go on with that build."),
    "scenario": ("0" * 64, "belongs to another scenario than the record;"),
    "seed": ("8", "belongs to seed 8, the record to 9;"),
    "replicates": (2, "holds 2 replicates, the record 3;"),
    "n_records": (999, "knew 999 records,"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_checkpoint_of_another_run_is_refused(cut: Path, name: str) -> None:
    value, words = WRONG[name]
    for path in checkpoint_paths(cut):
        found = read_checkpoint(path)
        write_checkpoint(path, found.facts | {name: value}, found.arrays)
    told = refused(cut)
    assert told.count("\n") == 2 and told.count(words) == 2, told


def test_a_record_that_is_gone_cut_or_old(cut: Path) -> None:
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    assert "expected a whole record file" in refused(cut)
    cut.write_bytes(b"not at all")
    assert "got another kind of file or a damaged one" in refused(cut)
    cut.unlink()
    assert "expected a record file, there is none" in refused(cut)


def test_without_a_checkpoint_the_run_begins_again(cut: Path, whole: Path) -> None:
    for path in checkpoint_paths(cut):
        path.unlink()
    told: list[str] = []
    resume(cut, notice=told.append)
    assert told == [f"{cut}: no checkpoint yet; the run begins again."]
    assert differences(cut, whole) == []


# ------------------------------------------------------------------ discs


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(
    cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_paths(cut)[0]
    data = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(DiscFullError, match="the disc is full") as caught:
        write_checkpoint(path, {}, {})
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == data
    assert not list(cut.parent.glob("*.partial"))


def test_a_run_goes_on_without_a_checkpoint_that_finds_no_room(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiscFullError("the disc is full.")

    monkeypatch.setattr("mst_abm.runs.keeping.write_checkpoint", full)
    told: list[str] = []
    run_to_file(
        scenario(), tmp_path / "run.h5", checkpoint_cost=math.inf, notice=told.append, **OPTIONS
    )
    assert set(told) == {"the disc is full. The run goes on."} and len(told) == 23
    assert differences(tmp_path / "run.h5", whole) == []


def test_a_folder_that_cannot_be_written_to(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser may write everywhere, so the system's answer is put in its place."""
    before = {p: p.read_bytes() for p in cut.parent.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("mst_abm.records.writer.os.access", lambda *_: False)
        with pytest.raises(RecordError, match="the folder '.*' cannot be written to"):
            resume(cut)
    assert {p: p.read_bytes() for p in cut.parent.iterdir()} == before


def test_the_comparison_sees_a_single_number(whole: Path, tmp_path: Path) -> None:
    """The control of all of the above."""
    other = tmp_path / "other.h5"
    run_to_file(scenario(), other, **OPTIONS | {"seed": 10})
    assert {"counts/blood", "digest", "events/tally"} <= set(differences(other, whole))
    assert len(contents(whole)) > 50
