"""One record that may be begun, stopped, killed and called for again by anybody: whole under its name, or not there.

It is written as NAME.h5.part with checkpoints beside it, forced to the disc and renamed when it is complete.
Whoever comes next goes on from what was left; who comes meanwhile is told that it is being worked at.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mst_abm.errors import MemoryNeedError, RecordError, ScenarioError
from mst_abm.records.atomic import settle
from mst_abm.records.checkpoint import remove_checkpoints
from mst_abm.records.reader import Run, open_run
from mst_abm.runs.campaign import FILE, Campaign, Shard, open_campaign
from mst_abm.runs.failures import NONE, Failed, note_failed, read_failed, sentence_of
from mst_abm.runs.keeping import Signals, newest
from mst_abm.runs.locks import Lock
from mst_abm.runs.resuming import Notice, read_recorded, resume
from mst_abm.runs.to_file import Engine, run_to_file
from mst_abm.version import __version__

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario

#: What became of a record: there; given up; another process is at it; not there. STRANGE: another file
#: stands under its name.
DONE, FAILED, BUSY, MISSING, STRANGE = "done", "failed", "busy", "missing", "strange"
#: Of the disc, the files and the memory of a computer, not of a replicate.
NOT_ITS_FAULT = (RecordError, ScenarioError, OSError, MemoryNeedError, MemoryError)


@dataclass(frozen=True)
class Work:
    """A record that is wanted: where, of which run, and where it is noted which replicates failed.

    ``scenario``: SHA-256 of the resolved text.
    """

    path: Path
    failure: Path
    scenario: str
    seed: int
    first_replicate: int
    replicates: int
    snapshot_replicates: int = 0
    engine: Engine = "cells"

    @property
    def part(self) -> Path:
        """Its name until it is complete."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def numbers(self) -> set[int]:
        """Numbers of its replicates."""
        return set(range(self.first_replicate, self.first_replicate + self.replicates))


def run_shard(
    folder: str | os.PathLike[str],
    number: int,
    *,
    signals: Signals | None = None,
    notice: Notice = warnings.warn,
) -> str:
    """Run a shard of a campaign unless it is there: ``DONE``, ``FAILED`` (all of it) or ``BUSY``.

    ``signals``: listened to, see `Signals`; one that asks for the end leaves a checkpoint and raises
    KeyboardInterrupt. ``notice`` is told from where a part goes on, and of a strange file.

    Raises
    ------
    RecordError
        If the campaign cannot be read or is of another version, or the record cannot be written.
    """
    place = Path(folder)
    campaign = _campaign(place, (place / FILE).stat().st_mtime_ns if (place / FILE).exists() else 0)
    campaign.refuse_other_version()
    shard = campaign.shards[number]
    return make_record(
        work_of(campaign, shard),
        lambda: campaign.scenario(shard.point),
        signals=signals,
        notice=notice,
    )


@lru_cache(maxsize=1)
def _campaign(folder: Path, _changed: int) -> Campaign:
    """The plan of a folder, read once."""
    return open_campaign(folder)


def work_of(campaign: Campaign, shard: Shard) -> Work:
    """The record of a shard."""
    return Work(
        campaign.record(shard),
        campaign.failure(shard),
        campaign.points[shard.point].scenario,
        shard.seed,
        shard.first_replicate,
        shard.replicates,
        # as many snapshots of a point however it is cut into shards
        snapshot_replicates=int(shard.first_replicate == campaign.first_replicate),
        engine=campaign.engine,
    )


def digest_of(scenario: Scenario) -> str:
    """SHA-256 of a scenario's resolved text."""
    return hashlib.sha256(scenario.resolved_text.encode()).hexdigest()


def state_of(work: Work) -> str:
    """``DONE``, ``FAILED`` (all of it), ``MISSING`` or ``STRANGE``, from the files.

    Raises
    ------
    RecordError
        If the file is there and cannot be read now, which says nothing of what is in it.
    """
    failed = read_failed(work.failure)
    if not work.path.exists():
        return FAILED if work.numbers <= failed.replicates.keys() else MISSING
    try:
        with work.path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise RecordError(
            f"{work.path}: this record could not be read ({os.strerror(error.errno or 0).lower()}); check the "
            "disc and its rights, and run the command again."
        ) from error
    try:
        with open_run(work.path) as run:
            return _state_of(work, run, failed)
    except (RecordError, OSError, KeyError):
        return STRANGE


def _state_of(work: Work, run: Run, failed: Failed) -> str:
    attributes, numbers = run.attributes, set(map(int, run.replicates))
    text = hashlib.sha256(run.scenario_text.encode()).hexdigest()
    is_of_it = int(attributes["seed"]) == work.seed and text == work.scenario
    if run.status != "complete" or not is_of_it or not numbers <= work.numbers:
        return STRANGE
    is_current = str(attributes.get("mst_abm")) == __version__
    return DONE if is_current and work.numbers <= numbers | failed.replicates.keys() else MISSING


