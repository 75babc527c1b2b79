"""One run into one record file: advance from record to record, whatever happens close the file.

Takes a scenario and a simulation, gives numbers to the writer. Computes nothing of its own, so
that a run in memory and a run into a file are the same run.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mst_abm.clinic.endpoints import endpoints_for
from mst_abm.clinic.laboratory import Laboratory
from mst_abm.clinic.observation import DAY_H
from mst_abm.clinic.reaction import looked_at
from mst_abm.errors import RecordError
from mst_abm.model.definition import Observable
from mst_abm.model.english import count_assumptions
from mst_abm.model.species import matches
from mst_abm.records.checkpoint import remove_checkpoints
from mst_abm.records.schema import Decided, Endpoint, FieldBlocks, Given, Header, ReactionRow
from mst_abm.records.writer import RunWriter
from mst_abm.runs.follow_up import Samples, ends_h, read_endpoints
from mst_abm.runs.keeping import COST, Keeper, Signals, build_digest, origin
from mst_abm.runs.needs import refuse_disc
from mst_abm.runs.timetable import multiples

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario

STREAM_RULE = (
    "Philox 4x32-10, doi:10.1145/2063384.2063405; key: the seed; counter: candidate within the"
    " exchange interval, interval, purpose and place, replicate"
)
SAME_H = 1e-9
Engine = Literal["cells", "mean-field"]
#: Days between looks for patients who have died.
STOP_D = 7
# a fingerprint costs some 15 us a replicate, for tiny models more than the run
MOST_DIGESTED = 10_000


@dataclass(frozen=True)
class Progress:
    """How far a run is; ``n_cells`` and ``n_events`` over all replicates."""

    time_h: float
    until_h: float
    n_cells: int
    n_events: int
    seconds: float


def run_to_file(
    scenario: Scenario,
    path: str | os.PathLike[str],
    *,
    force: bool = False,
    seed: int | None = None,
    replicates: int = 1,
    first_replicate: int = 0,
    threads: int = 1,
    left_out: Sequence[int] = (),
    snapshot_replicates: int = 1,
    progress: Callable[[Progress], None] | None = None,
    simulation: Any = None,
    checkpoint_cost: float = COST,
    signals: Signals | None = None,
    notice: Callable[[str], None] = warnings.warn,
    engine: Engine = "cells",
) -> None:
    """Run a scenario to its end and record it.

    ``engine``: "mean-field" for rate equations instead of cells; they give no snapshots and have no checkpoints.
    Snapshots are taken of the first ``snapshot_replicates`` replicates. ``simulation`` overrides
    the one that would be made from the scenario. Checkpoints stand beside the file until the run is over; they take
    at most ``checkpoint_cost`` of its time. ``signals``: listened to, see `Signals`; ``notice`` is told of
    checkpoints that could not be written. An interruption
    (Ctrl-C) leaves a readable file with status "interrupted" and is raised again.

    Raises
    ------
    RecordError
        If the file cannot be made; an existing one needs ``force``.
    """
    sim = simulation
    if sim is None and engine == "mean-field":
        from mst_abm.runs.mean_field import MeanField

        sim = MeanField(
            scenario,
            seed=seed,
            replicates=replicates,
            first_replicate=first_replicate,
            left_out=left_out,
        )
        if scenario.run.snapshots_every_h > 0 and snapshot_replicates:
            notice("Mean numbers have no cells to show: this record gets no snapshots.")
    elif sim is None:
        from mst_abm.runs.simulation import Simulation

        sim = Simulation(
            scenario,
            seed=seed,
            replicates=replicates,
            first_replicate=first_replicate,
            threads=threads,
            left_out=left_out,
        )
        if Path(path).parent.is_dir():  # else there is more to say than of its disc
            refuse_disc(sim.needs(snapshot_replicates), Path(path))
    header = header_of(
        sim,
        seed=scenario.run.seed if seed is None else seed,
        replicates=sim.numbers,
        snapshot_replicates=snapshot_replicates,
        attributes={"left_out": " ".join(map(str, left_out))},
    )
    keeper = Keeper(
        Path(path),
        scenario.run.checkpoint_h,
        cost=checkpoint_cost,
        signals=signals,
        notice=notice,
    )
    with RunWriter(path, header, force=force) as writer:
        recording = Recording(sim, writer, Samples(), keeper, progress)
        recording.begin()
        remove_checkpoints(Path(path))  # of a run whose record is now replaced
        recording.run()


class Recording:
    """A simulation, its file, what was read off it, and its checkpoints: from where it stands to the end."""

    def __init__(
        self,
        sim: Any,
        writer: RunWriter,
        samples: Samples,
        keeper: Keeper,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        scenario: Scenario = sim.scenario
        self.sim, self.writer, self.samples, self.keeper = sim, writer, samples, keeper
        self.progress = progress
        self._is_over = False  # everybody has died
        self.until_h = float(scenario.run.until_h)
        self._records = _times(sim.record_times_h)
        self._snapshots = _times(sim.snapshot_times_h)
        # what is decided on is read when it is decided, however seldom counts are recorded
        self._looks = _times(multiples(DAY_H, self.until_h)) if scenario.reactions else set()
        self._laboratory = Laboratory(
            scenario.observables,
            sim.compiled.species,
            scenario.model.compartments,
            [signal.name for signal in scenario.model.signals],
        )
        self._started = time.monotonic()

    def run(self) -> None:
        """To the end of the run, or of its patients, and what is known only then into the file."""
        self.go(self.until_h)
        header, sim, n = self.writer.header, self.sim, len(self.writer.header.replicates)
        results = read_endpoints(
            sim.scenario,
            self.samples,
            seed=header.seed,
            replicates=header.replicates,
            decisions=sim.decisions if sim.scenario.reactions else (),
        )
        self.writer.finish(
            endpoints=results.reported,
            true_endpoints=results.true,
            observed=results.observed,
            decisions=decided(sim, header),
            digest=sim.digest() if n <= MOST_DIGESTED else "",
        )
        self.writer.close("complete")
        self.keeper.finish()

    def begin(self) -> None:
        """What there is at time zero."""
        self._advance(0.0)
        self._record(0.0)

    def go(self, to_h: float) -> None:
        """From stop to stop; what there is at the present one has been recorded."""
        begin = self.sim.time_h + SAME_H
        self._let_go(is_daily=False)
        for time_h in sorted({*self._records, *self._snapshots, *self._looks}):
            if begin < time_h <= to_h + SAME_H:
                if self._is_over:
                    return
                self._rest()
                self._advance(time_h)
                self._record(time_h)

    def _advance(self, time_h: float) -> None:
        """To the next stop, with rests on the way when a checkpoint is wanted."""
        self.sim.advance(time_h, halts=self._is_rest)
        while self.sim.time_h < time_h - SAME_H:
            self._rest()
            self.sim.advance(time_h, halts=self._is_rest)

    def _record(self, time_h: float) -> None:
        sim = self.sim
        if time_h in self._records:
            self.writer.append_record(sim)
        if time_h in self._records or time_h in self._looks:
            n_days = len(self.samples.daily)
            self.samples.take(self._laboratory, sim)
            if len(self.samples.daily) > n_days:
                self._let_go()
        if time_h in self._snapshots:
            header = self.writer.header
            for replicate in range(min(header.snapshot_replicates, len(header.replicates))):
                self.writer.append_snapshot(sim, replicate)
        if self.progress is not None:
            n_cells = sum(int(counts[:, 1:].sum()) for counts in sim.counts.values())
            seconds = time.monotonic() - self._started
            n_events = int(sim.tally.sum())
            self.progress(Progress(time_h, self.until_h, n_cells, n_events, seconds))

    def _let_go(self, *, is_daily: bool = True) -> None:
        """Bodies of patients who have died or relapsed are followed no longer, where the run says so.

        That hangs on all samples since the start, so it is looked for once a week; a run that goes on from
        a checkpoint knows what was found the week before. What was last seen of a body that is alive holds on.
        """
        scenario, header, n = self.sim.scenario, self.writer.header, len(self.samples.daily)
        if scenario.run.stop == "at end" or not n or (is_daily and n % STOP_D != 1):
            return
        looked_h, _ = self.samples.daily[(n - 1) // STOP_D * STOP_D]
        died_h, lost_h = ends_h(
            scenario,
            self.samples,
            seed=header.seed,
            replicates=header.replicates,
            decisions=self.sim.decisions if scenario.reactions else (),
        )
        self._is_over = bool(np.all(died_h <= looked_h))
        self.sim.dismiss((died_h <= looked_h) | (lost_h <= looked_h))

    def _is_rest(self) -> bool:
        if not self.sim.has_checkpoints:
            return self.keeper.is_stopped
        return self.keeper.is_due(self.sim.time_h)

    def _rest(self) -> None:
        """A checkpoint if one is wanted; the end if a signal asked for it."""
        if self._is_rest() and self.sim.has_checkpoints:
            self.writer.secure()
            try:
                self.keeper.keep(*self.contents())
            except RecordError as error:
                # the run is worth more than its checkpoint, unless it ends here
                if self.keeper.is_stopped:
                    raise
                self.keeper.put_off(self.sim.time_h, str(error))
        if self.keeper.is_stopped:
            raise KeyboardInterrupt

    def contents(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Facts and arrays of a checkpoint; the file has been committed."""
        from mst_abm.runs.freezing import freeze

        sim, header = self.sim, self.writer.header
        facts = {
            **origin(header.scenario_text, header.seed, header.replicates),
            **self.writer.facts(),
            "time_h": sim.time_h,
            "interval": sim.interval,
            "tiled": list(sim.tiled.work) if sim.tiled is not None else [],
        }
        arrays = freeze(sim)
        arrays |= {f"samples/{name}": array for name, array in self.samples.memory().items()}
        arrays |= {f"record/{name}": array for name, array in self.writer.memory().items()}
        return facts, arrays


