"""Job arrays of SLURM: the script of a campaign, what its tasks need, and what the queue says of them.

The script is a text that a person may read, edit and submit by hand; what is done is told by the records
alone. SLURM is called only to submit and to ask.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mst_abm.errors import RecordError, SlurmError
from mst_abm.model.compile import compile_model
from mst_abm.records.atomic import write_whole
from mst_abm.runs.campaign import Campaign
from mst_abm.runs.needs import needs_of, shown_bytes
from mst_abm.runs.shards import DONE, FAILED, state_of, try_again, work_of

SCRIPT, LOGS = "job.sh", "log"
MARK = "# SLURM job array of an mst_abm campaign"
#: Begins its last line.
SEAL = "# as written: "
#: Bytes of the process that gives shards to workers. Seen: 0.13e9.
PARENT = 0.2e9
#: Room above the prediction where no memory is asked for.
SPARE = 1.5
#: Seconds before the time limit at which a task is told: at least, and the largest share of the limit.
WARNING_S, WARNING_SHARE = 120, 0.25
#: The shortest time limit, s: SLURM rounds to minutes and tells up to one too early.
SHORTEST_S = 180
#: Bytes of a state that are packed and written in a second, at least.
KEPT_PER_S = 20e6
#: Points of a design whose memory is predicted, spread over it: they seldom differ in size.
LOOKED_AT = 16
#: Seconds in which SLURM must take a job, and tell of the queue.
SUBMITS_IN_S, TELLS_IN_S = 120.0, 15.0
#: States of tasks that still have something to do.
WAITING = "PENDING,CONFIGURING,RUNNING,SUSPENDED"

ARRAY = re.compile(r"[1-9]\d*(%[1-9]\d*)?")
TIME = re.compile(r"\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2}")
MEMORY = re.compile(r"[1-9]\d*[KMGT]?", re.IGNORECASE)
PARTITION = re.compile(r"[\w.,-]+")
JOB_NAME = re.compile(r"[^\w.-]+")
OPTION = re.compile(r"-\S[^\n]*")
SCALE = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# the body of every script; all that differs stands above it
BODY = r"""
# USR1 (the time is nearly up) and TERM (preempted, requeued, cancelled): keep a checkpoint and end
hear() {
    signal=$1
    [ -z "$work" ] || kill -s TERM "$work" 2>/dev/null
}
work= signal=
trap 'hear USR1' USR1
trap 'hear TERM' TERM

echo "task $SLURM_ARRAY_TASK_ID on $(hostname), restarted ${SLURM_RESTART_COUNT:-0} times"
# the share of this task: every so many-th shard; those that are done are passed over
share=$(seq -f '--shard=%.0f' "$SLURM_ARRAY_TASK_ID" "$tasks" "$((shards - 1))")
# shellcheck disable=SC2086
"$python" -m mst_abm work "$campaign" --workers "$workers" $share &
work=$!
# a signal ends a wait, not the work
while wait "$work"; status=$?; kill -0 "$work" 2>/dev/null; do :; done

if [ "$signal" = USR1 ] && [ "$status" -ne 0 ]; then
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "$requeues" ]; then
        scontrol requeue "$SLURM_JOB_ID" && exit 0
    fi
    echo "not requeued; what is missing is done by: sbatch $campaign/job.sh" >&2
fi
exit "$status"
"""


@dataclass(frozen=True)
class Request:
    """What is asked of SLURM, in its own words; "" leaves the choice to the site.

    ``array``: tasks, as ``20``, or ``20%5`` for five at once. ``requeues``: how often a task may put itself
    back into the queue when its time is up. ``more``: further options of sbatch.

    Raises
    ------
    SlurmError
        For what sbatch would not understand.
    """

    array: str
    time: str = ""
    memory: str = ""
    partition: str = ""
    workers: int = 1
    requeues: int = 100
    more: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse(ARRAY, "--array", "a number of tasks, as 20, or 20%5 for five at once", self.array)
        for pattern, option, expected, text in (
            (TIME, "--time", "a time as SLURM writes it: 90 (minutes), 12:00:00 or 2-12:00:00", self.time),
            (MEMORY, "--mem", "memory as SLURM writes it: 800M or 2G", self.memory),
            (PARTITION, "--partition", "the name of a partition", self.partition),
        ):  # fmt: skip
            if text:
                _refuse(pattern, option, expected, text)
        for text in self.more:
            _refuse(OPTION, "--sbatch", "an option of sbatch, as --account=NAME", text)
        if self.time and seconds_of(self.time) < SHORTEST_S:
            raise SlurmError(
                f"--time: expected at least {SHORTEST_S // 60} minutes, got '{self.time}'; a task is told up to "
                "a minute early that its time is up, and would come to nothing."
            )

    @property
    def tasks(self) -> int:
        """Tasks asked for; there are fewer where there are fewer shards."""
        return int(self.array.partition("%")[0])


def _refuse(pattern: re.Pattern[str], option: str, expected: str, text: str) -> None:
    if not pattern.fullmatch(text):
        raise SlurmError(f"{option}: expected {expected}, got '{text}'.")


def seconds_of(time: str) -> int:
    """Seconds of a time as SLURM writes it."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    # without days, one or two numbers begin with minutes
    scales = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    return 86400 * int(days or 0) + sum(n * scale for n, scale in zip(parts, scales, strict=False))


