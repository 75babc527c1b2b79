"""Shards on Dask workers beside the pool of this computer: replicates per second, and what a shard costs beside its run."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.timing import Result

WORKERS = 2
#: Cubes of cells for so long that a replicate takes about a second, or a hundredth.
SCENARIO = """
model: reference
override: {{compartments.cube.lattice.shape: [20, 20, 20]}}
run: {{until: {days} d, record: {{counts: 1 d}}}}
"""
SECOND, SHORT = 430.0, 2.0


@contextmanager
def dask_pool() -> Iterator[Any]:
    """A Dask cluster of processes of this computer."""
    from distributed import LocalCluster

    from mst_abm.runs.dask_pool import DaskPool

    with (
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, processes=True, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        DaskPool(cluster) as pool,
    ):  # fmt: skip
        yield pool


def local_pool() -> AbstractContextManager[Any]:
    from mst_abm.runs.pools import LocalPool

    return LocalPool(WORKERS)


POOLS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "local": local_pool,
    "dask": dask_pool,
}


def cpu_of_all() -> float:
    """CPU time of this process and of all it started that still run, s."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(t.user + t.system for t in times)


def measure(
    pool: AbstractContextManager[Any], days: float, replicates: int, rounds: int
) -> list[tuple[float, float]]:
    """Wall and CPU time per replicate of campaigns of single replicates, workers warm."""
    from mst_abm.runs.campaign import plan_campaign
    from mst_abm.runs.working import run_missing

    seen = []
    with pool as workers, tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cube.yaml"
        path.write_text(SCENARIO.format(days=days))
        for i in range(rounds + 1):
            n = replicates if i else 2 * WORKERS  # the first one loads the kernels
            campaign = plan_campaign(
                path, Path(folder) / f"out-{i}", replicates=n, per_shard=1, seed=i
            )
            wall, cpu = time.perf_counter(), cpu_of_all()
            run_missing(campaign, workers)
            seen.append(((time.perf_counter() - wall) / n, (cpu_of_all() - cpu) / n))
    return seen[1:]


def dask_beside_local(days: float, replicates: int, rounds: int) -> Iterator[Result]:
    """Replicates per second, and Dask's CPU time by the local pool's; the two cannot take turns on warm workers."""
    found = {name: measure(pool(), days, replicates, rounds) for name, pool in POOLS.items()}
    wall, cpu = (
        {name: statistics.median(row[k] for row in rows) for name, rows in found.items()}
        for k in (0, 1)
    )
    what = f"replicates of {cpu['local']:.2g} s, one a shard, {WORKERS} workers"
    for name in POOLS:
        yield Result(
            f"{what}, {name}", 1 / wall[name], "/s", note=f"{cpu[name]:.3g} s CPU each",
            raw={"wall, cpu": found[name]},
        )  # fmt: skip
    yield Result(f"{what}, dask by local", cpu["dask"] / cpu["local"], "x", note="CPU time")


def both(quick: bool) -> Iterator[Result]:
    """Long replicates, and such short ones that what is beside the run is seen."""
    pairs = ((SHORT, 6, 1),) if quick else ((SECOND, 20, 3), (SHORT, 60, 3))
    for days, replicates, rounds in pairs:
        yield from dask_beside_local(days, replicates, rounds)
