"""Processes that work at shards: a pool is anything with ``width`` and ``submit(f, *args) -> Future``.

`LocalPool` gives every worker an executor of its own, so that the death of one is blamed on what it was
working at and on nothing else. Workers end with their parent, however that ended, and leave the signals
of a terminal to it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, Self

from mst_abm.errors import MstAbmError


class WorkerLost(MstAbmError, RuntimeError):
    """The process that worked at a call is gone: killed, out of memory, or its node is."""


class Pool(Protocol):
    """Where calls are worked at. Futures raise `WorkerLost` where the worker died over a call."""

    @property
    def width(self) -> int:
        """Calls worth having in flight at once."""
        ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Work at a call; function and arguments travel to another process."""
        ...

    def pass_on(self, number: int) -> None:
        """Send a signal to every worker."""
        ...


class LocalPool:
    """Processes of this computer, one thread each."""

    def __init__(self, workers: int = 1) -> None:
        self.width = workers
        self._free: list[ProcessPoolExecutor] = []
        self._all: set[ProcessPoolExecutor] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # who could leave a checkpoint has done so; what follows must not be waited for
            self.pass_on(signal.SIGKILL)
        for executor in list(self._all):
            executor.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Give a call to a free worker; a new one is started where none is free."""
        executor = self._free.pop() if self._free else self._hired()
        told: Future = Future()
        told.set_running_or_notify_cancel()

        def tell(found: Future) -> None:
            error = found.exception()
            if isinstance(error, BrokenProcessPool):
                self._all.discard(executor)
                executor.shutdown(wait=False)
                told.set_exception(WorkerLost("the process that worked at it was killed"))
                return
            self._free.append(executor)
            if error is not None:
                told.set_exception(error)
            else:
                told.set_result(found.result())

        executor.submit(function, *arguments).add_done_callback(tell)
        return told

    def pass_on(self, number: int) -> None:
        """Send a signal to every worker."""
        for executor in list(self._all):
            # the executor has no public way to its one process
            for pid in list(executor._processes or ()):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _hired(self) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(1, get_context("spawn"), begin_work)
        self._all.add(executor)
        return executor


def begin_work() -> None:
    """A worker hears the signals of its parent alone, and ends with it."""
    os.setpgrp()  # Ctrl-C is for the parent, which passes on what is to be done
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
