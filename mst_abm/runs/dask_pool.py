"""A Dask cluster as a pool: calls travel to its workers, records stay on a file system that all of them see.

Dask gives the calls of a worker that is gone to another one, and gives a call up once several workers died over it. A
worker cannot be sent a signal without ending it; it is told through its own connection, and what is at work
there hears it as if it were one.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

from mst_abm.errors import ClusterError, MstAbmError
from mst_abm.runs.keeping import Signals
from mst_abm.runs.pools import WorkerLost
from mst_abm.runs.shards import BUSY

#: Seconds to find a scheduler, to be answered by it, and for which a count of workers is good.
PATIENCE, ANSWER, FRESH = 20.0, 10.0, 1.0
INSTALL = "install the extra 'cluster': pip install 'mst-abm[cluster]'"


class DaskPool:
    """Workers of a Dask cluster, one call at a time each.

    Parameters
    ----------
    scheduler : its address, as ``tcp://node7:8786``, the path of the file it wrote, or a cluster object of Dask

    Raises
    ------
    ClusterError
        If it is not there, later if it is lost.
    """

    def __init__(self, scheduler: Any) -> None:
        try:
            from distributed import Client

            from mst_abm.runs.dask_worker import Leaving
        except ImportError:
            raise ClusterError(f"Dask is not installed here; {INSTALL}.") from None
        self._name = str(getattr(scheduler, "scheduler_address", scheduler))
        self._logger = logging.getLogger("distributed")
        self._level = self._logger.level
        self._logger.setLevel(logging.CRITICAL)  # what concerns a user is said in our words
        self._mark = uuid.uuid4().hex
        self._given: dict[Any, Future] = {}
        self._is_ending = False
        self._width, self._counted = 1, -FRESH
        try:
            self._client = Client(
                **_where(scheduler), timeout=PATIENCE, set_as_default=False, name="mst-abm"
            )
            self._client.register_plugin(Leaving(), name="mst-abm-leaving")
        except ModuleNotFoundError as error:
            self._logger.setLevel(self._level)
            raise ClusterError(
                f"{self._name}: expected workers with mst_abm, they lack '{error.name}'; install it there too."
            ) from None
        except (OSError, ValueError, ImportError) as error:
            self._logger.setLevel(self._level)
            raise ClusterError(
                f"{self._name}: expected the scheduler of a Dask cluster, could not reach it ({_first_line(error)}); "
                "check the address and that it runs."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, TimeoutError, RuntimeError):
            self._client.close(timeout=ANSWER)
        self._logger.setLevel(self._level)

    @property
    def width(self) -> int:
        """Workers there are now, and one more call for the first that is free."""
        now = time.monotonic()
        if now - self._counted > FRESH:
            self._width = 1 + len(self._asked(self._client.nthreads))
            self._counted = now
        return self._width

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        """Give a call to the cluster."""
        from mst_abm.runs.dask_worker import build, called

        told: Future = Future()
        told.set_running_or_notify_cancel()
        given = self._asked(
            self._client.submit, called, self._mark, build(), function, *arguments, pure=False
        )
        self._given[given] = told
        given.add_done_callback(partial(self._tell, told))
        return told

    def pass_on(self, number: int) -> None:
        """Let every call of this pool hear a signal; those that no worker has begun are taken back at the end."""
        from mst_abm.runs.dask_worker import tell

        self._is_ending = self._is_ending or number in Signals.STOPPING
        self._asked(self._client.run, tell, self._mark, int(number), on_error="ignore")
        if self._is_ending:
            held = {key for keys in self._asked(self._client.processing).values() for key in keys}
            for given in [given for given in self._given if given.key not in held]:
                given.cancel()

    def _tell(self, told: Future, given: Any) -> None:
        """How a call ended, in the words of a pool; in a thread of the client's."""
        from distributed import KilledWorker

        self._given.pop(given, None)
        if given.status == "finished":
            told.set_result(given.result())
        elif given.status == "error":
            error = given.exception()
            if isinstance(error, KilledWorker):
                n = error.allowed_failures + 1
                error = WorkerLost(f"{n} workers that it was given to died")
            told.set_exception(error)
        elif self._is_ending:
            told.set_result(BUSY)
        else:
            told.set_exception(self._lost())

    def _asked(self, ask: Callable[..., Any], *arguments: Any, **words: Any) -> Any:
        try:
            return ask(*arguments, **words)
        except (OSError, TimeoutError, RuntimeError, asyncio.CancelledError) as error:
            if isinstance(error, MstAbmError):
                raise
            raise self._lost() from None

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"{self._name}: the scheduler is gone, or no longer answers; what is done is kept, run the command "
            "again to go on."
        )


def _where(scheduler: Any) -> dict[str, Any]:
    """A scheduler in the words of Dask's client."""
    if isinstance(scheduler, str) and Path(scheduler).is_file():
        return {"scheduler_file": scheduler}
    return {"address": scheduler}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def slurm_pool(
    *, jobs: int, partition: str = "", time_limit: str = "", memory: str = "2GB", logs: Path,
    more: Sequence[str] = (),
) -> Iterator[DaskPool]:  # fmt: skip
    """A Dask cluster whose workers are jobs of SLURM, for as long as the block lasts.

    Parameters
    ----------
    jobs : how many, of one processor each; one that is lost is replaced
    partition, time_limit, memory : of a job, as SLURM and Dask write them; the site's where empty
    logs : folder of the jobs' output, which all nodes see
    more : further options of sbatch

    Raises
    ------
    ClusterError
        If Dask or SLURM is not there.
    """
    try:
        import dask
        from dask_jobqueue import SLURMCluster
    except ImportError:
        raise ClusterError(f"Dask for SLURM is not installed here; {INSTALL}.") from None
    options: dict[str, Any] = {"queue": partition or None, "walltime": time_limit or None}
    try:
        # a worker's death is blamed on its call at once: shards go on from their checkpoints anyway
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": 0}),
            SLURMCluster(
                **{name: value for name, value in options.items() if value},
                cores=1, processes=1, memory=memory, python=sys.executable, log_directory=str(logs),
                job_extra_directives=list(more), scheduler_options={"dashboard": False},
            ) as cluster,
        ):  # fmt: skip
            # not scale(), which does not replace a job that is lost
            cluster.adapt(minimum=jobs, maximum=jobs)
            with DaskPool(cluster) as pool:
                yield pool
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, MstAbmError):
            raise
        raise ClusterError(
            f"SLURM: jobs of workers could not be started ({_first_line(error)})."
        ) from None
