"""Read a record file: only what was committed, as numpy arrays with names beside them.

The file needs none of this: h5py, xarray (``engine="h5netcdf"``), MATLAB, R and Julia open it.
Reading never changes a file and works while the run still writes to it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import h5py
import numpy as np

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.schema import (
    DECISION_COLUMNS,
    FORMAT,
    FORMAT_VERSION,
    SNAPSHOT_COLUMNS,
    Decided,
    member_path,
)
from mst_abm.records.tables import table_of, tables_of, to_frame

if TYPE_CHECKING:
    import pandas
    import xarray

BLOCK_BYTES = 1 << 26
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Snapshot:
    """All agents of one replicate at one time, one array per column."""

    time_h: float
    replicate: int
    columns: Columns

    def __len__(self) -> int:
        return len(self.columns["species"])


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a record file for reading, also one that is still growing or whose run was killed.

    Raises
    ------
    RecordError
        If there is no such file or it is not a record file.
    """
    return Run(Path(path))


def is_record(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a record, finished or not: nothing else is ever replaced."""
    try:
        open_run(path).close()
    except (RecordError, OSError):
        return False
    return True


class Run:
    """One record file. Arrays have the axes (replicate, time, ...) and end at the last commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_file(path)
        found = self._file.attrs.get("format")
        if found != FORMAT:
            self._file.close()
            raise RecordError(
                f"{path}: expected a record file of mst_abm, got another HDF5 file; give the file"
                " a run has written."
            )
        version = int(self._file.attrs["format_version"])
        if version > FORMAT_VERSION:
            self._file.close()
            raise RecordError(
                f"{path}: expected file format {FORMAT_VERSION} or older, got {version}; install a"
                " newer mst_abm."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays valid."""
        self._file.close()

    # ------------------------------------------------------------------ the run

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Seed, versions, computer and so on."""
        return dict(self._file.attrs)

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return str(self.attributes["name"])

    @property
    def status(self) -> str:
        """running (also after a kill), complete, interrupted or failed."""
        return bytes(self._file["status"][()]).decode()

    @cached_property
    def n_records(self) -> int:
        """Committed records."""
        return int(self._file["n_records"][()])

    @cached_property
    def n_snapshots(self) -> int:
        """Committed snapshots."""
        return int(self._file["n_snapshots"][()])

    @property
    def wall_seconds(self) -> float:
        """Duration of the run on the wall clock."""
        return float(self._file["wall_seconds"][()])

    @property
    def digest(self) -> str:
        """Fingerprint of the final state; empty if the run did not end."""
        return bytes(self._file["digest"][()]).decode()

    @property
    def scenario_text(self) -> str:
        """The scenario as it was run, YAML."""
        return str(self._file["inputs/scenario"].asstr()[()])

    @property
    def model_text(self) -> str:
        """The model as it was run, YAML."""
        return str(self._file["inputs/model"].asstr()[()])

    @cached_property
    def times_h(self) -> np.ndarray:
        """float64 (time,), h."""
        return self._file["time"][: self.n_records]

    @cached_property
    def replicates(self) -> np.ndarray:
        """int64 (replicate,): number of every replicate."""
        return self._file["replicate"][:]

    # ------------------------------------------------------------------ tables

    @cached_property
    def species(self) -> dict[str, np.ndarray]:
        """Columns of the species table: species, type, is_static, is_leukaemia and one per axis."""
        return self._table("species")

    @cached_property
    def axes(self) -> list[str]:
        """Names of the axes of cell types."""
        others = ("species", "type", "is_static", "is_leukaemia")
        return [name for name in self.species if name not in others]

    @cached_property
    def compartments(self) -> dict[str, np.ndarray]:
        """Columns of the compartments table."""
        return self._table("compartments")

    @cached_property
    def compartment_names(self) -> list[str]:
        """Names of the compartments, in their order."""
        return list(self.compartments["compartment"])

    @cached_property
    def channels(self) -> dict[str, np.ndarray]:
        """Columns of the channel table: rule, verb, compartment, actor, partner, products."""
        return self._table("events", but=("tally",))

    @cached_property
    def given(self) -> dict[str, np.ndarray]:
        """Columns of what was given to the patient."""
        return self._table("given")

    # ------------------------------------------------------------------ time courses

    def counts(self, compartment: str) -> np.ndarray:
        """int64 (replicate, time, species): simulated cells; species 0 are vacant sites.

        Here and below: float32 if the engine was mean-field, which knows means alone.
        """
        self._check(compartment, self.compartment_names, "compartment")
        return self._course("counts", compartment)

    def counts_by(self, compartment: str, *columns: str) -> dict[tuple[str, ...], np.ndarray]:
        """Counts summed over species that agree in some columns of the species table.

        ``counts_by("marrow", "type", "origin")[("cd8", "donor")]`` is int64 (replicate, time).
        Vacant sites are left out.
        """
        self._check(compartment, self.compartment_names, "compartment")
        return self._sums(f"counts/{compartment}", self._keys(columns))

    def received(self, compartment: str) -> np.ndarray:
        """int64 (replicate, time, species): cells handed over since the previous record.

        With `events` and the stoichiometry they account for every change of `counts`, but for what
        a protocol sets. A lattice receives into its waiting pool, from which cells then arrive.
        """
        self._check(compartment, self.compartment_names, "compartment")
        if member_path(f"received/{compartment}") not in self._file:
            return np.zeros_like(self.counts(compartment))
        return self._course("received", compartment)

    def waiting(self, compartment: str) -> np.ndarray:
        """int64 (replicate, time): cells that wait for a place on a lattice."""
        self._check(compartment, self.compartment_names, "compartment")
        if member_path(f"waiting/{compartment}") not in self._file:
            return np.zeros((len(self.replicates), self.n_records), "i8")
        return self._course("waiting", compartment)

    @cached_property
    def stoichiometry(self) -> dict[str, np.ndarray]:
        """Columns channel, compartment, species, cells: what one event of a channel changes."""
        return self._table("stoichiometry")

    def events(self) -> np.ndarray:
        """int64 (replicate, time, channel): events since the previous record."""
        return self._file["events/tally"][:, : self.n_records]

    def events_by(self, *columns: str) -> dict[tuple[str, ...], np.ndarray]:
        """Events summed over channels that agree in some columns of the channel table."""
        members: dict[tuple[str, ...], list[int]] = {}
        for column in columns:
            self._check(column, list(self.channels), "column of events")
        for i, key in enumerate(zip(*(self.channels[c] for c in columns), strict=True)):
            members.setdefault(tuple(map(str, key)), []).append(i)
        return self._sums("events/tally", members)

    def leukaemia_deaths(self, *, in_reservoirs: bool = False) -> dict[str, np.ndarray]:
        """int64 (replicate, time) by rule: leukaemia cells lost since the previous record.

        Over all rules they are all cells lost. Cells that move to another place are none of them.
        ``in_reservoirs``: cells of the body lost there, instead of simulated ones.
        """
        changes = self.stoichiometry
        is_blast = self.species["is_leukaemia"].astype(bool)[changes["species"]]
        gained = np.zeros(len(self.channels["rule"]), "i8")
        np.add.at(gained, changes["channel"][is_blast], changes["cells"][is_blast])
        is_fatal = (gained < 0) & ~np.isin(self.channels["verb"], ("leave", "arrive", "move"))
        lost: dict[str, np.ndarray] = {}
        events = self.reserve_events() if in_reservoirs else self.events()
        for channel in np.flatnonzero(is_fatal):
            rule, cells = (
                str(self.channels["rule"][channel]),
                -gained[channel] * events[:, :, channel],
            )
            lost[rule] = lost[rule] + cells if rule in lost else cells
        return lost

    @cached_property
    def signals(self) -> dict[str, np.ndarray]:
        """float64 (replicate, time) of every signal."""
        return {name: self._course("signals", name) for name in self.signal_units}

    @cached_property
    def signal_units(self) -> dict[str, str]:
        """Unit of every signal."""
        return self._members("signals")

    # ------------------------------------------------------------------ reservoirs

    @cached_property
    def reservoirs(self) -> dict[str, np.ndarray]:
        """Columns reservoir, compartment, cells, below, above; none if the model has no reservoir."""
        if "reservoirs" not in self._file:
            return {}
        return self._table("reservoirs", but=("is_member", "is_owner", "events"))

    def held(self, compartment: str) -> np.ndarray:
        """int64 (replicate, time, species): cells of the whole body in reservoirs, not among `counts`."""
        self._check(compartment, self.compartment_names, "compartment")
        if member_path(f"held/{compartment}") not in self._file:
            return np.zeros_like(self.counts(compartment))
        return self._course("held", compartment)

    def handed(self, compartment: str) -> np.ndarray:
        """int64 (replicate, time, species): simulated cells put into a compartment by reservoirs since the
        previous record, less those taken out of it.
        """
        self._check(compartment, self.compartment_names, "compartment")
        if member_path(f"handed/{compartment}") not in self._file:
            return np.zeros_like(self.counts(compartment))
        return self._course("handed", compartment)

    def reserve_events(self) -> np.ndarray:
        """int64 (replicate, time, channel): events of the whole body in reservoirs since the previous record."""
        if "reservoirs" not in self._file:
            return np.zeros_like(self.events())
        return self._course("reservoirs", "events")

    @cached_property
    def is_reserved(self) -> np.ndarray:
        """bool (replicate, time, reservoir): whether a class is in its reservoir."""
        if "reservoirs" not in self._file:
            return np.zeros((len(self.replicates), self.n_records, 0), bool)
        return self._course("reservoirs", "is_owner").astype(bool)

    def body_cells(self, reservoir: int) -> np.ndarray:
        """float64 (replicate, time): cells of the whole body of a reservoir's class, wherever they are."""
        place = str(self.reservoirs["compartment"][reservoir])
        share = self.compartments["share"][self.compartment_names.index(place)]
        mine = self._file["reservoirs/is_member"][reservoir].astype(bool)
        return self.counts(place)[:, :, mine].sum(axis=2) / share + self.held(place)[
            :, :, mine
        ].sum(axis=2)

    # ------------------------------------------------------------------ agents

    @cached_property
    def frames(self) -> dict[str, np.ndarray]:
        """Columns time (h), replicate, start, size: one row per snapshot."""
        n, group = self.n_snapshots, self._file["snapshots"]
        return {c: group[f"frame_{c}"][:n] for c in ("time", "replicate", "start", "size")}

    def frames_of(self, replicate: int | None = None) -> np.ndarray:
        """int64 (frame,): snapshots of one replicate, of the first that has any unless told otherwise.

        Raises
        ------
        RecordError
            If there are none.
        """
        if not self.n_snapshots:
            self.snapshot(0)  # says what is missing
        of = self.frames["replicate"]
        wanted = of[0] if replicate is None else replicate
        self._check(str(wanted), list(map(str, np.unique(of))), "replicate with snapshots")
        return np.flatnonzero(of == int(wanted))

    def snapshot(self, index: int) -> Snapshot:
        """All agents of snapshot ``index``; -1 is the last."""
        n = self.n_snapshots
        if not -n <= index < n:
            raise RecordError(
                f"{self.path}: expected a snapshot from {-n} to {n - 1}, got {index}."
                if n
                else f"{self.path}: holds no snapshots; set run: record: snapshots in the scenario."
            )
        frame = {name: values[index] for name, values in self.frames.items()}
        rows = slice(int(frame["start"]), int(frame["start"] + frame["size"]))
        group = self._file["snapshots"]
        names = [row.path.partition("/")[2] for row in SNAPSHOT_COLUMNS]
        columns = {name: group[name][rows] for name in names if name in group}
        return Snapshot(float(frame["time"]), int(frame["replicate"]), columns)

    def field(self, name: str) -> np.ndarray:
        """float64 (frame, patch, z, y, x): levels of a field by block, at every snapshot."""
        self._check(name, list(self.field_units), "field")
        return self._file[member_path(f"fields/{name}")][: self.n_snapshots]

    @cached_property
    def field_units(self) -> dict[str, str]:
        """Unit of every field."""
        return self._members("fields")

    # ------------------------------------------------------------------ clinic

    @cached_property
    def endpoints(self) -> dict[str, np.ndarray]:
        """float64 (replicate,) of every endpoint from what was reported; not a number: not reached."""
        return self._endpoints("value")

    @cached_property
    def true_endpoints(self) -> dict[str, np.ndarray]:
        """The same from the truth."""
        return self._endpoints("true_value")

    @cached_property
    def endpoint_table(self) -> dict[str, np.ndarray]:
        """Columns endpoint, unit, description, categories, is_reported and is_true."""
        return self._table("clinic", but=("value", "true_value"))

    def categories(self, endpoint: str, *, is_true: bool = False) -> np.ndarray:
        """(replicate,) an endpoint as words, such as the response; empty: not reached."""
        table = self.endpoint_table
        self._check(endpoint, list(table["endpoint"]), "name of an endpoint")
        words = str(table["categories"][list(table["endpoint"]).index(endpoint)]).split("|")
        values = (self.true_endpoints if is_true else self.endpoints)[endpoint]
        return np.array([words[int(v)] if np.isfinite(v) else "" for v in values])

    def survival(self, name: str = "os", *, is_true: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Time (d) and event (bool: it happened, else censored) for survival analysis.

        ``os`` from the start, ``dfs`` from remission; replicates that were never at risk are left out.
        """
        values = self.true_endpoints if is_true else self.endpoints
        pairs = [
            n.removesuffix("_time") for n in values if f"{n.removesuffix('_time')}_event" in values
        ]
        self._check(name, pairs, "kind of survival")
        time, event = values[f"{name}_time"], values[f"{name}_event"]
        is_at_risk = np.isfinite(time)
        return time[is_at_risk], event[is_at_risk] == 1

    @cached_property
    def observed(self) -> dict[str, np.ndarray]:
        """float64 (replicate, sample): the truth in the units of a laboratory."""
        return {
            name: self._file[member_path(f"observed/{name}")][:] for name in self.observed_units
        }

    @cached_property
    def reported(self) -> dict[str, np.ndarray]:
        """float64 (replicate, sample): what the laboratory reports, with the error of counting.

        0: not detected; not a number: no sample. Of observables that are never seen there is none.
        """
        names = self._members("reported")
        return {name: self._file[member_path(f"reported/{name}")][:] for name in names}

    @cached_property
    def reactions(self) -> dict[str, np.ndarray]:
        """Columns name, when, done: the rules of a protocol that reacts."""
        return self._table("reactions") if "reactions" in self._file else {}

    @cached_property
    def decisions(self) -> list[Decided]:
        """What was decided by these rules, in order of time."""
        if "decisions" not in self._file:
            return []
        group = self._file["decisions"]
        names = [str(name) for name in group["observable"].asstr()[:]]
        columns = (group[column][:] for column in (*DECISION_COLUMNS, "seen"))
        rules = self.reactions
        return [
            Decided(
                float(time_h),
                int(replicate),
                name=str(rules["name"][i]),
                when=str(rules["when"][i]),
                done=str(rules["done"][i]),
                seen=dict(zip(names, map(float, seen), strict=True)),
            )
            for time_h, replicate, i, seen in zip(*columns, strict=True)
        ]

    @cached_property
    def observed_units(self) -> dict[str, str]:
        """Unit of every observed count."""
        return self._members("observed")

    @cached_property
    def observed_times_h(self) -> np.ndarray:
        """float64 (sample,), h."""
        return self._file["observed/sample_time"][:]

    @cached_property
    def statistics(self) -> dict[str, float]:
        """Work of the engine."""
        if "statistics" not in self._file:
            return {}
        return {name: float(dataset[()]) for name, dataset in self._file["statistics"].items()}

    # ------------------------------------------------------------------ other packages

    @property
    def has_identity(self) -> bool:
        """Whether snapshots say which cell is which, and whose daughter."""
        return "snapshots/id" in self._file

    @cached_property
    def table_names(self) -> tuple[str, ...]:
        """Tables that `table` gives of this record."""
        return tuple(tables_of(self))

    def table(self, name: str) -> pandas.DataFrame:
        """A long table: counts, events, signals, given, observed, endpoints or cells.

        Units by column are in ``attrs["units"]``; columns of time end in ``_h``, of length in ``_um``.
        """
        return to_frame(table_of(self, name))

    def to_pandas(self, compartment: str) -> pandas.DataFrame:
        """Counts of one compartment as a tidy table: replicate, time_h, species, count."""
        pandas = needs("pandas", "analysis")
        counts = self.counts(compartment)
        index = pandas.MultiIndex.from_product(
            [self.replicates, self.times_h, self.species["species"]],
            names=["replicate", "time_h", "species"],
        )
        frame = pandas.DataFrame({"count": counts.ravel()}, index=index).reset_index()
        frame.attrs["units"] = {"replicate": "1", "time_h": "h", "species": "", "count": "cell"}
        return frame

    def to_xarray(self, group: str = "counts") -> xarray.Dataset:
        """One group as an xarray dataset, in memory, cut at the last committed record.

        Every variable has its unit in ``attrs["units"]``. Species carry their types as a coordinate.
        """
        xarray = needs("xarray", "analysis")
        needs("h5netcdf", "analysis")
        with xarray.open_dataset(self.path, engine="h5netcdf", group=group) as dataset:
            committed = {"time": self.n_records, "frame": self.n_snapshots}
            cut = {d: slice(n) for d, n in committed.items() if d in dataset.dims}
            found = dataset.isel(cut).load()
        if "species" in found.dims and "type" not in found.variables:
            types = self.species["type"].astype(str)
            found = found.assign_coords(type=("species", types))
        return found

    # ------------------------------------------------------------------ inside

    def _endpoints(self, column: str) -> dict[str, np.ndarray]:
        values = self._file[f"clinic/{column}"][:]
        return {str(name): values[:, i] for i, name in enumerate(self.endpoint_table["endpoint"])}

    def _course(self, group: str, name: str) -> np.ndarray:
        return self._file[member_path(f"{group}/{name}")][:, : self.n_records]

    def _members(self, group: str) -> dict[str, str]:
        """Names and units of the time courses of a group, in the order they were declared."""
        coordinates = ("time", "replicate", "sample_time")
        items = self._file[group].items() if group in self._file else ()
        return {
            str(dataset.attrs.get("name", name)): str(dataset.attrs["units"])
            for name, dataset in items
            if name not in coordinates and "units" in dataset.attrs
        }

    def _table(self, group: str, but: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
        """Columns of a group: every one-dimensional dataset with values."""
        found = {}
        for name, dataset in self._file[group].items():
            is_phony = dataset.attrs.get("NAME", b"").startswith(b"This is a netCDF dimension but")
            if name in (*but, "time", "replicate") or is_phony:
                continue
            is_text = h5py.check_string_dtype(dataset.dtype) is not None
            found[str(dataset.attrs.get("name", name))] = (
                dataset.asstr()[:] if is_text else dataset[:]
            )
        return found

    def _sums(
        self, path: str, members: Mapping[tuple[str, ...], Sequence[int]]
    ) -> dict[tuple[str, ...], np.ndarray]:
        """Sums over members of the last axis, read in blocks: an ensemble may exceed memory."""
        dataset = self._file[member_path(path)]
        n_replicates, n = dataset.shape[0], self.n_records
        sums = {
            key: np.zeros((n_replicates, n), "f8" if dataset.dtype.kind == "f" else "i8")
            for key in members
        }
        step = max(1, BLOCK_BYTES // max(8 * n * dataset.shape[2], 1))
        for first in range(0, n_replicates, step):
            block = dataset[first : first + step, :n]
            for key, rows in members.items():
                sums[key][first : first + step] = block[:, :, rows].sum(
                    axis=2, dtype=sums[key].dtype
                )
        return sums

    def _keys(self, columns: tuple[str, ...]) -> dict[tuple[str, ...], list[int]]:
        for column in columns:
            self._check(column, list(self.species), "column of species")
        members: dict[tuple[str, ...], list[int]] = {}
        rows = zip(*(self.species[c] for c in columns), strict=True)
        for i, key in enumerate(rows):
            if i:
                members.setdefault(tuple(map(str, key)), []).append(i)
        return members

    def _check(self, name: str, known: list[str], what: str) -> None:
        if name not in known:
            raise RecordError(f"{self.path}: expected a {what} ({', '.join(known)}), got '{name}'.")


def open_file(path: Path) -> h5py.File:
    """The HDF5 file, also one that still grows or whose writer was killed; RecordError if it is none."""
    if not path.exists():
        raise RecordError(f"{path}: expected a record file, there is none; check the name.")
    if path.is_dir():
        raise RecordError(f"{path}: expected a record file, got a folder; name the file in it.")
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError) as error:
        if "truncated" in str(error):
            # reading on would wait for ever for a writer that is long gone
            raise RecordError(
                f"{path}: expected a whole record file, the end of this one is missing; copy it again."
            ) from error
    if not h5py.is_hdf5(path):
        raise RecordError(
            f"{path}: expected a record file, which a run writes (.h5), got another kind of file or a "
            "damaged one; check the name."
        )
    # a file still being written to, or whose writer was killed
    try:
        return h5py.File(path, "r", swmr=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: a superblock that makes no sense
        raise RecordError(
            f"{path}: expected a record file, could not open it as HDF5 ({error}); check that it is"
            " complete."
        ) from error