def decided(sim: Any, header: Header) -> list[Decided]:
    """What was decided in a run, with names for numbers."""
    reactions = sim.scenario.reactions
    found = []
    for decision in sim.decisions if reactions else ():
        reaction = reactions[decision.reaction]
        found.append(
            Decided(
                time_h=decision.time_h,
                replicate=int(header.replicates[decision.body]),
                name=reaction.name,
                when=reaction.when,
                done=reaction.done,
                seen=dict(zip(header.looked_at, decision.seen, strict=True)),
            )
        )
    return found


def header_of(
    sim: Any,
    *,
    seed: int,
    replicates: np.ndarray,
    snapshot_replicates: int = 1,
    attributes: Mapping[str, object] = MappingProxyType({}),
) -> Header:
    """Everything the file says about a run before it starts; ``attributes``: more of the root."""
    scenario, compiled = sim.scenario, sim.compiled
    n_assumptions, n_numbers = count_assumptions(scenario.model)
    return Header(
        name=scenario.name,
        seed=seed,
        replicates=np.asarray(replicates, "i8"),
        scenario_text=scenario.resolved_text,
        model_text=scenario.model_text,
        species=_species_table(compiled, scenario.observables),
        compartments=_compartment_table(compiled.model.compartments),
        channels=_channel_table(compiled.tallies),
        signals={signal.name: signal.unit for signal in compiled.model.signals},
        stoichiometry=compiled.stoichiometry,
        given=_given(scenario),
        reactions=tuple(ReactionRow(r.name, r.when, r.done) for r in scenario.reactions),
        looked_at=looked_at(scenario.reactions),
        endpoints=tuple(
            Endpoint(rule.name, rule.unit, rule.description, rule.categories)
            for rule in endpoints_for(scenario.observables, scenario.model.hazards)
        ),
        observed={item.name: item.unit for item in scenario.observables},
        reported={item.name: item.unit for item in scenario.observables if item.observed.every_d},
        statistics=tuple(sim.statistics),
        fields=_field_table(sim),
        has_handover=len(compiled.model.compartments) > 1
        or bool(scenario.infusions)
        or any(reaction.acts.infusions for reaction in scenario.reactions),
        reservoirs=_reservoir_table(compiled),
        has_identity=bool(scenario.run.records_identity),
        n_records_expected=len(sim.record_times_h),
        snapshot_replicates=snapshot_replicates,
        has_means=sim.engine == "mean-field",
        attributes={
            "threads": sim.threads,
            "engine": sim.engine,
            "build": build_digest(),
            "mode": scenario.run.mode if sim.engine == "cells" else sim.engine,
            "stream_rule": STREAM_RULE,
            "snapshot_replicates": snapshot_replicates,
            "left_out": "",
            "forked_from": "",
            "n_numbers": n_numbers,
            "n_assumptions": n_assumptions,
            **attributes,
        },
    )


