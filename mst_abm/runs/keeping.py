"""Checkpoints of a run: when they are due, what is in them, and which of them a record can go on from."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Self

import numpy as np

import mst_abm
from mst_abm.engine.kernel import source_digest
from mst_abm.errors import RecordError
from mst_abm.records.checkpoint import (
    Checkpoint,
    checkpoint_path,
    checkpoint_paths,
    read_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)
from mst_abm.runs.batches import batch_of
from mst_abm.version import __version__

#: Share of a run's time that checkpoints may take: one is put off until the last has been paid for.
COST = 0.01
#: Price of the first, s: a run that is over in ten seconds writes none.
FIRST = 0.1


class Signals:
    """Signals of a batch system, noted down and obeyed on the next edge of the run.

    SIGTERM and SIGINT ask for a checkpoint and the end, SIGUSR1 for a checkpoint alone. A second SIGINT
    interrupts at once; a second SIGTERM is the first one heard again, from a batch system and from the script
    it runs. Only the main thread hears what the system sends; another one hears what it is told (`tell`), and
    what an outer block has been told.
    """

    STOPPING = (signal.SIGTERM, signal.SIGINT)
    _in_threads: ClassVar[dict[int, Signals]] = {}

    def __init__(self) -> None:
        self.stops = False
        self.keeps = False
        self._before: dict[int, Any] = {}
        self._outer: Signals | None = None

    @classmethod
    def tell(cls, thread: int, number: int) -> None:
        """Let a thread that is not the main one hear a signal, if it listens."""
        found = cls._in_threads.get(thread)
        if found is not None and not found.stops:
            found._hear(number, None)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*self.STOPPING, signal.SIGUSR1):
                self._before[number] = signal.signal(number, self._hear)
            return self
        thread = threading.get_ident()
        self._outer = self._in_threads.get(thread)
        self._in_threads[thread] = self
        if self._outer is not None:
            self.stops = self.stops or self._outer.stops
            self.keeps = self.keeps or self._outer.keeps
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        thread = threading.get_ident()
        if self._in_threads.get(thread) is self:
            del self._in_threads[thread]
            if self._outer is not None:
                self._in_threads[thread] = self._outer

    def _hear(self, number: int, _: FrameType | None) -> None:
        if number in self.STOPPING:
            if self.stops and number == signal.SIGINT:
                raise KeyboardInterrupt
            if self.stops:
                return
            self.stops = True
        self.keeps = True


class Keeper:
    """Writes the checkpoints of one run, two in turn, so often as its time allows.

    Parameters
    ----------
    record : path of the record file
    every_h : simulated time between two, 0 = none but those asked for by a signal
    notice : told of those that could not be written
    cost : share of the time of the wall clock they may take; infinite: whatever it takes
    """

    def __init__(
        self,
        record: Path,
        every_h: float,
        *,
        cost: float = COST,
        signals: Signals | None = None,
        notice: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.record, self.every_h = record, every_h
        self.cost = cost
        self.signals, self.notice = signals, notice
        self._number = 0
        self._last_h = 0.0
        self._rest, self._last = FIRST / cost, time.monotonic()

    def goes_on(self, checkpoint: Checkpoint) -> None:
        """The next one takes the place of the older of two."""
        self._number = int(checkpoint.facts["number"]) + 1
        self._last_h = float(checkpoint.facts["time_h"])

    @property
    def is_stopped(self) -> bool:
        """Whether a signal asked for the end."""
        return self.signals is not None and self.signals.stops

    def is_due(self, time_h: float) -> bool:
        """Whether one is wanted now."""
        if self.signals is not None and self.signals.keeps:
            return True
        is_paid = time.monotonic() - self._last >= self._rest
        return is_paid and 0.0 < self.every_h <= time_h - self._last_h + 1e-9

    def keep(self, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Write one now."""
        begin = time.monotonic()
        path = checkpoint_path(self.record, self._number % 2)
        write_checkpoint(path, {**facts, "number": self._number}, arrays)
        self._number += 1
        self._last_h = float(facts["time_h"])
        self._last = time.monotonic()
        self._rest = 0.0 if math.isinf(self.cost) else (self._last - begin) / self.cost
        if self.signals is not None:
            self.signals.keeps = False

    def put_off(self, time_h: float, reason: str) -> None:
        """One could not be written; the next is tried when the time for it comes."""
        self.notice(f"{reason} The run goes on.")
        self._last, self._last_h = time.monotonic(), time_h
        if self.signals is not None:
            self.signals.keeps = False

    def finish(self) -> None:
        """The run is over and needs them no more."""
        remove_checkpoints(self.record)


def origin(scenario_text: str, seed: int, replicates: np.ndarray) -> dict[str, Any]:
    """What has to be the same for a run to go on to the same bits."""
    return {
        "version": __version__,
        "build": build_digest(),
        "scenario": hashlib.sha256(scenario_text.encode()).hexdigest(),
        "seed": str(seed),
        "first_replicate": int(replicates[0]),
        "replicates": len(replicates),
        "left_out": batch_of(replicates)["left_out"],
    }


@cache
def build_digest(package: Path = Path(mst_abm.__file__).parent) -> str:
    """Hash of all sources of the package and of the compiler's versions (16 hex digits)."""
    digest = hashlib.sha256(source_digest().encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


MEANING = {
    "version": "is of mst_abm {found}, this is {wanted}; go on with that version",
    "build": "was written by another build of mst_abm; go on with that build",
    "scenario": "belongs to another scenario than the record; put the right one beside it",
    "seed": "belongs to seed {found}, the record to {wanted}; put the right one beside it",
    "first_replicate": "begins with replicate {found}, the record with {wanted}; put the right one "
    "beside it",
    "replicates": "holds {found} replicates, the record {wanted}; put the right one beside it",
    "left_out": "leaves out the replicates {found}, the record {wanted}; put the right one beside it",
}


def refuse_stranger(checkpoint: Checkpoint, expected: Mapping[str, Any]) -> None:
    """RecordError for a checkpoint of another version, scenario, seed or batch."""
    for name, wanted in expected.items():
        found = checkpoint.facts.get(name)
        if found != wanted:
            words = MEANING[name].format(found=found, wanted=wanted)
            raise RecordError(f"{checkpoint.path}: this checkpoint {words}.")


def newest(
    record: Path, expected: Mapping[str, Any], *, n_records: int, until_h: float = math.inf
) -> tuple[Checkpoint | None, list[str]]:
    """The latest checkpoint a record can go on from, no later than ``until_h``, and what others lack."""
    best: Checkpoint | None = None
    complaints = []
    for path in checkpoint_paths(record):
        try:
            found = read_checkpoint(path)
            refuse_stranger(found, expected)
            if found.facts["n_records"] > n_records:
                raise RecordError(
                    f"{path}: this checkpoint knew {found.facts['n_records']} records, {record} holds "
                    f"{n_records}; the record is an older copy, or was cut."
                )
        except RecordError as error:
            complaints.append(str(error))
            continue
        time_h = found.facts["time_h"]
        if time_h <= until_h + 1e-9 and (best is None or time_h > best.facts["time_h"]):
            best = found
    return best, complaints
