"""A run that was stopped, killed or cut off goes on from its latest checkpoint, to the bits of one that was not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.records.checkpoint import Checkpoint, remove_checkpoints
from mst_abm.records.copying import Earlier
from mst_abm.records.reader import open_run
from mst_abm.records.writer import RunWriter
from mst_abm.runs.batches import batch_of
from mst_abm.runs.follow_up import Samples
from mst_abm.runs.freezing import thaw, under
from mst_abm.runs.keeping import COST, Keeper, Signals, newest, origin
from mst_abm.runs.to_file import Progress, Recording, header_of, run_to_file
from mst_abm.scenario.loading import load_scenario_text

if TYPE_CHECKING:
    from mst_abm.runs.simulation import Simulation
    from mst_abm.scenario.definition import Scenario

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Recorded:
    """What a record says of the run that wrote it."""

    path: Path
    status: str
    scenario: Scenario
    text: str
    seed: int
    replicates: np.ndarray
    snapshot_replicates: int
    n_records: int
    forked_from: str
    left_out: str

    @property
    def origin(self) -> dict[str, Any]:
        return origin(self.text, self.seed, self.replicates)


def read_recorded(path: str | os.PathLike[str]) -> Recorded:
    """Read from a record which run it is of.

    Raises
    ------
    RecordError
        If there is no whole record.
    """
    with open_run(path) as run:
        attributes = run.attributes
        if attributes.get("engine") == "mean-field":
            raise RecordError(
                f"{path}: expected a record of cells, got one of mean-field, which has no checkpoints and "
                "takes seconds; run its scenario again."
            )
        return Recorded(
            path=Path(path),
            status=run.status,
            text=run.scenario_text,
            scenario=load_scenario_text(run.scenario_text, name=run.name),
            seed=int(attributes["seed"]),
            replicates=run.replicates,
            snapshot_replicates=int(attributes.get("snapshot_replicates", 1)),
            n_records=run.n_records,
            forked_from=str(attributes.get("forked_from", "")),
            left_out=str(attributes.get("left_out", "")),
        )


def resume(
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    progress: Callable[[Progress], None] | None = None,
    checkpoint_cost: float = COST,
    signals: Signals | None = None,
    notice: Notice = lambda _: None,
) -> None:
    """Go on with a run from its latest checkpoint, or from its start if it has none.

    The file then holds what it would hold had the run not stopped. ``notice`` is told of
    checkpoints that are of no use, and where the run goes on.

    Raises
    ------
    RecordError
        If the run is complete, or there are checkpoints and none of them fits the record.
    """
    recorded = read_recorded(path)
    if recorded.status == "complete":
        remove_checkpoints(recorded.path)  # of a run killed when it had just been completed
        raise RecordError(f"{path}: this run is complete; there is nothing to go on with.")
    found, complaints = newest(recorded.path, recorded.origin, n_records=recorded.n_records)
    if found is None and complaints:
        raise RecordError("\n".join(complaints))
    for complaint in complaints:
        notice(complaint)
    if found is None:
        if recorded.forked_from:
            raise RecordError(f"{path}: this fork has no checkpoint; make it anew.")
        notice(f"{path}: no checkpoint yet; the run begins again.")
        run_to_file(
            recorded.scenario,
            path,
            force=True,
            seed=recorded.seed,
            **batch_of(recorded.replicates),
            threads=threads,
            snapshot_replicates=recorded.snapshot_replicates,
            progress=progress,
            checkpoint_cost=checkpoint_cost,
            signals=signals,
            notice=notice,
        )
        return
    notice(f"{path}: goes on from day {found.facts['time_h'] / 24:g}.")
    sim = simulation_at(found, recorded.scenario, recorded, threads=threads)
    every_h = recorded.scenario.run.checkpoint_h
    keeper = Keeper(recorded.path, every_h, cost=checkpoint_cost, signals=signals, notice=notice)
    keeper.goes_on(found)
    more = {"forked_from": recorded.forked_from}
    with continued(found, recorded, sim, recorded.path, more) as writer:
        Recording(sim, writer, samples_of(found), keeper, progress).run()


def continued(
    checkpoint: Checkpoint,
    recorded: Recorded,
    sim: Simulation,
    path: Path,
    attributes: Mapping[str, object],
    *,
    force: bool = True,
) -> RunWriter:
    """A record that begins with what another held at a checkpoint."""
    header = header_of(
        sim,
        seed=recorded.seed,
        replicates=recorded.replicates,
        snapshot_replicates=recorded.snapshot_replicates,
        attributes={"left_out": recorded.left_out, **attributes},
    )
    facts = checkpoint.facts
    earlier = Earlier(
        recorded.path,
        n_records=facts["n_records"],
        n_snapshots=facts["n_snapshots"],
        n_snapshot_cells=facts["n_snapshot_cells"],
        seconds=facts["wall_seconds"],
        statistics=facts["statistics"],
        memory=under("record/", checkpoint.arrays),
    )
    return RunWriter(path, header, force=force, earlier=earlier)


def simulation_at(
    checkpoint: Checkpoint, scenario: Scenario, recorded: Recorded, *, threads: int
) -> Simulation:
    """A simulation that stands where a checkpoint was taken.

    Raises
    ------
    RecordError
        If the state does not fit the scenario's tables.
    """
    sim = fresh_simulation(scenario, recorded, threads=threads)
    put_at(sim, checkpoint)
    return sim


def fresh_simulation(scenario: Scenario, recorded: Recorded, *, threads: int) -> Simulation:
    """A simulation at its start, of the bodies of a record."""
    from mst_abm.runs.simulation import Simulation

    return Simulation(
        scenario,
        seed=recorded.seed,
        **batch_of(recorded.replicates),
        threads=threads,
    )


def put_at(sim: Simulation, checkpoint: Checkpoint) -> None:
    """Let a simulation stand where a checkpoint was taken.

    Raises
    ------
    RecordError
        If the state does not fit its tables.
    """
    try:
        thaw(sim, checkpoint.arrays, int(checkpoint.facts["interval"]))
    except RecordError as misfit:
        raise RecordError(
            f"{checkpoint.path}: this checkpoint does not fit the scenario ({misfit}); go on with the "
            "scenario it belongs to."
        ) from None
    if sim.tiled is not None:
        n, tries, error = checkpoint.facts["tiled"]
        sim.tiled.work = int(n), float(tries), float(error)


def samples_of(checkpoint: Checkpoint) -> Samples:
    """What was read off the run up to a checkpoint."""
    return Samples.recalled(under("samples/", checkpoint.arrays))
