"""Job arrays: the script, what is refused, and a real SLURM that stops, requeues and preempts tasks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from slurm_cluster import Cluster, slurm  # noqa: F401  (a fixture)
from stopped import differences

from mst_abm.cli import main
from mst_abm.errors import RecordError, SlurmError
from mst_abm.records.checkpoint import checkpoint_paths
from mst_abm.runs.campaign import Campaign, Shard, open_campaign
from mst_abm.runs.gathering import gather, status_of
from mst_abm.runs.locks import owner_of
from mst_abm.runs.shards import work_of
from mst_abm.runs.slurm import Request, bytes_of, ranges, script_text, seconds_of, write_script

WALKERS = """
types: {walker: {}}
rules:
  - {name: walk, move: walker, rate: 60 /h, source: test}
  - {name: divide, divide: walker -> walker + walker, rate: 0.02 /h, source: test}
  - {name: die, die: walker, rate: 0.01 /h, source: test}
compartments:
  box: {lattice: {shape: [64, 64], spacing: 8 um, neighbours: 4, boundary: periodic}}
initial: {box: {walker: 800}}
observables:
  blast_cells: {of: box.walker, relative_to: 1 cell, source: test}
run: {until: 1 d, record: {counts: 6 h}}
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "walkers.yaml"
    path.write_text(WALKERS)
    return path


def called(*words: object) -> Result:
    """The command `mst-abm slurm` in this process."""
    return CliRunner().invoke(main, ["slurm", *map(str, words)])


def planned(scenario: Path, *words: object, array: str = "4") -> Campaign:
    folder = scenario.parent / "out"
    command = [scenario, "--replicates", 8, "--per-shard", 1, "--array", array, "-o", folder]
    result = called(*command, *words)
    assert result.exit_code == 0, result.output
    return open_campaign(folder)


# ------------------------------------------------------------------ the script


def test_a_dry_run_prints_the_script_and_writes_nothing(scenario: Path) -> None:
    words = ["--replicates", 8, "--per-shard", 1, "--array", "4%2", "-o", scenario.parent / "out"]
    words += ["--time", "1-0", "--mem", "2G", "--partition", "long", "--sbatch", "--account=me"]
    result = called(scenario, *words, "--dry-run")
    assert result.exit_code == 0, result.output
    assert list(scenario.parent.iterdir()) == [scenario]
    lines = result.output.splitlines()
    expected = (
        "array=0-3%2",
        "time=1-0",
        "mem=2G",
        "partition=long",
        "account=me",
        "signal=B:USR1@120",
    )
    assert lines[0] == "#!/bin/bash"
    assert {f"#SBATCH --{option}" for option in expected} <= set(lines)
    called(scenario, *words)
    assert (scenario.parent / "out/job.sh").read_text() == result.output


def script_for(campaign: Campaign, **options: object) -> str:
    return script_text(campaign, Request(array="3", **options), campaign.folder)  # type: ignore[arg-type]


def test_bash_reads_the_script_and_every_shard_is_the_share_of_one_task(
    scenario: Path, tmp_path: Path
) -> None:
    """Python is replaced by a program that writes its arguments down."""
    campaign = planned(scenario)
    spoken = script_for(campaign)
    echo = tmp_path / "a program with 'spaces'"
    echo.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/told"\n')
    echo.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(echo))
        script = tmp_path / "job.sh"
        script.write_text(script_for(campaign))
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    for task in range(3):
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(task)}
        subprocess.run(["bash", str(script)], env=environment, check=True, capture_output=True)
    told = (tmp_path / "told").read_text().splitlines()
    assert [line.split("--workers 1 ")[1] for line in told] == [
        "--shard=0 --shard=3 --shard=6",
        "--shard=1 --shard=4 --shard=7",
        "--shard=2 --shard=5",
    ]
    assert script_for(campaign) == spoken