def _times(values: Any) -> set[float]:
    return {float(value) for value in values}


def _species_table(compiled: Any, observables: Sequence[Observable]) -> dict[str, np.ndarray]:
    static = {t.name for t in compiled.model.types if t.is_static}
    axes = dict.fromkeys(axis for t in compiled.model.types for axis in t.axes)
    species = compiled.species
    blasts = [o.count for o in observables if o.name == "blast_cells" and o.count is not None]
    columns = {
        "species": [s.name for s in species],
        "type": [s.type for s in species],
        "is_static": [s.type in static for s in species],
        "is_leukaemia": [any(matches(count.pattern, s) for count in blasts) for s in species],
    }
    for axis in axes:
        columns[axis] = [dict(s.stated).get(axis, "") for s in species]
    return {name: np.array(values) for name, values in columns.items()}


def _compartment_table(compartments: Any) -> dict[str, np.ndarray]:
    def shape(c: Any) -> tuple[int, ...]:
        return (*c.shape, 1, 1, 1)[:3] if c.kind == "lattice" else (0, 0, 0)

    return {
        "compartment": np.array([c.name for c in compartments]),
        "kind": np.array([c.kind for c in compartments]),
        "patches": np.array([c.patches for c in compartments], "i8"),
        "shape": np.array([shape(c) for c in compartments], "i8").reshape(-1, 3),
        "spacing": np.array([c.spacing for c in compartments], "f8"),
        "volume": np.array([c.volume for c in compartments], "f8"),
        "share": np.array([c.share for c in compartments], "f8"),
    }