def make_record(
    work: Work,
    scenario: Callable[[], Scenario],
    *,
    signals: Signals | None = None,
    notice: Notice = warnings.warn,
) -> str:
    """Make a record that is not there yet, or go on with what was left of it; what became of it.

    A file that is no record of this run is set aside. Replicates that fail are run again alone, and
    left out if they fail again.
    """
    if (state := state_of(work)) in (DONE, FAILED):
        return state
    signals = Signals() if signals is None else signals

    def stop() -> None:
        signals.stops = signals.keeps = True

    with Lock(work.path, lost=stop) as lock:
        if not lock.taken:
            return BUSY
        state = state_of(work)  # another process may just have been here
        if state in (DONE, FAILED):
            return state
        if state == STRANGE:
            notice(f"{work.path}: no whole record of this run; kept as {_set_aside(work.path)}.")
        if not _run(work, scenario, signals, notice):
            return FAILED
        if not lock.is_mine():
            return BUSY
        settle(work.part, work.path)
    return DONE


def _run(work: Work, scenario: Callable[[], Scenario], signals: Signals, notice: Notice) -> bool:
    """Until the part is complete; False if no replicate could be run."""
    failed = read_failed(work.failure)
    known = {} if failed.is_lost else dict(failed.replicates)
    options: dict[str, Any] = {"seed": work.seed, "signals": signals, "engine": work.engine}

    def all_but(left_out: Collection[int]) -> None:
        if not _went_on(work, left_out, signals, notice):
            clear(work.part)
            run_to_file(
                scenario(),
                work.part,
                **options,
                replicates=work.replicates,
                first_replicate=work.first_replicate,
                left_out=sorted(left_out),
                snapshot_replicates=work.snapshot_replicates,
            )

    try:
        all_but(known)
        return True
    except NOT_ITS_FAULT:
        raise
    except Exception as error:
        together = sentence_of(error)
    for number in sorted(work.numbers - known.keys()):
        if sentence := _alone(work, scenario(), number, options):
            known[number] = sentence
    note_failed(work.failure, Failed(known))
    clear(work.part)
    if not work.numbers - known.keys():
        return False
    try:
        all_but(known)
    except NOT_ITS_FAULT:
        raise
    except Exception as error:
        rest = work.numbers - known.keys()
        known |= dict.fromkeys(sorted(rest), f"{sentence_of(error)} ({together})")
        note_failed(work.failure, Failed(known))
        return False
    return True


def _alone(work: Work, scenario: Scenario, number: int, options: dict[str, Any]) -> str:
    """Run one replicate by itself; what went wrong, "" if nothing did."""
    path = work.path.with_name(f"{work.path.name}.alone")
    clear(path)
    try:
        run_to_file(scenario, path, **options, first_replicate=number, snapshot_replicates=0)
    except NOT_ITS_FAULT:
        raise
    except Exception as error:
        return sentence_of(error)
    finally:
        clear(path)
    return ""


def _went_on(work: Work, left_out: Collection[int], signals: Signals, notice: Notice) -> bool:
    """Go on with a part from its checkpoint; False where that cannot be done."""
    try:
        recorded = read_recorded(work.part)
        if set(map(int, recorded.replicates)) != work.numbers - set(left_out):
            return False
        if recorded.status == "complete":
            return True
        found, _ = newest(work.part, recorded.origin, n_records=recorded.n_records)
        if found is None:
            return False
    except RecordError:
        # no whole record, or checkpoints of another build: what is lost is time alone
        return False
    # what fails from here on, as for a full disc, is no reason to begin again
    resume(work.part, signals=signals, notice=notice)
    return True


def clear(part: Path) -> None:
    """Remove what is left of a part that nobody can go on with."""
    part.unlink(missing_ok=True)
    remove_checkpoints(part)
    for left_over in part.parent.glob(f"{part.name}.partial-*"):
        left_over.unlink(missing_ok=True)


def sweep(folder: Path, *, keep: Collection[Path]) -> None:
    """Remove what is left of records nobody wants any more, but for those that are being worked at."""
    for part in folder.glob("*.h5.part"):
        record = part.with_name(part.name.removesuffix(".part"))
        if record in keep:
            continue
        with Lock(record) as lock:
            if lock.taken:
                clear(part)


def _set_aside(path: Path) -> Path:
    """Give another name to a file that is not what its name says; nothing is overwritten."""
    number = 1
    while (other := path.with_name(f"{path.name}.strange-{number}")).exists():
        number += 1
    path.rename(other)
    return other


def try_again(work: Work, *, only_lost: bool = False) -> None:
    """Forget what is noted of a record's failures, so that it is run again."""
    if (failed := read_failed(work.failure)) is not NONE and (failed.is_lost or not only_lost):
        work.failure.unlink(missing_ok=True)
