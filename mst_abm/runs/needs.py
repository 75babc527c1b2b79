"""What a run will need of memory and disc, before anything is allocated, and a refusal where it cannot be had."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from mst_abm.engine.state import State, make_state
from mst_abm.errors import MemoryNeedError, ModelError, RecordError
from mst_abm.model.compile import CompiledModel
from mst_abm.model.definition import expected_number
from mst_abm.records.schema import MAX_PENDING_CELLS
from mst_abm.runs.timetable import multiples
from mst_abm.scenario.definition import Scenario

#: Bytes of a cell in a snapshot, and of its identity.
CELL, IDENTITY = 19, 36
#: What compression leaves of time courses, snapshots and checkpoints; seen: 0.27 of the state of quickstart, 0.25 of cells with
#: identities.
LEFT_OF_COURSES, LEFT_OF_CELLS, LEFT_OF_STATE = 0.02, 0.35, 0.4
#: Bytes of a record without rows.
TABLES = 50_000
#: Bytes of the program with its libraries and compiled kernels, seen with every shipped scenario; compiling the kernels, once for
#: every build, takes twice that.
PROGRAM = 240_000_000
#: Bytes of a vacant site while first cells are placed, of a cell while a snapshot of it is taken, beside those kept until written.
VACANT, TAKEN = 4, 48
#: A shard of a campaign takes about a minute: simulated cells times hours, at 5e-8 s each; seen: 6e-8 in a dish of 70 cells, 5e-8 in
#: one of 19,000, 1.6e-8 in a small patient. Below it the start of a run (0.03 to 0.5 s) is felt, above it a kill.
SHARD_CELL_HOURS = 1.2e9
#: Replicates of a shard at most, bytes of them at most, and shards of a campaign at least.
MOST_TOGETHER, MOST_BYTES, LEAST_SHARDS = 1000, 1 << 29, 8
#: Checkpoints on the disc: two are kept while a third is written.
CHECKPOINTS = 3


#: Limit and use of memory in control groups of version 2 and 1, and what of it are files.
MEMORY_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@dataclass(frozen=True)
class Needs:
    """Bytes of a run.

    ``state`` of all replicates; ``passing``: the most that is in memory beside it for a moment, while cells are placed, a
    snapshot is taken or a checkpoint made; ``record`` at its end, ``checkpoints`` while it goes on, on the disc.
    """

    state: int
    passing: int
    record: int
    checkpoints: int

    @property
    def arrays(self) -> int:
        """The most that is in memory beside the program."""
        return self.state + self.passing

    @property
    def memory(self) -> int:
        """Peak of a process that does the run on one thread, the program included."""
        return PROGRAM + self.arrays

    @property
    def disc(self) -> int:
        return self.record + self.checkpoints


def needs_of(
    scenario: Scenario,
    compiled: CompiledModel,
    *,
    replicates: int = 1,
    snapshot_replicates: int = 1,
) -> Needs:
    """Predict from the first cells: a run whose cells multiply a hundredfold will need more."""
    run = scenario.run
    state = replicates * _state_bytes(scenario, compiled)
    places, species = len(scenario.model.compartments), len(compiled.species)
    row = (
        8
        * replicates
        * (2 * places * species + len(compiled.tallies) + len(compiled.model.signals))
    )
    courses = row * len(multiples(run.counts_every_h, run.until_h))
    cells = sum(initial_cells(scenario, c.name) for c in scenario.model.compartments)
    frames = len(multiples(run.snapshots_every_h, run.until_h)) if run.snapshots_every_h else 0
    each = CELL + IDENTITY * run.records_identity
    taken = frames * min(snapshot_replicates, replicates)
    snapshots = taken * cells * each
    held = min(snapshots, MAX_PENDING_CELLS * each) + cells * (
        TAKEN + 2 * IDENTITY * run.records_identity
    )
    patches = compiled.geometry.patches
    return Needs(
        state=state,
        passing=int(
            max(
                VACANT * (patches["last"] - patches["first"]).max(initial=0),
                held if taken else 0,
                LEFT_OF_STATE * state if run.checkpoint_h else 0,
            )
        ),
        record=TABLES + int(LEFT_OF_COURSES * courses + LEFT_OF_CELLS * snapshots),
        checkpoints=int(CHECKPOINTS * LEFT_OF_STATE * state) if run.checkpoint_h else 0,
    )


def replicates_together(scenario: Scenario, needs: Needs, total: int) -> int:
    """How many replicates of a campaign of ``total`` run in one shard; hangs on nothing but the campaign.

    ``needs``: of one replicate.
    """
    cells = sum(initial_cells(scenario, c.name) for c in scenario.model.compartments)
    by_time = SHARD_CELL_HOURS / max(cells * scenario.run.until_h, 1.0)
    by_memory = MOST_BYTES / max(needs.arrays, 1)
    return max(1, int(min(by_time, by_memory, MOST_TOGETHER, -(-total // LEAST_SHARDS))))


def refuse_memory(needs: Needs) -> None:
    """Refuse a state, and what is made of it now and then, for which there is no memory; the program is there.

    Raises
    ------
    MemoryNeedError
    """
    have = memory_left()
    if needs.arrays > have:
        raise MemoryNeedError(
            f"expected {shown_bytes(needs.arrays)} of memory for this run, got {shown_bytes(have)}; use a "
            "smaller scenario or fewer replicates."
        )


def refuse_disc(needs: Needs, path: Path) -> None:
    """Refuse a record, and its checkpoints, for which there is no room.

    Raises
    ------
    RecordError
    """
    have = shutil.disk_usage(path.parent).free
    if needs.disc > have:
        raise RecordError(
            f"{path}: expected {shown_bytes(needs.disc)} on the disc for this run, got "
            f"{shown_bytes(have)}; free some space, choose another place, or record less."
        )


def memory_left(
    read: Callable[[], str] = Path("/proc/meminfo").read_text, groups: Path = Path("/sys/fs/cgroup")
) -> float:
    """Bytes that can be had without swapping, here and within the limits of a job or container.

    All there are where the system does not tell.
    """
    try:
        told = dict(line.split(":") for line in read().splitlines())
        left = float(told["MemAvailable"].split()[0]) * 1024.0
    except (OSError, KeyError, ValueError):
        left = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(left, _left_of_limits(groups))


def _left_of_limits(top: Path, told: Path = Path("/proc/self/cgroup")) -> float:
    """What the control groups of this process leave of their limits of memory; infinite without any."""
    left = math.inf
    try:
        lines = told.read_text(encoding="utf-8").splitlines()
    except OSError:
        return left
    for line in lines:
        _, kinds, name = line.split(":", 2)
        if kinds not in MEMORY_FILES:
            continue
        limit, used, idle = MEMORY_FILES[kinds]
        place = top / kinds / name.lstrip("/")
        for group in (place, *place.parents[: len(place.parts) - len(top.parts)]):
            try:
                most, now = (int((group / file).read_text()) for file in (limit, used))
                stat = (group / "memory.stat").read_text().splitlines()
            except (OSError, ValueError):
                continue  # no limit here ("max"), or not shown
            # files that were read are in it, and give way
            files = next((int(row.split()[1]) for row in stat if row.split()[0] == idle), 0)
            left = min(left, float(most - now + files))
    return left


def shown_bytes(n: float) -> str:
    """Bytes in three digits."""
    for unit in ("B", "kB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"


def initial_cells(scenario: Scenario, name: str) -> float:
    """Expected simulated cells of a compartment at the start, anatomy included."""
    places = {c.name: c for c in scenario.model.compartments}
    items = [item for item in scenario.model.initial if item.compartment == name]
    return sum(expected_number(item, places[name]) for item in items)


def _state_bytes(scenario: Scenario, compiled: CompiledModel) -> int:
    """Bytes of the state of one replicate: what the engine would allocate; pages that are not written cost nothing."""
    mixed = [c for c in scenario.model.compartments if c.kind == "mixed"]
    slots = [c.capacity or max(16, int(1.25 * initial_cells(scenario, c.name))) for c in mixed]
    try:
        state = _empty(scenario, compiled, slots)
    except MemoryError:
        raise ModelError(
            "expected a state that fits the memory, got one that does not; use a smaller scenario."
        ) from None
    return sum(_nbytes(getattr(state, field.name)) for field in fields(state))


def _empty(scenario: Scenario, compiled: CompiledModel, slots: list[int]) -> State:
    return make_state(
        compiled.tables._replace(has_identity=scenario.run.records_identity),
        compiled.geometry,
        replicates=np.arange(1),
        n_tallies=len(compiled.tallies),
        signals=np.zeros(len(scenario.model.signals)),
        n_fields=len(compiled.fields),
        slots=np.array(slots, np.int64),
        levels=[0.0] * len(scenario.model.fields),
    )


def _nbytes(part: object) -> int:
    if isinstance(part, np.ndarray):
        return part.nbytes
    return sum(_nbytes(p) for p in part) if isinstance(part, tuple) else 0
