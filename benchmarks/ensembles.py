"""Campaigns on this computer: replicates per second, what a shard costs beside its kernel time, what a kill costs."""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cluster import SCENARIO, SECOND, SHORT, measure
from benchmarks.timing import Result, cpu_seconds, median_ratio, taking_turns

#: CPU time of shards by that of the kernels they call.
GOAL = 1.05


@dataclass(frozen=True)
class Size:
    """``days`` and ``per_shard`` of campaigns of ``replicates`` in the given number of rounds."""

    days: float
    per_shard: int
    replicates: int
    rounds: int


SIZES = (Size(SECOND, 1, 10, 5), Size(SECOND, 10, 10, 5), Size(SHORT, 500, 1000, 5))
QUICK = (Size(SHORT, 2, 4, 1),)


def ensembles(quick: bool) -> Iterator[Result]:
    """All of it; ``quick``: in seconds."""
    for size in QUICK if quick else SIZES:
        yield shards_by_kernel(size)
    yield from per_second(*((SHORT, 4, 1) if quick else (SECOND, 20, 3)))
    yield lost_by_a_kill(1 if quick else 5)


def planned(folder: Path, days: float, **options: Any) -> Any:
    """A campaign of cubes of cells."""
    from mst_abm.runs.campaign import plan_campaign

    path = folder / "cube.yaml"
    path.write_text(SCENARIO.format(days=days))
    return plan_campaign(path, folder / "out", **options)


def shards_by_kernel(size: Size) -> Result:
    """CPU time of shards, all told, by that of the kernels that advance the same replicates."""
    from mst_abm.runs.shards import run_shard
    from mst_abm.runs.simulation import Simulation

    with tempfile.TemporaryDirectory() as temporary:

        def campaign(i: int) -> Any:
            folder = Path(temporary) / str(i)
            folder.mkdir(exist_ok=True)
            options = {"replicates": size.replicates, "per_shard": size.per_shard, "seed": i + 1}
            return planned(folder, size.days, **options)

        def kernel(i: int) -> float:
            plan = campaign(i)
            found = 0.0
            for shard in plan.shards:
                simulation = Simulation(
                    plan.scenario(0), seed=i + 1, replicates=shard.replicates,
                    first_replicate=shard.first_replicate,
                )  # fmt: skip
                found += cpu_seconds(lambda sim=simulation: sim.advance(sim.scenario.run.until_h))
            return found

        def shards(i: int) -> float:
            plan = campaign(i)
            return cpu_seconds(lambda: [run_shard(plan.folder, s.number) for s in plan.shards])

        kernel(size.rounds)  # compiles
        seconds = taking_turns({"kernel": kernel, "shards": shards}, size.rounds)
    each = [s / size.replicates for s in seconds["kernel"]]
    what = f"replicates of {statistics.median(each):.2g} s, {size.per_shard} a shard: all told by kernel"
    ratio = median_ratio(seconds["shards"], seconds["kernel"])
    cost = tuple(1e3 * s / size.replicates for s in seconds["shards"])
    beside = 1e3 * (ratio - 1.0) * statistics.median(each)
    return Result(
        what, ratio, "x", GOAL if size.days == SECOND else None,
        f"CPU time; {beside:.2g} ms a replicate beside the kernel", {"s": seconds}, cost=cost,
    )  # fmt: skip


def per_second(days: float, replicates: int, rounds: int) -> Iterator[Result]:
    """Replicates per second of the wall clock with one worker and with two, one replicate a shard."""
    from mst_abm.runs.pools import LocalPool

    for workers in (1, 2):
        rows = measure(LocalPool(workers), days, replicates, rounds)
        wall, cpu = (statistics.median(row[k] for row in rows) for k in (0, 1))
        yield Result(
            f"replicates of {cpu:.2g} s, {workers} worker{'s' * (workers > 1)}", 1 / wall, "/s",
            note=f"wall clock, load {os.getloadavg()[0]:.1f}", raw={"wall, cpu": rows},
        )  # fmt: skip


def lost_by_a_kill(rounds: int) -> Result:
    """From the death of a worker to another one at its shard; to that comes the work since the last checkpoint."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.locks import owner_of
    from mst_abm.runs.pools import LocalPool
    from mst_abm.runs.working import run_missing

    found = []

    def pid_at(record: Path, *, but: int = 0) -> int:
        while True:
            owner = owner_of(record)
            if owner is not None and owner.pid not in (0, but):
                return owner.pid
            time.sleep(0.002)

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as temporary, LocalPool(1) as pool:
            campaign = planned(Path(temporary), 1e4, replicates=1, per_shard=1)
            signals = Signals()
            record = campaign.record(campaign.shards[0])

            def kill(record: Path = record, signals: Signals = signals) -> None:
                pid = pid_at(record)
                os.kill(pid, signal.SIGKILL)
                begin = time.perf_counter()
                pid_at(record, but=pid)
                found.append(time.perf_counter() - begin)
                signals.stops = signals.keeps = True

            watch = threading.Thread(target=kill)
            watch.start()
            try:
                run_missing(campaign, pool, signals=signals)
            except KeyboardInterrupt:
                watch.join()
    note = "wall clock, a process and its kernels loaded; and the work since the last checkpoint"
    return Result(
        "worker killed: until another is at the shard", statistics.median(found), "s", note=note
    )
