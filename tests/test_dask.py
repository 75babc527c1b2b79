"""Shards on a Dask cluster: the same bits as at home, whoever is killed or lost. Everything listens on loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dishes
import pytest
from click.testing import CliRunner
from dishes import DISH, digest, run, trial_written
from slurm_cluster import Cluster, slurm  # noqa: F401  (a fixture)

from mst_abm.cli import main
from mst_abm.errors import ClusterError
from mst_abm.runs.campaign import Campaign
from mst_abm.runs.pools import WorkerLost
from mst_abm.runs.slurm import Request, with_memory
from mst_abm.runs.trial import TABLE, run_trial
from mst_abm.runs.working import STOPPED, run_missing, shard_at_work, worked
from mst_abm.scenario.trial import load_trial

distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

from mst_abm.runs import dask_pool  # noqa: E402 (needs it)
from mst_abm.runs.dask_pool import DaskPool, slurm_pool  # noqa: E402

SHARDS = 6
#: Far longer than a test waits.
ENDLESS = """
model: reference
override:
  compartments.cube.lattice.shape: [20, 20, 20]
run: {until: 40000 d, record: {counts: 100 d}}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
        dashboard_address="127.0.0.1:0", local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as found:  # fmt: skip
        yield found


def planned(folder: Path, text: str = DISH, replicates: int = SHARDS) -> Campaign:
    return dishes.planned(folder, text=text, replicates=replicates, per_shard=1)


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return run(planned(tmp_path_factory.mktemp("home")))


