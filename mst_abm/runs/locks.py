"""One process at a time works at a record, on whatever node: a lock file beside it, and who is gone.

A lock is a file made by one process alone. Its owner's death is seen by process number on the same
computer, by a heartbeat that has stopped on another one. Owners follow each other by number
(``.lock-0``, ``.lock-1``), so that of two who find the same owner dead only one comes next.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mst_abm.errors import RecordError

#: Seconds between two heartbeats, and without one after which an owner elsewhere counts as dead.
BEAT, SILENCE = 10.0, 120.0


@dataclass(frozen=True)
class Owner:
    """Who holds a lock; ``beat``: time of the last sign of life, s since the epoch."""

    path: Path
    turn: int
    place: str
    pid: int
    began: str
    beat: float

    def is_dead(self, now: float) -> bool:
        """Whether nobody will come back to it, as far as can be seen from here."""
        if self.place == here():
            return not is_alive(self.pid, self.began)
        return now - self.beat > SILENCE


class Lock:
    """The right to work at one record, for as long as the block of a ``with`` lasts.

    ``taken`` tells whether it was had. ``lost`` is called, from another thread, should somebody else have
    taken over, believing this process dead (a computer that slept).
    """

    def __init__(self, record: Path, *, lost: Callable[[], None] = lambda: None) -> None:
        self.record, self.taken = record, False
        self._lost = lost
        self._turn = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        owner = owner_of(self.record)
        if owner is None or owner.is_dead(clock_of(self.record.parent)):
            self._turn = 0 if owner is None else owner.turn + 1
            self.taken = self._make()
        if self.taken:
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self.taken and self.is_mine():
            for turn in range(self._turn, -1, -1):
                _path(self.record, turn).unlink(missing_ok=True)

    def is_mine(self) -> bool:
        """Whether nobody has taken over."""
        owner = owner_of(self.record)
        return owner is not None and (owner.turn, owner.place, owner.pid) == (
            self._turn,
            here(),
            os.getpid(),
        )

    def _make(self) -> bool:
        me = {"place": here(), "pid": os.getpid(), "began": began(os.getpid())}
        try:
            handle = os.open(_path(self.record, self._turn), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            return False
        except OSError as error:
            raise RecordError(
                f"{self.record.parent}: expected a folder that can be written to "
                f"({os.strerror(error.errno or 0).lower()}); choose another one."
            ) from None
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(me, file)
        return True

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with suppress(OSError):
                if not self.is_mine():
                    self._lost()
                    return
                os.utime(_path(self.record, self._turn))


def owner_of(record: Path) -> Owner | None:
    """Who holds, or held when it died, the lock of a record."""
    turns = [int(p.suffix.rpartition("-")[2]) for p in record.parent.glob(f"{record.name}.lock-*")]
    for turn in sorted(turns, reverse=True):
        path = _path(record, turn)
        try:
            beat = path.stat().st_mtime
            told = json.loads(path.read_text(encoding="utf-8") or "{}")
        except FileNotFoundError:
            continue  # given back meanwhile
        except ValueError:
            told = {}
        # half written: its owner is just coming, or died over it and will fall silent
        return Owner(
            path, turn, told.get("place", ""), told.get("pid", 0), told.get("began", ""), beat
        )
    return None


def here() -> str:
    """This computer, and the part of it in which process numbers mean the same."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {started} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def is_alive(pid: int, start: str) -> bool:
    """Whether a process of this computer still runs and is not another one of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return began(pid) == start


def began(pid: int) -> str:
    """When a process began, in the clock of the system; "" where it cannot be told or it is a corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def _path(record: Path, turn: int) -> Path:
    return record.with_name(f"{record.name}.lock-{turn}")


def clock_of(folder: Path) -> float:
    """Now, by the clock that sets the times of files in a folder, which may be another computer's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