@pytest.mark.parametrize(
    ("sent", "status", "restarts", "requeues", "code"),
    [
        ("USR1", 130, 0, True, 0),  # stopped: goes on later
        ("USR1", 0, 0, False, 0),  # was just done
        ("USR1", 130, 100, False, 130),  # too often
        ("TERM", 130, 0, False, 130),  # SLURM itself knows what for
        ("", 2, 0, False, 2),
    ],
)
def test_what_the_script_does_with_signals(
    scenario: Path, tmp_path: Path, sent: str, status: int, restarts: int, requeues: bool, code: int
) -> None:
    """The work is a program that ends when it is told to, SLURM one that notes that it was called."""
    campaign = planned(scenario)
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    (tmp_path / "work").write_text(
        f"#!/bin/bash\ntrap 'sleep 0.2; exit {status}' TERM\n: > {tmp_path}/begun\n"
        + (f"exit {status}\n" if not sent else "while :; do sleep 0.05; done\n")
    )
    for name in ("scontrol", "work"):
        (tmp_path / name).chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "work"))
        (tmp_path / "job.sh").write_text(script_for(campaign))
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "7",
        "SLURM_RESTART_COUNT": str(restarts),
    }  # fmt: skip
    with subprocess.Popen(["bash", str(tmp_path / "job.sh")], env=environment) as job:
        until((tmp_path / "begun").exists, every_s=0.02)
        if sent:
            job.send_signal(getattr(signal, f"SIG{sent}"))
    assert job.returncode == code
    assert (tmp_path / "requeued").exists() == requeues
    if requeues:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


def test_fewer_shards_than_tasks_are_fewer_tasks(scenario: Path) -> None:
    campaign = planned(scenario, array="50%10")
    assert "#SBATCH --array=0-7%10\n" in (campaign.folder / "job.sh").read_text()


def test_memory_is_predicted_and_too_little_is_refused(scenario: Path) -> None:
    campaign = planned(scenario)
    (line,) = [li for li in script_for(campaign).splitlines() if li.startswith("#SBATCH --mem=")]
    assert 500 < int(line.removeprefix("#SBATCH --mem=").removesuffix("M")) < 1000
    (line,) = [x for x in script_for(campaign, workers=4).splitlines() if "--mem=" in x]
    assert 1500 < int(line.removeprefix("#SBATCH --mem=").removesuffix("M")) < 3000
    with pytest.raises(SlurmError, match=r"--mem: expected at least .* got 100M; ask for more"):
        script_for(campaign, memory="100M")


def test_a_short_limit_leaves_a_short_warning(scenario: Path) -> None:
    assert "--signal=B:USR1@60\n" in script_for(planned(scenario), time="4")


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("2:30", 150), ("12:00:00", 43200), ("2-12", 216000), ("1-0:30", 88200), ("0-0:0:7", 7)],
)  # fmt: skip
def test_times_of_slurm(time: str, seconds: int) -> None:
    assert seconds_of(time) == seconds


def test_small_words() -> None:
    assert [bytes_of(text) for text in ("1500", "2g", "3K")] == [1500 * 2**20, 2 * 2**30, 3 * 2**10]
    assert ranges([7, 0, 1, 2, 9, 10]) == "0-2,7,9-10"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"array": "0"}, "--array: expected a number of tasks"),
        ({"array": "5%"}, "--array: expected a number of tasks"),
        ({"time": "2 h"}, "--time: expected a time as SLURM writes it.*got '2 h'"),
        ({"time": "2:30"}, "--time: expected at least 3 minutes, got '2:30'"),
        ({"memory": "2 GB"}, "--mem: expected memory as SLURM writes it"),
        ({"partition": "a b"}, "--partition: expected the name"),
        ({"more": ("account=x",)}, "--sbatch: expected an option of sbatch"),
    ],
)
def test_what_sbatch_would_not_understand(options: dict, sentence: str) -> None:
    with pytest.raises(SlurmError, match=sentence):
        Request(**{"array": "4", **options})


def test_an_edited_script_is_kept(scenario: Path) -> None:
    campaign = planned(scenario)
    script = campaign.folder / "job.sh"
    edited = script.read_text().replace("--ntasks=1", "--ntasks=1 --nice=100")
    script.write_text(edited)
    with pytest.raises(RecordError, match="was edited.*--force"):
        write_script(campaign.folder, script_for(campaign))
    assert script.read_text() == edited
    write_script(campaign.folder, script_for(campaign), force=True)
    script.write_text("of somebody else\n")
    with pytest.raises(RecordError, match="no script of mst_abm"):
        write_script(campaign.folder, script_for(campaign), force=True)