def test_the_same_bits_as_at_home(cluster: Any, at_home: Campaign, tmp_path: Path) -> None:
    """By the command line, with the file a scheduler writes."""
    campaign = planned(tmp_path)
    (tmp_path / "scheduler.json").write_text(f'{{"address": "{cluster.scheduler_address}"}}')
    words = [
        "ensemble",
        str(tmp_path / "dish.yaml"),
        "--replicates",
        str(SHARDS),
        "--per-shard",
        "1",
    ]
    words += ["-o", str(tmp_path / "out"), "--dask", str(tmp_path / "scheduler.json")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert digest(campaign) == digest(at_home)


def test_a_trial_is_the_same_as_at_home(cluster: Any, tmp_path: Path) -> None:
    trial = load_trial(trial_written(tmp_path))
    run_trial(trial, tmp_path / "home", pool=dishes.Here())
    with DaskPool(cluster) as pool:
        run_trial(trial, tmp_path / "there", pool=pool)
    tables = [(tmp_path / place / TABLE).read_bytes() for place in ("home", "there")]
    assert tables[0] == tables[1]


def die_once(folder: str, number: int) -> str:
    """Kill this worker in the middle of one call, the first time."""
    mark = Path(folder) / "died"
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return str(os.getpid())


def die(folder: str, number: int) -> str:
    """Kill every worker that gets the first call."""
    if number == 0:
        os._exit(1)
    return "done"


def test_a_worker_killed_at_work_is_replaced(
    cluster: Any, at_home: Campaign, tmp_path: Path
) -> None:
    campaign = planned(tmp_path)
    with DaskPool(cluster) as pool:
        seen = dict(worked(pool, die_once, [(str(tmp_path), i) for i in range(SHARDS)]))
        assert len(seen) == SHARDS and not any(isinstance(s, WorkerLost) for s in seen.values())
        assert (tmp_path / "died").exists()
        # and in the middle of a campaign
        killed: list[int] = []

        def kill(done: int, total: int) -> None:
            if done == 1:
                pids = pool._client.run(os.getpid)
                killed.append(next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        run_missing(campaign, pool, progress=kill)
    assert len(killed) == 1
    assert digest(campaign) == digest(at_home)


def test_what_kills_every_worker_is_given_up_and_the_rest_is_done(cluster: Any) -> None:
    with DaskPool(cluster) as pool:
        seen = dict(worked(pool, die, [("", i) for i in range(4)]))
    assert isinstance(seen["", 0], WorkerLost)
    assert "the worker it was given to is gone" in str(seen["", 0])
    assert [seen["", i] for i in (1, 2, 3)] == ["done"] * 3


# ------------------------------------------------------------------ ends


def until(condition: Any, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@contextmanager
def at_work(folder: Path, address: str) -> Iterator[subprocess.Popen]:
    """`mst-abm work` in a process of its own, ended with the block."""
    command = [sys.executable, "-m", "mst_abm", "work", str(folder), "--dask", address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        try:
            yield it
        finally:
            it.kill()


def begun(campaign: Campaign) -> bool:
    """Whether a record has been begun; it is there with its first rows."""
    return bool(list((campaign.folder / "shards").glob("*.part")))


def test_ctrl_c_leaves_checkpoints_and_frees_the_workers(cluster: Any, tmp_path: Path) -> None:
    campaign = planned(tmp_path, ENDLESS)
    with at_work(campaign.folder, cluster.scheduler_address) as process:
        until(lambda: begun(campaign))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert f"Go on with: mst-abm work {campaign.folder}" in told
    assert "Traceback" not in told
    left = {p.name for p in (campaign.folder / "shards").iterdir()}
    # as many as there were workers just then
    parts = {name for name in left if name.endswith(".part")}
    assert 1 <= len(parts) <= 2
    assert left == parts | {f"{name}.checkpoint-0" for name in parts}
    with DaskPool(cluster) as pool:  # nothing of it goes on there
        assert [pool.submit(os.getpid).result(180) > 0 for _ in range(4)] == [True] * 4


@contextmanager
def programs(folder: Path) -> Iterator[tuple[list[subprocess.Popen], str]]:
    """A scheduler and one worker as processes of their own, and the file to find them by."""
    file = folder / "scheduler.json"
    # the page of figures would listen on every interface, even where it is off
    ours = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]  # fmt: skip

    def started(program: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *ours, *words]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    found = [started("dask_scheduler", "--port", "0")]
    try:
        until(file.exists)
        words = ("--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        found.append(started("dask_worker", *words))
        yield found, str(file)
    finally:
        for program in found:
            program.kill()
            program.wait()


def test_a_scheduler_that_is_lost_is_told_in_one_sentence(
    at_home: Campaign, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    campaign = planned(tmp_path)

    def lose(done: int, total: int) -> None:
        if done == 1:
            scheduler.kill()

    with programs(tmp_path) as ((scheduler, _), file):
        with (
            pytest.raises(ClusterError, match=f"{file}: the scheduler is gone, .* run the command again"),
            DaskPool(file) as pool,
        ):  # fmt: skip
            run_missing(campaign, pool, progress=lose)
        assert capfd.readouterr().err == ""
    assert 1 <= len(list((campaign.folder / "shards").glob("*.h5"))) < SHARDS
    assert digest(run(campaign)) == digest(at_home)


def test_a_worker_that_is_closed_in_time_leaves_a_checkpoint(tmp_path: Path) -> None:
    """As SLURM ends a job: SIGTERM first."""
    campaign = planned(tmp_path, ENDLESS, 1)
    shards = campaign.folder / "shards"
    with programs(tmp_path) as ((_, worker), file), DaskPool(file) as pool:
        until(lambda: pool._workers)
        future = pool.submit(shard_at_work, str(campaign.folder), 0)
        until(lambda: begun(campaign))
        worker.terminate()
        assert worker.wait(60) == 0
        assert isinstance(future.exception(60), WorkerLost) or future.result() == STOPPED
    assert len(list(shards.glob("*.part.checkpoint-*"))) == 1
    assert not list(shards.glob("*.lock*"))


# ------------------------------------------------------------------ jobs of SLURM


def test_jobs_of_slurm_are_workers_and_one_that_is_cancelled_is_replaced(
    slurm: Cluster,  # noqa: F811
    at_home: Campaign,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue", reason="the extra 'cluster' is not installed")
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    campaign = planned(tmp_path)
    seen: set[str] = set()

    def jobs() -> list[str]:
        found = slurm.call("squeue", "-h", "-t", "R", "-o", "%A", "--name", "dask-worker").split()
        seen.update(found)
        return sorted(found)

    def cancel(done: int, total: int) -> None:
        if done == 1:
            until(lambda: len(jobs()) == 2)
            slurm.call("scancel", jobs()[0])

    with (
        dask.config.set({"jobqueue.slurm.interface": "lo"}),
        slurm_pool(
            with_memory(Request(array="2", partition="main", time="10"), campaign), tmp_path / "log"
        ) as pool,
    ):  # fmt: skip
        run_missing(campaign, pool, progress=cancel)
        until(lambda: len(jobs()) == 2 and len(seen) > 2)
    assert digest(campaign) == digest(at_home)
    until(lambda: not jobs())  # all of them end with the pool


def test_what_slurm_would_not_understand_is_refused_before_anything_is_started(
    tmp_path: Path,
) -> None:
    campaign = planned(tmp_path)

    def told(*words: str) -> str:
        return CliRunner().invoke(main, ["work", str(campaign.folder), *words]).output

    assert "--mem: expected memory as SLURM writes it" in told("--slurm", "--mem", "much")
    assert "go with --slurm" in told("--jobs", "3")
    assert "leave out --dask" in told("--slurm", "--dask", "tcp://127.0.0.1:9")


# ------------------------------------------------------------------ what cannot be had


def test_no_scheduler_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_pool, "PATIENCE", 0.5)
    with pytest.raises(
        ClusterError, match=r"tcp://127.0.0.1:9: expected the scheduler .* could not"
    ):
        DaskPool("tcp://127.0.0.1:9")
    with pytest.raises(
        ClusterError, match="nowhere:///x: expected the scheduler of a Dask cluster"
    ):
        DaskPool("nowhere:///x")


def test_workers_of_several_threads_or_another_build_are_refused(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mst_abm.runs import dask_worker

    with DaskPool(cluster) as pool:
        monkeypatch.setattr(dask_worker, "build", lambda: "0.0.0 (feed)")
        with pytest.raises(
            ClusterError, match="expected mst_abm 0.0.0 .feed., got .*install the same"
        ):
            pool.submit(os.getpid).result(180)
    monkeypatch.undo()
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as wide,
        DaskPool(wide) as pool,
        pytest.raises(ClusterError, match="expected one thread, got 2; start workers with --nthreads 1"),
    ):  # fmt: skip
        pool.submit(os.getpid).result(180)
