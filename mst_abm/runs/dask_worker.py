"""What happens in a worker of a Dask cluster: one call at a time, which hears what its pool passes on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from distributed import WorkerPlugin, get_worker

from mst_abm.errors import ClusterError
from mst_abm.runs.keeping import Signals, build_digest
from mst_abm.runs.working import STOPPED
from mst_abm.version import __version__

#: Seconds a worker that is about to be closed waits for checkpoints; its nanny waits for five.
LEAVE = 3.0

#: Of calls at work in this process: the pool's mark and the call's number there, by thread. And marks of pools that are ending.
_at_work: dict[int, tuple[str, int]] = {}
_ending: set[str] = set()


def called(
    mark: str, number: int, wanted: str, function: Callable[..., Any], /, *arguments: Any
) -> Any:
    """A call in a worker; ``STOPPED`` if it was put down before its end, to be taken up again.

    Raises
    ------
    ClusterError
        If the worker has another build, or several threads.
    """
    if mark in _ending:
        return STOPPED
    place, worker = socket.gethostname(), get_worker()
    if wanted != build():
        raise ClusterError(
            f"worker on {place}: expected mst_abm {wanted}, got {build()}; install the same there."
        )
    if worker.state.nthreads != 1:
        raise ClusterError(
            f"worker on {place}: expected one thread, got {worker.state.nthreads}; start workers with "
            "--nthreads 1, and --nworkers as many as there are processors."
        )
    thread = threading.get_ident()
    with Signals():  # before the call has its own, which begins with what was heard
        _at_work[thread] = (mark, number)
        try:
            return function(*arguments)
        except KeyboardInterrupt:
            return STOPPED
        finally:
            del _at_work[thread]


def tell(mark: str, signal: int) -> list[int]:
    """Let calls of a pool that are at work here hear a signal, and those that come; their numbers."""
    if signal in Signals.STOPPING:
        _ending.add(mark)
    told = []
    for thread, (whose, number) in list(_at_work.items()):
        if whose == mark:
            Signals.tell(thread, signal)
            told.append(number)
    return told


class Leaving(WorkerPlugin):
    """A plugin of workers: who is closed in time leaves checkpoints, as when SLURM ends its job."""

    def teardown(self, worker: Any) -> None:
        for thread in list(_at_work):
            Signals.tell(thread, Signals.STOPPING[0])
        end = time.monotonic() + LEAVE
        while _at_work and time.monotonic() < end:
            time.sleep(0.05)


def build() -> str:
    """Version and build: what has to be the same for the same bits."""
    return f"{__version__} ({build_digest()})"
