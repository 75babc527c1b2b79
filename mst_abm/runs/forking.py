"""Arms from one state: a run is branched at a day, and from there on goes by other rules, doses or rates.

The state on that day is a checkpoint of the run, or is reached from the latest before it, or from the start, to the same bits. Draws
keep their addresses, so that an arm in which nothing was changed is the run itself.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.model.compile import compile_model
from mst_abm.records.checkpoint import (
    Checkpoint,
    checkpoint_path,
    read_checkpoint,
    write_checkpoint,
)
from mst_abm.records.writer import RunWriter, refuse_place
from mst_abm.runs.follow_up import Samples
from mst_abm.runs.keeping import COST, Keeper, Signals, newest
from mst_abm.runs.resuming import (
    Notice,
    Recorded,
    continued,
    fresh_simulation,
    put_at,
    read_recorded,
    samples_of,
    simulation_at,
)
from mst_abm.runs.simulation import Simulation
from mst_abm.runs.tiled import tile_side
from mst_abm.runs.to_file import Progress, Recording, header_of
from mst_abm.scenario.definition import Scenario
from mst_abm.scenario.loading import load_scenario_text

SAME_H = 1e-9


def fork(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    at_h: float,
    overrides: Sequence[str] = (),
    force: bool = False,
    threads: int = 1,
    progress: Callable[[Progress], None] | None = None,
    checkpoint_cost: float = COST,
    signals: Signals | None = None,
    notice: Notice = lambda _: None,
) -> None:
    """Branch an arm off a run: its record up to ``at_h``, then the run with ``overrides``.

    The state on that day is kept beside the run (``OUT.checkpoint-at-<hours>``) for further arms.

    Raises
    ------
    RecordError
        If the day is no edge of the run, or the arm differs in what was done up to it, or in what its cells can be.
    """
    if Path(path).resolve() == Path(output).resolve():
        raise RecordError(f"{output}: expected another name for the arm than that of the run.")
    refuse_place(Path(output), force=force)
    recorded = read_recorded(path)
    arm = load_scenario_text(recorded.text, name=recorded.scenario.name, overrides=overrides)
    _refuse_other_past(recorded.scenario, arm, at_h)
    found = state_at(recorded, at_h, threads=threads, notice=notice)
    sim = _branched(found, recorded, arm, threads)
    keeper = Keeper(
        Path(output), arm.run.checkpoint_h, cost=checkpoint_cost, signals=signals, notice=notice
    )
    told = {"forked_from": f"{recorded.path.name} at day {at_h / 24:g}"}
    # the records up to here are those of the run that was replayed, whatever its own file holds
    with continued(found, recorded, sim, Path(output), told, force=force) as writer:
        Recording(sim, writer, samples_of(found), keeper, progress).run()


def state_at(
    recorded: Recorded, at_h: float, *, threads: int, notice: Notice = lambda _: None
) -> Checkpoint:
    """The checkpoint of a run on an edge; replayed, and kept beside it, where there is none yet."""
    path, origin = recorded.path, recorded.origin
    found, complaints = newest(path, origin, n_records=recorded.n_records, until_h=at_h)
    for complaint in complaints:
        notice(complaint)
    if found is not None and abs(found.facts["time_h"] - at_h) < SAME_H:
        return found
    if recorded.forked_from and found is None:
        raise RecordError(
            f"{path}: this is a fork without a checkpoint up to that day; fork its base."
        )
    kept = checkpoint_path(path, f"at-{at_h:g}h")
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        facts, arrays = replayed(recorded, found, at_h, Path(folder) / "run.h5", threads=threads)
        write_checkpoint(kept, {**facts, "number": 0}, arrays)
    return read_checkpoint(kept)


def replayed(
    recorded: Recorded, start: Checkpoint | None, to_h: float, path: Path, *, threads: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Run once more, into another file, from a checkpoint or the start; what a checkpoint there holds."""
    keeper = Keeper(path, 0.0)
    if start is None:
        sim = fresh_simulation(recorded.scenario, recorded, threads=threads)
        header = header_of(
            sim,
            seed=recorded.seed,
            replicates=recorded.replicates,
            snapshot_replicates=recorded.snapshot_replicates,
        )
        writer, samples = RunWriter(path, header), Samples()
    else:
        sim = simulation_at(start, recorded.scenario, recorded, threads=threads)
        writer, samples = continued(start, recorded, sim, path, {}), samples_of(start)
    _refuse_between(recorded, sim, to_h)
    with writer:
        recording = Recording(sim, writer, samples, keeper)
        if start is None:
            recording.begin()
        recording.go(to_h)
        if sim.time_h < to_h - SAME_H:
            sim.advance(to_h)
        writer.commit()
        return recording.contents()


