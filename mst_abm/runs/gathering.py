"""The table of a campaign: one row per replicate, from its records alone, and the fingerprint of all of them.

Nothing is kept beside the records that could not be made again from them. Without the plan of the campaign
there is still everything but the names of what was varied.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.clinic.readings import Reading
from mst_abm.errors import MissingPackageError, RecordError
from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.checking import replicate_digests
from mst_abm.records.places import write_rows
from mst_abm.records.reader import Run, open_run
from mst_abm.runs.campaign import Campaign, open_campaign
from mst_abm.runs.failures import read_failed
from mst_abm.runs.locks import clock_of, owner_of
from mst_abm.runs.shards import BUSY, DONE, FAILED, MISSING, state_of, work_of

TABLE = "endpoints.csv"
PARQUET = "endpoints.parquet"
#: Columns before those of the design and the endpoints.
INDEX = ("point", "replicate", "seed")


@dataclass(frozen=True)
class Status:
    """Numbers of shards by what became of them, and what is told of replicates that failed."""

    done: tuple[int, ...]
    running: tuple[int, ...]
    failed: tuple[int, ...]
    missing: tuple[int, ...]
    failures: dict[int, dict[int, str]]
    n_replicates: int
    n_planned: int


@dataclass(frozen=True)
class Gathered:
    """Columns of the table (one value per replicate), and the fingerprint of what they were read from.

    ``n_planned``: replicates of the whole campaign, 0 where that is not known. ``notes``: what could not be had.
    """

    columns: dict[str, list[Any]]
    digest: str
    n_planned: int
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["replicate"])


def status_of(campaign: Campaign) -> Status:
    """What there is of a campaign, from its files.

    A shard of which some replicates failed is done with the others; ``failures`` names them.
    """
    found: dict[str, list[int]] = {DONE: [], BUSY: [], FAILED: [], MISSING: []}
    failures: dict[int, dict[int, str]] = {}
    n = 0
    for shard in campaign.shards:
        work = work_of(campaign, shard)
        state = state_of(work)
        if state not in (DONE, FAILED):
            state = BUSY if is_worked_at(work.path) else MISSING
        found[state].append(shard.number)
        failed = dict(read_failed(work.failure).replicates)
        if failed:
            failures[shard.number] = failed
        n += shard.replicates - len(failed) if state == DONE else 0
    return Status(
        done=tuple(found[DONE]),
        running=tuple(found[BUSY]),
        failed=tuple(found[FAILED]),
        missing=tuple(found[MISSING]),
        failures=failures,
        n_replicates=n,
        n_planned=campaign.replicates * len(campaign.points),
    )


def is_worked_at(record: Path) -> bool:
    """Whether a living process holds the lock of a record."""
    owner = owner_of(record)
    return owner is not None and not owner.is_dead(clock_of(record.parent))


def gather(folder: str | os.PathLike[str], readings: Sequence[Reading] = ()) -> Gathered:
    """Read every record of a campaign into one table; ``readings``: columns of it beside the endpoints.

    Raises
    ------
    RecordError
        If there is no record to read.
    """
    place = Path(folder)
    notes: list[str] = []
    try:
        campaign: Campaign | None = open_campaign(place)
    except RecordError as error:
        campaign = None
        if not any((place / "shards").glob("*.h5")):
            raise
        notes.append(
            f"{error} Read from the records alone: points are numbered in order of their scenarios, the values "
            "of the design are in each record's scenario, and how many replicates were planned is not known."
        )
    rows: list[dict[str, Any]] = []
    total = 0
    builds: set[str] = set()
    sources = _planned(campaign) if campaign else _found(place, notes)
    for point, values, path in sources:
        try:
            with open_run(path) as run:
                new = list(_rows(run, point, values, readings))
                origin = hashlib.sha256(run.scenario_text.encode()).hexdigest()
                seed = int(run.attributes["seed"])
                builds.add(str(run.attributes.get("build")))
            digests = replicate_digests(path)
        except (RecordError, OSError, RuntimeError):
            notes.append(
                f"left out: {path}: this record is damaged; remove it and run the campaign again."
            )
            continue
        rows += new
        for number, digest in digests.items():
            total += _number(f"{origin} {seed} {number} {digest}")
    if not rows:
        raise RecordError(f"{place}: no shard is done yet; run the campaign, or look with status.")
    if len(builds) > 1:
        notes.append(
            f"these records were made by {len(builds)} builds of mst_abm, whose random numbers may differ; remove "
            "the folder shards and run the campaign again for one."
        )
    rows.sort(key=lambda row: (row["point"], row["replicate"]))
    names = dict.fromkeys(name for row in rows for name in row)
    return Gathered(
        columns={name: [row.get(name, np.nan) for row in rows] for name in names},
        digest=f"{total % 2**256:064x}",
        n_planned=campaign.replicates * len(campaign.points) if campaign else 0,
        notes=tuple(notes),
    )


def _number(text: str) -> int:
    """A hash to be summed: the sum does not hang on the order, nor on how replicates are cut into shards."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def _planned(campaign: Campaign) -> Iterator[tuple[int, dict[str, Any], Path]]:
    """Point, values by name and path of every record of a plan that is there."""
    for shard in campaign.shards:
        work = work_of(campaign, shard)
        if state_of(work) == DONE and work.path.exists():
            values = {n: _plain(v) for n, v in campaign.points[shard.point].values.items()}
            yield shard.point, values, work.path


