"""A real SLURM of one machine for the tests: munged, slurmctld and slurmd on loopback, in a folder of their own.

Neither systemd nor /etc/slurm nor cgroups are needed: every command finds this cluster through the variable
SLURM_CONF, and an installed SLURM is not touched. The daemons stay in the foreground as children of the test
session, so that what is stopped is what was started.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
#: Debian keeps daemons where only root looks.
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
STARTS_WITHIN_S = 30.0

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller_port}
SlurmdPort={node_port}
# listen on loopback alone
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits about as long as credentials live, by default two minutes; less than 5 s is ignored
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
# neither systemd nor cgroups
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
# the node may claim more processors than there are
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES State=UP PriorityTier=1
PartitionName=urgent Nodes={host} State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str:
    """What keeps a cluster from being started here, as the reason of a skip; "" if nothing does."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "slurmd starts jobs only as root"


class Cluster:
    """A cluster of one node with two partitions: main, and urgent, which preempts it.

    Parameters
    ----------
    folder : new and empty; configuration, key, state and logs
    cpus : processors the node claims to have
    """

    def __init__(self, folder: Path, *, cpus: int = 4) -> None:
        self.folder, self.cpus = folder, cpus
        self.host = socket.gethostname().split(".")[0]
        self.environment = {
            **os.environ,
            "PATH": SEARCHED,
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        self._daemons: list[subprocess.Popen] = []

    def __enter__(self) -> Cluster:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def call(self, *words: str, check: bool = True) -> str:
        """What a SLURM command prints."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def states(self, job: str) -> dict[int, str]:
        """State of every task of an array by its number, as SLURM spells them."""
        rows = self.call("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T").splitlines()
        return {int(task): state for task, state in map(str.split, rows)}

    def restarts(self, job: str, task: int) -> int:
        """How often a task was put back into the queue."""
        shown = self.call("scontrol", "show", "job", f"{job}_{task}")
        return int(shown.split("Restarts=")[1].split()[0])

    def release(self, job: str) -> None:
        """Let a requeued task start at once."""
        self.call("scontrol", "update", f"jobid={job}", "StartTime=now", check=False)

    def lose_node(self) -> None:
        """What SLURM does about a node it has lost; nothing is started until `find_node`."""
        self.call("scontrol", "update", "partition=main", "state=down")
        self.call("scontrol", "update", f"nodename={self.host}", "state=down", "reason=test")

    def find_node(self) -> None:
        """The node is back; one that has answered meanwhile is so already, and must not be told."""
        self.call("scontrol", "update", f"nodename={self.host}", "state=resume", check=False)
        self.call("scontrol", "update", "partition=main", "state=up")

    def _start(self) -> None:
        for name in ("munge", "state", "spool", "log"):
            (self.folder / name).mkdir(mode=0o755)
        key = self.folder / "munge/key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        controller_port, node_port = _free_ports(2)
        configuration = CONFIGURATION.format(
            host=self.host,
            folder=self.folder,
            controller_port=controller_port,
            node_port=node_port,
            cpus=self.cpus,
            memory_mb=_memory_mb(),
        )
        (self.folder / "slurm.conf").write_text(configuration)
        self._daemon(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={self.folder}/munge/socket",
            f"--pid-file={self.folder}/munge/pid", f"--seed-file={self.folder}/munge/seed", "--num-threads=2",
            f"--log-file={self.folder}/log/munged-file",
        )  # fmt: skip
        self._await((self.folder / "munge/socket").exists, "munged")
        self._daemon("slurmctld", "-D")
        self._await(lambda: "is UP" in self.call("scontrol", "ping", check=False), "slurmctld")
        self._daemon("slurmd", "-D")
        self._await(
            lambda: self.call("sinfo", "-h", "-o", "%T", check=False).startswith("idle"), "slurmd"
        )

    def _daemon(self, name: str, *arguments: str) -> None:
        program = _program(name)
        assert program is not None
        with (self.folder / "log" / name).open("w") as log:
            daemon = subprocess.Popen(
                [program, *arguments], env=self.environment, stdout=log, stderr=log
            )
        self._daemons.append(daemon)

    def _await(self, is_up: Callable[[], bool], name: str) -> None:
        end = time.monotonic() + STARTS_WITHIN_S
        while not is_up():
            if self._daemons[-1].poll() is not None or time.monotonic() > end:
                log = (self.folder / "log" / name).read_text()[-2000:]
                raise RuntimeError(f"{name} did not start:\n{log}")
            time.sleep(0.05)

    def _stop(self) -> None:
        """Jobs first, as nobody else would end them; then the daemons in reverse."""
        if len(self._daemons) == 3:
            self.call("scancel", "--user=root", check=False)
            end = time.monotonic() + STARTS_WITHIN_S
            while self.call("squeue", "-h", check=False) and time.monotonic() < end:
                time.sleep(0.1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster, or a skip that says why there is none."""
    if reason := why_not():
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def _program(name: str) -> str | None:
    return shutil.which(name, path=SEARCHED)


def _free_ports(n: int) -> list[int]:
    """Ports of loopback nobody listens on now, all different."""
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