def _refuse_between(recorded: Recorded, sim: Simulation, at_h: float) -> None:
    edges = sim.edges_h
    nearest = float(edges[np.abs(edges - at_h).argmin()])
    if abs(nearest - at_h) > SAME_H or not 0.0 <= at_h < recorded.scenario.run.until_h:
        raise RecordError(
            f"{recorded.path}: expected a time on an edge of the run and before its end, got "
            f"{at_h:g} h; the nearest edge is {nearest:g} h."
        )


def _acts(scenario: Scenario, to_h: float) -> Iterator[object]:
    """What is planned up to a time; infusions and resets at that very time have happened."""
    yield from (dose for dose in scenario.doses if dose.start_h < to_h - SAME_H)
    yield from (i for i in (*scenario.infusions, *scenario.resets) if i.at_h <= to_h + SAME_H)


def _starts(scenario: Scenario) -> Iterator[object]:
    """What holds at the start alone: cells, and levels of signals and fields."""
    model = scenario.model
    yield from model.initial
    yield from ((item.name, item.initial) for item in (*model.signals, *model.fields))


def _refuse_other_past(base: Scenario, arm: Scenario, at_h: float) -> None:
    if list(_starts(base)) != list(_starts(arm)):
        raise RecordError(
            f"fork at {at_h:g} h: expected the cells and levels of the run at 0 h, the arm begins with others, "
            "which would change nothing any more; run it anew."
        )
    if list(_acts(base, at_h)) != list(_acts(arm, at_h)):
        raise RecordError(
            f"fork at {at_h:g} h: expected the same doses and infusions up to there, the arm changes some "
            "of them; branch it off before."
        )
    if [r.name for r in base.reactions] != [r.name for r in arm.reactions]:
        raise RecordError(
            f"fork at {at_h:g} h: expected the same rules of the protocol that react, the arm has "
            "others; change what they look for or give, or branch at the start."
        )


def _branched(found: Checkpoint, recorded: Recorded, arm: Scenario, threads: int) -> Simulation:
    """The arm's simulation in the state of the run, on the edges of the run up to now, then its own."""
    fresh = fresh_simulation(arm, recorded, threads=threads)
    run = recorded.scenario
    base = compile_model(run.model, run.entering, tile_side(run.run))
    at_h = found.facts["time_h"]
    alike = [
        ("cells", base.species == fresh.compiled.species),
        ("events", base.tallies == fresh.compiled.tallies),
        ("signals", base.signal_names == fresh.compiled.signal_names),
        ("spaces", bool(np.array_equal(base.geometry.spaces, fresh.compiled.geometry.spaces))),
        ("fields", base.fields == fresh.compiled.fields and len(base.model.fields) == len(arm.model.fields)),
        ("counters", base.layout.places == fresh.compiled.layout.places),
    ]  # fmt: skip
    for what, is_same in alike:
        if not is_same:
            raise RecordError(
                f"fork at {at_h:g} h: expected the {what} of the run, the arm has others; plan them in the "
                "run too, with a dose or number of 0."
            )
    ours, theirs = base.tables, fresh.compiled.tables
    if not np.array_equal(ours.rows["class_of"], theirs.rows["class_of"]):
        raise RecordError(
            f"fork at {at_h:g} h: the arm's rates are so different that cells would be sorted otherwise; "
            "give a rate nearer to that of the run, within a factor of 4."
        )
    before = found.arrays["edges"]
    after = fresh.edges_h[fresh.edges_h > at_h + SAME_H]
    edges = np.concatenate([before[: found.facts["interval"] + 1], after])
    arrays = ChainMap({"edges": edges}, found.arrays)  # type: ignore[arg-type]
    put_at(fresh, Checkpoint(found.path, found.facts, arrays))
    return fresh