def _found(place: Path, notes: list[str]) -> Iterator[tuple[int, dict[str, Any], Path]]:
    """The same for whole records of a folder whose plan is lost."""
    points: dict[str, int] = {}
    for path in sorted((place / "shards").glob("*.h5")):
        try:
            with open_run(path) as run:
                if run.status != "complete":
                    raise RecordError(f"{path}: this run is not complete.")
        except RecordError as error:
            notes.append(f"left out: {error}")
            continue
        # NAME is scenario, seed and replicates
        yield points.setdefault(path.name.rpartition("-r")[0], len(points)), {}, path


def _plain(text: str) -> Any:
    """A value of a design as a number if it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _rows(
    run: Run, point: int, values: dict[str, Any], readings: Sequence[Reading]
) -> Iterator[dict[str, Any]]:
    endpoints = endpoint_columns(run)
    endpoints |= reading_columns(run, readings, endpoints)
    seed = int(run.attributes["seed"])
    for i, replicate in enumerate(run.replicates):
        index = dict(zip(INDEX, (point, int(replicate), seed), strict=True))
        yield {**index, **values, **{name: float(v[i]) for name, v in endpoints.items()}}


def endpoint_columns(run: Run) -> dict[str, np.ndarray]:
    """Endpoints as reported, and under ``true_NAME`` from the truth: float64 (replicate,) each."""
    truth = {f"true_{name}": values for name, values in run.true_endpoints.items()}
    return {**run.endpoints, **truth}


def reading_columns(
    run: Run, readings: Sequence[Reading], endpoints: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Readings of which the run has the series: float64 (replicate,) each; nothing is seen of who has died."""
    if not readings:
        return {}
    times_h = run.observed_times_h
    series = until_death(times_h, run.observed, endpoints)
    return {r.name: r.value(times_h, series) for r in readings if r.needs <= series.keys()}


def until_death(
    times_h: np.ndarray, series: dict[str, np.ndarray], endpoints: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Series (replicate, sample), nan after death: cells live on in a simulation, nobody sees them."""
    if "true_os_event" not in endpoints:
        return series
    dead, day = endpoints["true_os_event"] > 0, endpoints["true_os_time"]
    is_after = dead[:, None] & (times_h > 24.0 * day[:, None])
    return {name: np.where(is_after, np.nan, values) for name, values in series.items()}


def write_tables(folder: str | os.PathLike[str], gathered: Gathered) -> tuple[list[Path], str]:
    """Write the table as CSV, and as Parquet where pyarrow is there; paths, and a sentence if it is not."""
    place = Path(folder)
    path, parquet = place / TABLE, place / PARQUET
    try:
        rows = zip(*gathered.columns.values(), strict=True)
        write_rows(path, itertools.chain([gathered.columns], rows))
        arrow, files = needs("pyarrow", "analysis"), needs("pyarrow.parquet", "analysis")
        columns: dict[str, Any] = {n: _of_one_kind(v) for n, v in gathered.columns.items()}
        if max(columns["seed"], default=0) > np.iinfo(np.int64).max:  # derived seeds have 64 bits
            columns["seed"] = np.array(columns["seed"], np.uint64)
        with written(parquet) as unfinished:
            files.write_table(arrow.table(columns), unfinished)
    except MissingPackageError as error:
        return [path], f"no {PARQUET}: {error}"
    except OSError as error:
        raise RecordError(
            f"{place}: the table could not be written ({(error.strerror or 'no reason given').lower()}); make "
            "the folder writable, or copy it."
        ) from None
    return [path, parquet], ""


def _of_one_kind(values: list[Any]) -> list[Any]:
    """A column of texts and numbers as texts, what is missing as nothing."""
    if not any(isinstance(value, str) for value in values):
        return values
    return [
        None if isinstance(value, float) and np.isnan(value) else str(value) for value in values
    ]
