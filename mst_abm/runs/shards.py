"""One record that may be begun, stopped, killed and called for again by anybody: whole under its name, or not there.

It is written as NAME.h5.part with checkpoints beside it, forced to the disc and renamed when it is complete.
Whoever comes next goes on from what was left; who comes meanwhile is told that it is being worked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mst_abm.errors import RecordError
from mst_abm.records.checkpoint import checkpoint_paths, remove_checkpoints
from mst_abm.records.reader import open_run
from mst_abm.runs.campaign import Campaign, Shard, open_campaign
from mst_abm.runs.keeping import Signals
from mst_abm.runs.locks import Lock
from mst_abm.runs.resuming import read_recorded, resume
from mst_abm.runs.to_file import run_to_file

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario

DONE, FAILED, BUSY = "done", "failed", "busy"


@dataclass(frozen=True)
class Work:
    """A record that is wanted: where, and of which run."""

    path: Path
    seed: int
    first_replicate: int
    replicates: int
    snapshot_replicates: int

    @property
    def part(self) -> Path:
        """Its name until it is complete."""
        return part_of(self.path)


def part_of(record: Path) -> Path:
    """The name of a record until it is complete."""
    return record.with_name(f"{record.name}.part")


def run_shard(
    folder: str | os.PathLike[str], number: int, *, signals: Signals | None = None
) -> str:
    """Run a shard of a campaign unless it is done; ``DONE``, or ``BUSY`` where another process is at it.

    ``signals``: listened to, see `Signals`; one that asks for the end leaves a checkpoint and raises
    KeyboardInterrupt.

    Raises
    ------
    RecordError
        If the campaign cannot be read or the record not be written.
    """
    campaign = _campaign(Path(folder))
    shard = campaign.shards[number]
    if is_done(campaign, shard):
        return DONE
    work = Work(
        campaign.record(shard),
        shard.seed,
        shard.first_replicate,
        shard.replicates,
        # as many snapshots of a point however it is cut into shards
        snapshot_replicates=int(shard.first_replicate == campaign.first_replicate),
    )
    return make_record(work, lambda: campaign.scenario(shard.point), signals=signals)


def is_done(campaign: Campaign, shard: Shard) -> bool:
    """Whether the record of a shard is there."""
    return campaign.record(shard).exists()


@lru_cache(maxsize=1)
def _campaign(folder: Path) -> Campaign:
    return open_campaign(folder)


def make_record(
    work: Work, scenario: Callable[[], Scenario], *, signals: Signals | None = None
) -> str:
    """Make a record that is not there yet, or go on with what was left of it."""
    signals = Signals() if signals is None else signals

    def stop() -> None:
        signals.stops = signals.keeps = True

    with Lock(work.path, lost=stop) as lock:
        if not lock.taken:
            return BUSY
        if work.path.exists():  # another process has just been here
            return DONE
        _run(work, scenario, signals)
        if not lock.is_mine():
            return BUSY
        _name(work.part, work.path)
    return DONE


def _run(work: Work, scenario: Callable[[], Scenario], signals: Signals) -> None:
    """Until the part is complete."""
    if _went_on(work.part, signals):
        return
    clear(work.part)
    run_to_file(
        scenario(),
        work.part,
        seed=work.seed,
        replicates=work.replicates,
        first_replicate=work.first_replicate,
        snapshot_replicates=work.snapshot_replicates,
        signals=signals,
    )


def _went_on(part: Path, signals: Signals) -> bool:
    """Go on with a part from its checkpoint; False where that cannot be done."""
    try:
        if read_recorded(part).status == "complete":
            return True
        if not checkpoint_paths(part):
            return False
        resume(part, signals=signals)
    except RecordError:
        # no whole record, or checkpoints of another build: what is lost is time alone
        return False
    return True


def clear(part: Path) -> None:
    """Remove what is left of a part that nobody can go on with."""
    part.unlink(missing_ok=True)
    remove_checkpoints(part)
    for left_over in part.parent.glob(f"{part.name}.partial-*"):
        left_over.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Give a complete record its name, on the disc before it is seen."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_whole(path: Path) -> bool:
    """Whether a record is there and complete."""
    try:
        with open_run(path) as run:
            return run.status == "complete"
    except (RecordError, OSError):
        return False