def bytes_of(memory: str) -> int:
    """Bytes of memory as SLURM writes it, in megabytes where no unit is given."""
    unit = memory[-1].upper()
    return int(memory.rstrip("KMGTkmgt")) * SCALE.get(unit, SCALE["M"])


# ------------------------------------------------------------------ what a task needs


@dataclass(frozen=True)
class TaskNeeds:
    """Bytes of memory, and seconds from a signal to a safe checkpoint."""

    memory: float
    warning_s: int


def needs_of_task(campaign: Campaign, workers: int) -> TaskNeeds:
    """Predict from the first cells, for the largest of points spread over the design."""
    n = len(campaign.points)
    states, memories = [0], [0]
    for point in range(0, n, -(-n // LOOKED_AT)):
        scenario = campaign.scenario(point)
        found = needs_of(scenario, compile_model(scenario.model), replicates=campaign.per_shard)
        states.append(found.state)
        memories.append(found.memory)
    return TaskNeeds(
        memory=PARENT + workers * max(memories),
        warning_s=WARNING_S + int(workers * max(states) / KEPT_PER_S),
    )


def with_memory(request: Request, campaign: Campaign) -> Request:
    """The request with what its workers need of memory, where it leaves that open.

    Raises
    ------
    SlurmError
        If it asks for less.
    """
    return replace(request, memory=_memory(request, needs_of_task(campaign, request.workers)))


def _memory(request: Request, needs: TaskNeeds) -> str:
    """What to ask for, at least what is needed.

    Raises
    ------
    SlurmError
    """
    if not request.memory:
        return f"{-(-int(SPARE * needs.memory) // SCALE['M'])}M"
    if bytes_of(request.memory) < needs.memory:
        raise SlurmError(
            f"--mem: expected at least {shown_bytes(needs.memory)} for a task that has {request.workers} of "
            f"its shards in work at once, got {request.memory}; ask for more, or make shards smaller with --per-shard."
        )
    return request.memory


# ------------------------------------------------------------------ the script


def script_text(campaign: Campaign, request: Request, folder: Path) -> str:
    """The script of a campaign as it stands, or will stand, in a folder.

    Raises
    ------
    SlurmError
        If the memory asked for is too little.
    """
    folder = folder.absolute()
    shards = len(campaign.shards)
    tasks = min(request.tasks, shards)
    needs = needs_of_task(campaign, request.workers)
    head = [
        "#!/bin/bash",
        f"{MARK}: {shards} shards in {tasks} tasks",
        f"#   submit, also again when something is missing:  sbatch {shlex.quote(str(folder / SCRIPT))}",
        f"#   look:                                          mst-abm status {shlex.quote(str(folder))}",
        *_options(campaign.name, request, folder, tasks, needs),
        "",
        f"campaign={shlex.quote(str(folder))}",
        f"python={shlex.quote(sys.executable)}",
        f"shards={shards} tasks={tasks}    # tasks: as many as --array has",
        f"workers={request.workers}    # shards at a time in a task: as --cpus-per-task",
        f"requeues={request.requeues}    # restarts after which a task that runs out of time is given up",
    ]
    if cache := os.environ.get("MST_ABM_CACHE"):
        head.append(f"export MST_ABM_CACHE={shlex.quote(str(Path(cache).absolute()))}")
    return _sealed("\n".join(head) + "\n" + BODY)


def _sealed(text: str) -> str:
    """With a last line by which it is seen later whether anybody edited it."""
    return f"{text}{SEAL}{hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def _options(name: str, request: Request, folder: Path, tasks: int, needs: TaskNeeds) -> list[str]:
    """The lines that sbatch reads."""
    _, percent, at_once = request.array.partition("%")
    log = str(folder / LOGS).replace("%", "%%") + "/%A_%a.out"
    limit = seconds_of(request.time) if request.time else 0
    warning = min(needs.warning_s, int(WARNING_SHARE * limit)) if limit else needs.warning_s
    options = [
        f"--job-name={JOB_NAME.sub('-', name)}",
        f"--array=0-{tasks - 1}{percent}{at_once}",
    ]
    options += [f"--time={request.time}"] if request.time else []
    options += [f"--partition={request.partition}"] if request.partition else []
    options += [f"--mem={_memory(request, needs)}", "--ntasks=1"]
    options += [f"--cpus-per-task={request.workers}", *request.more]
    return [
        *(f"#SBATCH {option}" for option in options),
        f"#SBATCH --output={shlex.quote(log)} --open-mode=append",
        f"# after preemption or the loss of a node SLURM starts a task again; {warning} s before its time is up",
        "# this script, and it alone, is told (USR1)",
        "#SBATCH --requeue" if request.requeues else "#SBATCH --no-requeue",
        f"#SBATCH --signal=B:USR1@{max(warning, 1)}",
    ]


def write_script(folder: Path, text: str, *, force: bool = False) -> Path:
    """Write the script beside its campaign; one that was edited is replaced only with ``force``.

    Raises
    ------
    RecordError
    """
    path = folder / SCRIPT
    (folder / LOGS).mkdir(exist_ok=True)  # SLURM would not make it, and the job would fail unheard
    if path.exists():
        present = path.read_text(encoding="utf-8")
        if present == text:
            return path
        if MARK not in present:
            raise RecordError(f"{path}: this is no script of mst_abm; move it away.")
        is_edited = present != _sealed(present.rpartition(SEAL)[0])
        if is_edited and not force:
            raise RecordError(
                f"{path}: this script was edited; submit it as it is with sbatch, or replace it with --force."
            )
    write_whole(path, text.encode())
    return path


# ------------------------------------------------------------------ the queue


def submit(campaign: Campaign, script: Path, request: Request) -> tuple[str, int]:
    """Submit the tasks that have something to do; the job's number and how many these are.

    Raises
    ------
    SlurmError
        If SLURM refuses or is not here, if nothing is missing, or the campaign is in the queue already.
    """
    tasks = min(request.tasks, len(campaign.shards))
    missing = set()
    for shard in campaign.shards:
        work = work_of(campaign, shard)
        try_again(work, only_lost=True)
        if state_of(work) not in (DONE, FAILED):
            missing.add(shard.number % tasks)
    if not missing:
        raise SlurmError(f"{campaign.folder}: no shard is missing; there is nothing to submit.")
    if queued := in_queue(campaign.folder):
        raise SlurmError(
            f"{campaign.folder}: {sum(queued.values())} tasks of this campaign are in the queue already; wait, or "
            "cancel them with scancel."
        )
    _, percent, at_once = request.array.partition("%")
    array = f"--array={ranges(missing)}{percent}{at_once}"
    told = _called("sbatch", "--parsable", array, str(script.absolute()), within_s=SUBMITS_IN_S)
    return told.partition(";")[0], len(missing)


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as sbatch takes them, as 0-3,7."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in found)


def in_queue(folder: Path) -> Counter[str]:
    """Tasks of a campaign in the queue by state, as SLURM spells it; empty where there is no SLURM."""
    script = folder.absolute() / SCRIPT
    if not script.exists() or shutil.which("squeue") is None:
        return Counter()
    try:
        options = ("--me", "--noheader", "--array", f"--states={WAITING}", "--format=%T %o")
        told = _called("squeue", *options, within_s=TELLS_IN_S)
    except SlurmError:
        return Counter()
    rows = (line.split(" ", 1) for line in told.splitlines())
    return Counter(state.lower() for state, command in rows if command.strip() == str(script))


def _called(*words: str, within_s: float) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=within_s)
    except FileNotFoundError:
        raise SlurmError(
            f"{words[0]}: expected SLURM on this computer, there is none; submit from a login node with: sbatch "
            f"{words[-1]}"
        ) from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{words[0]}: SLURM did not answer in {within_s:g} s.") from None
    if done.returncode:
        reasons = done.stderr.replace(f"{words[0]}: error: ", "").strip().splitlines()
        raise SlurmError(f"{words[0]}: SLURM refused ({'; '.join(reasons)}).")
    return done.stdout.strip()
