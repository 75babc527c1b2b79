"""A Dask cluster as a pool: calls travel to its workers, records stay on a file system that all of them see.

A worker cannot be sent a signal without ending it; it is told through its own connection, and what is at work
there hears it as if it were one.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mst_abm.errors import ClusterError, MstAbmError
from mst_abm.extras import needs
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import WorkerLost
from mst_abm.runs.slurm import Request, bytes_of
from mst_abm.runs.working import STOPPED

#: Seconds to find a scheduler, to be answered by it, and between two looks at its workers.
PATIENCE, ANSWER, FRESH = 20.0, 10.0, 0.5
#: Seconds for what is given up anyway.
AT_ONCE = 1.0
#: Of a job of SLURM, where none is asked for.
MEMORY = "2G"
GONE = "the worker it was given to is gone"


@dataclass(frozen=True)
class Given:
    """A call that was given to the cluster: to which worker, "" where Dask chooses, and who waits for it."""

    number: int
    told: Future
    worker: str


class DaskPool:
    """Workers of a Dask cluster, one call at a time each.

    A call is bound to a worker: Dask blames a death on all calls that wait for the one that died too.

    Parameters
    ----------
    scheduler : its address, as ``tcp://node7:8786``, the path of the file it wrote, or a cluster object of Dask

    Raises
    ------
    ClusterError
        If it is not there, later if it is lost.
    MissingPackageError
        If Dask is not installed.
    """

    def __init__(self, scheduler: Any) -> None:
        distributed = needs("distributed", "cluster", "--dask")
        from mst_abm.runs.dask_worker import Leaving

        self._name = str(getattr(scheduler, "scheduler_address", scheduler))
        self._quiet = ExitStack()
        self._quiet.enter_context(quiet())
        self._mark = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._given: dict[Any, Given] = {}
        self._workers: set[str] = set()
        self._is_ending = self._is_lost = False
        self._over = threading.Event()
        try:
            self._client = distributed.Client(
                **_where(scheduler), timeout=PATIENCE, set_as_default=False, name="mst-abm"
            )
            self._client.register_plugin(Leaving(), name="mst-abm-leaving")
            self._count()
        except (OSError, ValueError, ImportError) as error:
            self._quiet.close()
            raise ClusterError(self._unfit(error)) from None
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _unfit(self, error: Exception) -> str:
        if isinstance(error, ModuleNotFoundError):
            return f"{self._name}: expected workers with mst_abm, they lack '{error.name}'; install it there."
        return (
            f"{self._name}: expected the scheduler of a Dask cluster, could not reach it "
            f"({_first_line(error)}); check the address and that it runs."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.close(timeout=AT_ONCE if self._is_lost else ANSWER)
        self._watcher.join(AT_ONCE)
        self._quiet.close()

    @property
    def width(self) -> int:
        """Workers there are now; one call is given even if there is none, so that a cluster that adapts starts one."""
        return max(1, len(self._workers))

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Give a call to a free worker."""
        from mst_abm.runs.dask_worker import build, called

        busy = {given.worker for given in self._given.values()}
        worker = min(self._workers - busy, default="")
        where = {"workers": [worker], "allow_other_workers": False} if worker else {}
        given = Given(next(self._numbers), Future(), worker)
        given.told.set_running_or_notify_cancel()
        call = (called, self._mark, given.number, build(), function, *arguments)
        future = self._asked(self._client.submit, *call, **where, pure=False)
        self._given[future] = given
        future.add_done_callback(self._tell)
        return given.told

    def pass_on(self, number: int) -> None:
        """Let every call of this pool hear a signal; those that are not begun are taken back at the end."""
        from mst_abm.runs.dask_worker import tell

        if self._is_lost:
            return
        self._is_ending = self._is_ending or number in Signals.STOPPING
        begun = self._asked(
            self._client.run, tell, self._mark, int(number), on_error="ignore"
        ).values()
        if self._is_ending:
            numbers = {number for of_a_worker in begun for number in of_a_worker}
            for future, given in list(self._given.items()):
                if given.number not in numbers:
                    future.cancel()

    def _tell(self, future: Any) -> None:
        """How a call ended, in the words of a pool; in a thread of the client's."""
        from distributed import KilledWorker

        given = self._given.pop(future, None)
        if given is None:
            return  # its worker was found to be gone
        if future.status == "finished":
            given.told.set_result(future.result())
        elif future.status == "error":
            error = future.exception()
            given.told.set_exception(WorkerLost(GONE) if isinstance(error, KilledWorker) else error)
        elif self._is_ending:
            given.told.set_result(STOPPED)
        else:
            given.told.set_exception(self._lost())

    def _watch(self) -> None:
        """Look for workers that come and go until the pool is closed, or the scheduler lost."""
        while not self._over.wait(FRESH):
            try:
                self._count()
            except ClusterError as error:
                for future in list(self._given):
                    if (given := self._given.pop(future, None)) is not None:
                        given.told.set_exception(error)
                return

    def _count(self) -> None:
        """Which workers there are; calls that were bound to others are lost."""
        self._workers = set(self._asked(self._client.nthreads))
        for future, given in list(self._given.items()):
            is_gone = given.worker and given.worker not in self._workers
            if is_gone and self._given.pop(future, None) is not None:
                future.cancel()
                given.told.set_exception(WorkerLost(GONE))

    def _asked(self, ask: Callable[..., Any], *arguments: Any, **words: Any) -> Any:
        try:
            return ask(*arguments, **words)
        except (OSError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            if isinstance(error, MstAbmError):
                raise
            raise self._lost() from None

    def _lost(self) -> ClusterError:
        self._is_lost = True
        return ClusterError(
            f"{self._name}: the scheduler is gone, or no longer answers; what is done is kept, run the command "
            "again to go on."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask from logging: what concerns a user is said in our words."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    spoke = [log for log in map(logging.getLogger, names) if not log.disabled]
    for log in spoke:
        log.disabled = True
    try:
        yield
    finally:
        for log in spoke:
            log.disabled = False


def _where(scheduler: Any) -> dict[str, Any]:
    """A scheduler in the words of Dask's client."""
    if isinstance(scheduler, str) and Path(scheduler).is_file():
        return {"scheduler_file": scheduler}
    return {"address": scheduler}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def slurm_pool(request: Request, logs: Path) -> Iterator[DaskPool]:
    """A Dask cluster whose workers are jobs of SLURM, for as long as the block lasts.

    Parameters
    ----------
    request : of every job, one worker each; as many jobs as it has tasks, and one that is lost is replaced
    logs : folder of the jobs' output, which all nodes see

    Raises
    ------
    ClusterError
        If SLURM is not there, or refuses.
    """
    jobqueue = needs("dask_jobqueue", "cluster", "--slurm")
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "--slurm: expected the command sbatch, there is none; work on a node that submits jobs."
        )
    options: dict[str, Any] = {"queue": request.partition, "walltime": request.time}
    with quiet():
        try:
            # pages of figures listen where they are told to, even where they are off
            cluster = jobqueue.SLURMCluster(
                **{name: value for name, value in options.items() if value},
                cores=1,
                processes=1,
                memory=f"{bytes_of(request.memory or MEMORY)}B",
                python=sys.executable,
                log_directory=str(logs.absolute()),
                job_extra_directives=list(request.more),
                scheduler_options={"dashboard_address": "127.0.0.1:0"},
                worker_extra_args=["--dashboard-address", "127.0.0.1:0"],
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"--slurm: no cluster could be made ({_first_line(error)})."
            ) from None
        # not scale(), which does not replace a job that is lost
        with cluster:
            cluster.adapt(minimum=request.tasks, maximum=request.tasks)
            with DaskPool(cluster) as pool:
                yield pool