def test_a_script_nobody_edited_is_replaced_by_one_of_other_options(scenario: Path) -> None:
    campaign = planned(scenario)
    other = script_text(campaign, Request(array="2", partition="urgent"), campaign.folder)
    write_script(campaign.folder, other)
    assert (campaign.folder / "job.sh").read_text() == other


def test_without_slurm_there_is_a_sentence(scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = called(
        scenario, "--replicates", 2, "--array", 2, "-o", scenario.parent / "out", "--submit"
    )
    assert result.exit_code == 2
    assert "sbatch: expected SLURM on this computer" in result.output
    assert str(scenario.parent / "out/job.sh") in result.output


# ------------------------------------------------------------------ a real SLURM

#: Days of the four shards that are stopped on the way, and of the others.
LONG, SHORT = "60 d", "1 d"
STOPPED = range(4)
PATIENCE_S = 600.0


def until(holds: Callable[[], object], *, every_s: float = 0.2) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every_s)


def command_line(cluster: Cluster, *words: object) -> str:
    """What `mst-abm` prints, in a process that finds the cluster."""
    return cluster.call(sys.executable, "-m", "mst_abm", *map(str, words))


class Array:
    """A submitted array, and what is done to its tasks."""

    def __init__(self, cluster: Cluster, campaign: Campaign, job: str) -> None:
        self.cluster, self.campaign, self.job = cluster, campaign, job

    def shard(self, number: int) -> Shard:
        return self.campaign.shards[number]

    def worker(self, number: int) -> int:
        """The process that works at a shard."""
        owner = owner_of(self.campaign.record(self.shard(number)))
        assert owner is not None
        return owner.pid

    def hold(self, *numbers: int) -> None:
        """Stop workers for the time being, on their way and with a checkpoint behind them.

        SLURM wakes them when they are to end, else `warn` does. So a quick computer is not too quick for the test.
        """
        parts = {number: work_of(self.campaign, self.shard(number)).part for number in numbers}

        def are_held() -> bool:
            for number, part in list(parts.items()):
                if checkpoint_paths(part):
                    os.kill(self.worker(number), signal.SIGSTOP)
                    del parts[number]
                elif part.exists():
                    os.kill(self.worker(number), signal.SIGUSR1)
            return not parts

        until(are_held, every_s=0.02)

    def warn(self, number: int) -> None:
        """What SLURM does before the time limit."""
        worker = self.worker(number)
        command = ["scancel", "-b", "-s", "USR1", f"{self.job}_{number}"]
        # as long as others of the array wait it delivers the signal, says it could not, and tries again
        with subprocess.Popen(
            command, env=self.cluster.environment, stderr=subprocess.DEVNULL
        ) as sending:
            time.sleep(0.5)
            os.kill(worker, signal.SIGCONT)
            until(lambda: self.cluster.restarts(self.job, number) == 1)
            sending.kill()

    def kill(self, number: int) -> None:
        """End all processes of a task at once: worker, work and script."""
        worker = self.worker(number)
        work = parent(worker)
        for pid in (parent(work), work, worker):
            os.kill(pid, signal.SIGKILL)

    def finish(self) -> dict[int, str]:
        """Wait for the end of all tasks, without the pause before a requeued one may start."""

        def is_over() -> bool:
            states = self.cluster.states(self.job)
            for task, state in states.items():
                if state == "PENDING":
                    self.cluster.release(f"{self.job}_{task}")
            return not {"PENDING", "RUNNING", "COMPLETING"} & set(states.values())

        until(is_over)
        return self.cluster.states(self.job)

    def resumed_from(self, number: int) -> list[float]:
        """Days from which a shard was gone on with, by the logs of its tasks."""
        name = self.campaign.record(self.shard(number)).name
        texts = [path.read_text() for path in (self.campaign.folder / "log").iterdir()]
        lines = [line for text in texts for line in text.splitlines() if "goes on from day" in line]
        return [float(li.split("from day ")[1].rstrip(".")) for li in lines if name in li]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def design(folder: Path, days: Sequence[str]) -> Path:
    path = folder / "design.csv"
    path.write_text("run.until\n" + "".join(f"{d}\n" for d in days))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], Campaign]:
    """The words that say what the campaign is, and it, done by one process of this computer."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "walkers.yaml").write_text(WALKERS)
    days = [LONG if number in STOPPED else SHORT for number in range(20)]
    words: list[object] = [folder / "walkers.yaml", "--over", design(folder, days)]
    words += ["--replicates", 1]
    done = CliRunner().invoke(main, ["ensemble", *map(str, words), "-o", str(folder / "out")])
    assert done.exit_code == 0, done.output
    return words, open_campaign(folder / "out")


def test_whatever_slurm_does_to_its_tasks(
    slurm: Cluster,  # noqa: F811
    whole: tuple[list[object], Campaign],
    tmp_path: Path,
) -> None:
    """Twenty shards in eight tasks: one is told that its time is up, one requeued, one killed, others are preempted."""
    words, local = whole
    folder = tmp_path / "with space"
    asked = [*words, "-o", folder, "--array", 8, "--time", "1:00:00", "--partition", "main"]
    told = command_line(slurm, "slurm", *asked, "--submit")
    job = told.split("job: ")[1].split(",")[0]
    array = Array(slurm, open_campaign(folder), job)
    array.hold(*STOPPED)
    out_of_time, requeued, killed, preempted = STOPPED
    told = command_line(slurm, "status", folder)
    assert "0 done, 4 running, 0 failed, 16 missing" in told
    assert "tasks in the queue of SLURM: 4 pending, 4 running" in told
    array.warn(out_of_time)
    slurm.call("scontrol", "requeue", f"{job}_{requeued}")
    array.kill(killed)
    until(lambda: slurm.states(job)[killed] == "FAILED")
    # all processors for somebody more important
    slurm.call("sbatch", "-p", "urgent", f"-n{slurm.cpus}", "-o", "/dev/null", "--wrap", "true")
    until(lambda: slurm.restarts(job, preempted) >= 1)
    states = array.finish()
    assert states.pop(killed) == "FAILED"
    assert set(states.values()) == {"COMPLETED"} and len(states) == 7
    assert slurm.restarts(job, out_of_time) >= 1 and slurm.restarts(job, requeued) >= 1
    # what was killed has left its part and is done by submitting again, nothing else
    assert status_of(array.campaign).missing == (killed, killed + 8, killed + 16)
    told = command_line(slurm, "slurm", *asked, "--submit")
    assert told.endswith("tasks: 1")
    again = Array(slurm, array.campaign, told.split("job: ")[1].split(",")[0])
    assert again.finish() == {killed: "COMPLETED"}
    for number in STOPPED:
        days = again.resumed_from(number)
        assert days and max(days) > 0.0, number
    assert gather(folder).digest == gather(local.folder).digest
    # nothing is left but records
    names = {path.suffix for path in (folder / "shards").iterdir()}
    assert names == {".h5"}
    refused = subprocess.run(
        [sys.executable, "-m", "mst_abm", "slurm", *map(str, asked), "--submit"],
        env=slurm.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2 and "no shard is missing" in refused.stderr


def test_a_lost_node_loses_nothing(
    slurm: Cluster,  # noqa: F811
    whole: tuple[list[object], Campaign],
    tmp_path: Path,
) -> None:
    """SLURM gives up the node and starts the task again; the first point alone is the first of many."""
    (file, *_), local = whole
    asked = [file, "--over", design(tmp_path, [LONG]), "--replicates", 1, "-o", tmp_path / "out"]
    told = command_line(slurm, "slurm", *asked, "--array", 1, "--submit")
    array = Array(slurm, open_campaign(tmp_path / "out"), told.split("job: ")[1].split(",")[0])
    array.hold(0)
    step = parent(parent(parent(array.worker(0))))  # SLURM's own process over the script
    slurm.lose_node()
    until(lambda: not Path(f"/proc/{step}").exists())
    assert slurm.restarts(array.job, 0) == 1
    slurm.find_node()
    assert array.finish() == {0: "COMPLETED"}
    assert array.resumed_from(0)
    first = array.campaign.shards[0]
    assert differences(local.record(local.shards[0]), array.campaign.record(first)) == []