def _reservoir_table(compiled: Any) -> dict[str, np.ndarray]:
    reservoirs = compiled.model.reservoirs
    if not reservoirs:
        return {}
    members = [[matches(r.cells, s) for s in compiled.species] for r in reservoirs]
    return {
        "reservoir": np.array([r.name for r in reservoirs]),
        "compartment": np.array([r.compartment for r in reservoirs]),
        "cells": np.array([r.cells.text for r in reservoirs]),
        "below": np.array([r.below for r in reservoirs], "f8"),
        "above": np.array([r.above for r in reservoirs], "f8"),
        "is_member": np.array(members, "u1"),
    }


def _field_table(sim: Any) -> dict[str, FieldBlocks]:
    fields = sim.compiled.model.fields
    shapes = {name: levels.shape for name, levels in sim.field_levels().items()} if fields else {}
    return {f.name: FieldBlocks(f.unit, f.compartment, shapes[f.name]) for f in fields}


def _channel_table(tallies: Any) -> dict[str, np.ndarray]:
    names = ("rule", "verb", "compartment", "actor", "partner", "products")
    return {name: np.array([str(getattr(t, name)) for t in tallies]) for name in names}


def _given(scenario: Scenario) -> tuple[Given, ...]:
    doses = [Given(d.drug, d.start_h, d.duration_h, d.amount_mg, "mg") for d in scenario.doses]
    infusions = [
        Given(i.label, i.at_h, 0.0, float(sum(number for *_, number in i.cells)), "cell")
        for i in scenario.infusions
    ]
    return tuple(sorted(doses + infusions, key=lambda given: (given.start_h, given.name)))
