"""Write one record file while a run goes on, so that whatever happens the file can be read.

HDF5 in single-writer-multiple-reader mode: everything is created first, then data are flushed
before the counters that commit them. A process killed at any moment leaves a file that opens and
holds every committed record. Format bounds are fixed at HDF5 1.10, which all readers know; the
newest format is refused by many. No result is computed here.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

import h5py
import numpy as np

from mst_abm.errors import DiscFullError, RecordError
from mst_abm.records.copying import Earlier, copy_committed
from mst_abm.records.layout import Layout
from mst_abm.records.reader import is_record
from mst_abm.records.schema import (
    DECISION_COLUMNS,
    MAX_PENDING_CELLS,
    STATUSES,
    Decided,
    Header,
    Observed,
    member_path,
)


class Recordable(Protocol):
    """What a simulation has to show at a record."""

    @property
    def time_h(self) -> float: ...
    @property
    def counts(self) -> Mapping[str, np.ndarray]: ...
    @property
    def tally(self) -> np.ndarray: ...
    @property
    def signals(self) -> np.ndarray: ...
    @property
    def received(self) -> np.ndarray: ...
    @property
    def waiting(self) -> Mapping[str, np.ndarray]: ...
    @property
    def statistics(self) -> Mapping[str, float]: ...
    @property
    def reservoirs(self) -> Any: ...
    def agents(self, replicate: int = 0) -> Mapping[str, np.ndarray]: ...
    def field_levels(self, replicate: int = 0) -> Mapping[str, np.ndarray]: ...


def refuse_place(path: Path, *, force: bool) -> None:
    """Refuse with one sentence a name under which no record can be written.

    Raises
    ------
    RecordError
    """
    folder = path.parent
    if not folder.is_dir():
        raise RecordError(
            f"{path}: expected an existing folder, there is no '{folder}'; make it first."
        )
    if path.is_dir():
        raise RecordError(f"{path}: expected the name of a file, got a folder; add a name.")
    if not os.access(folder, os.W_OK):
        raise RecordError(
            f"{path}: the folder '{folder}' cannot be written to; choose another place with -o."
        )
    if not path.exists():
        return
    if not force:
        raise RecordError(
            f"{path}: this file exists and is never overwritten unasked; choose another name or use"
            " --force."
        )
    if not is_record(path):
        raise RecordError(
            f"{path}: this is no record of mst_abm, or a damaged one, and is not replaced even with"
            " --force; choose another name or move it away."
        )


class _Series:
    """A dataset (replicate, time, ...) and its rows that are not in the file yet."""

    def __init__(self, dataset: h5py.Dataset, depth: int) -> None:
        shape = dataset.shape
        self.dataset = dataset
        self.rows = np.zeros((shape[0], depth, *shape[2:]), dataset.dtype)

    def write(self, first: int, n: int) -> None:
        """Put the first ``n`` rows of the buffer at ``first`` of the dataset."""
        self.dataset.resize(first + n, axis=1)
        self.dataset[:, first : first + n] = self.rows[:, :n]


class RunWriter:
    """The file of one run: records at once in memory, in the file by whole chunks or every 10 s.

    An existing file is refused without ``force``; with it, the old file stays until the first
    record of the new one is safe. ``earlier``: the record begins with a part of another, of the same
    name or not.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Header,
        *,
        force: bool = False,
        flush_seconds: float = 10.0,
        earlier: Earlier | None = None,
    ) -> None:
        self.path = Path(path)
        self.header = header
        self.n_records = 0
        self.n_snapshots = 0
        self._flush_seconds = flush_seconds
        self._is_open = False
        self._current = self._place(force)
        try:
            with _speaking(self.path):
                self._file = h5py.File(self._current, "x", libver=("v110", "v110"))
        except RecordError:
            self._current.unlink(missing_ok=True)  # of no bytes
            raise
        self._is_open = True
        try:
            with _speaking(self.path):
                self._layout = Layout(self._file, header)
                self._courses = {
                    path: _Series(dataset, self._layout.depth)
                    for path, dataset in self._layout.courses.items()
                }
                self._file.swmr_mode = True
        except BaseException:
            self._discard()
            raise
        self._start = self._last_flush = time.monotonic()
        n_compartments = len(header.compartments["compartment"])
        self._number = "f8" if header.has_means else "i8"
        self._previous_tally = np.zeros((len(header.replicates), header.n_channels), self._number)
        self._previous_received = np.zeros(
            (len(header.replicates), n_compartments, header.n_species), self._number
        )
        self._previous_reserves: dict[str, np.ndarray] = {}
        self._times = np.zeros(self._layout.depth)
        self._n_buffered = 0
        self._frames: list[tuple[float, int, dict[str, np.ndarray]]] = []
        self._levels: list[Mapping[str, np.ndarray]] = []  # of fields, one for each frame
        self._n_cells = 0
        self._statistics: dict[str, float] = {}
        if earlier is not None:
            try:
                self._take_over(earlier)
            except BaseException:
                self._discard()
                raise

    # ------------------------------------------------------------------ recording

    def append_record(self, simulation: Recordable) -> None:
        """Take counts, events since the previous record and signals of every replicate."""
        row = self._n_buffered
        tally = np.array(simulation.tally, self._number)
        received = np.array(simulation.received, self._number)
        for path, values in self._values(simulation, tally, received):
            self._courses[path].rows[:, row] = values
        self._times[row] = simulation.time_h
        self._statistics = dict(simulation.statistics)
        self._previous_tally, self._previous_received = tally, received
        self._n_buffered = row + 1
        is_due = time.monotonic() - self._last_flush >= self._flush_seconds
        if self.n_records == 0 or is_due or self._n_buffered == len(self._times):
            self.commit()

    def append_snapshot(self, simulation: Recordable, replicate: int = 0) -> None:
        """Take every agent of one replicate; ``replicate`` counts within this file."""
        agents = simulation.agents(replicate)
        columns = {}
        for name, dataset in self._layout.columns.items():
            if name not in agents:
                raise RecordError(
                    f"{self.path}: the snapshot at {simulation.time_h:g} h lacks the column"
                    f" '{name}', got {', '.join(agents)}; this is a mistake in mst_abm, report it."
                )
            columns[name] = np.asarray(agents[name], dataset.dtype)
        number = int(self.header.replicates[replicate])
        self._frames.append((simulation.time_h, number, columns))
        self._levels.append(simulation.field_levels(replicate) if self.header.fields else {})
        if sum(len(frame[2]["species"]) for frame in self._frames) >= MAX_PENDING_CELLS:
            self.commit()

    def commit(self) -> None:
        """Write what is buffered, flush, then raise the counters and flush again.

        HDF5 keeps no order between datasets, hence two flushes. Stopped half way and called again,
        it writes the same rows to the same places.
        """
        with _speaking(self.path):
            n, first = self._n_buffered, self.n_records
            if n:
                for series in self._courses.values():
                    series.write(first, n)
            n_cells = self._write_frames()
            time_axis = self._file["time"]
            time_axis.resize(first + n, axis=0)
            time_axis[first:] = self._times[:n]
            self._file.flush()
            for name, value in self._statistics.items():
                self._set(member_path(f"statistics/{name}"), value)
            self._set("wall_seconds", time.monotonic() - self._start)
            self._set("n_snapshot_cells", n_cells)
            self._set("n_snapshots", self.n_snapshots + len(self._frames))
            self._set("n_records", first + n)
            self._file.flush()
        self._n_cells = n_cells
        self.n_snapshots += len(self._frames)
        self._frames, self._levels = [], []
        self.n_records, self._n_buffered = first + n, 0
        self._last_flush = time.monotonic()
        if self._current != self.path and self.n_records:
            os.replace(self._current, self.path)
            self._current = self.path

    def finish(
        self,
        *,
        endpoints: Mapping[str, np.ndarray] | None = None,
        true_endpoints: Mapping[str, np.ndarray] | None = None,
        observed: Observed | None = None,
        decisions: Sequence[Decided] = (),
        digest: str = "",
    ) -> None:
        """Write what is known only at the end; names must have been declared in the header."""
        with _speaking(self.path):
            names = [endpoint.name for endpoint in self.header.endpoints]
            for column, mark, found in (
                ("value", "is_reported", endpoints),
                ("true_value", "is_true", true_endpoints),
            ):
                for name, values in (found or {}).items():
                    self._file[f"clinic/{column}"][:, names.index(name)] = values
                    self._file[f"clinic/{mark}"][names.index(name)] = 1
            if observed is not None:
                n = len(observed.time_h)
                for group, series in (
                    ("observed", observed.values),
                    ("reported", observed.reported),
                ):
                    for name, values in series.items():
                        dataset = self._file[member_path(f"{group}/{name}")]
                        dataset.resize(n, axis=1)
                        dataset[:] = values
                axis = self._file["observed/sample_time"]
                axis.resize(n, axis=0)
                axis[:] = observed.time_h
            self._write_decisions(decisions)
            self._set("digest", np.bytes_(digest))
            self._file.flush()

    def close(self, status: str = "complete") -> None:
        """Commit, say how it ended, close. A file without any record is removed."""
        if status not in STATUSES:
            raise ValueError(f"status is one of {', '.join(STATUSES)}, got {status!r}")
        if not self._is_open:
            return
        self.commit()
        if self.n_records == 0:
            self._discard()
            return
        with _speaking(self.path):
            self._set("status", np.bytes_(status))
            self._file.flush()
            self._file.close()
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close("complete")
        else:
            self.close("interrupted" if kind is KeyboardInterrupt else "failed")

    # ------------------------------------------------------------------ checkpoints

    def facts(self) -> dict[str, Any]:
        """What a checkpoint has to know of the file; commit first."""
        return {
            "n_records": self.n_records,
            "n_snapshots": self.n_snapshots,
            "n_snapshot_cells": self._n_cells,
            "wall_seconds": time.monotonic() - self._start,
            "statistics": {name: float(value) for name, value in self._statistics.items()},
        }

    def memory(self) -> dict[str, np.ndarray]:
        """Sums at the previous record, by name: the next one is told as a difference to them."""
        return {
            "tally": self._previous_tally,
            "received": self._previous_received,
            **{f"reserves/{name}": sums for name, sums in self._previous_reserves.items()},
        }

    def secure(self) -> None:
        """Commit, and force the file to the disc, before a checkpoint says what is in it."""
        self.commit()
        with _speaking(self.path):
            os.fsync(self._file.id.get_vfd_handle())

    def _take_over(self, earlier: Earlier) -> None:
        """Begin with what another record holds, and put this file in its place."""
        start = "reserves/"
        self._previous_tally = np.array(earlier.memory["tally"], "i8")
        self._previous_received = np.array(earlier.memory["received"], "i8")
        self._previous_reserves = {
            n.removeprefix(start): a for n, a in earlier.memory.items() if n.startswith(start)
        }
        self._statistics = dict(earlier.statistics)
        self._start -= earlier.seconds
        with _speaking(self.path):
            copy_committed(earlier, self._layout)
        self.n_records, self.n_snapshots = earlier.n_records, earlier.n_snapshots
        self._n_cells = earlier.n_snapshot_cells
        self.commit()

    # ------------------------------------------------------------------ creation

    def _place(self, force: bool) -> Path:
        """Where to create the file: under another name, so that a file of this one is always whole."""
        refuse_place(self.path, force=force)
        partial = self.path.with_name(f"{self.path.name}.partial-{os.getpid()}")
        partial.unlink(missing_ok=True)
        return partial

    # ------------------------------------------------------------------ writing

    def _values(
        self, simulation: Recordable, tally: np.ndarray, received: np.ndarray
    ) -> Iterator[tuple[str, np.ndarray]]:
        """What goes into every time course at one record."""
        for name, values in simulation.counts.items():
            yield f"counts/{name}", values
        if self.header.has_handover:
            new = received - self._previous_received
            for m, name in enumerate(self.header.compartments["compartment"]):
                yield f"received/{name}", new[:, m]
            for name, values in simulation.waiting.items():
                yield f"waiting/{name}", values
        yield "events/tally", tally - self._previous_tally
        levels = simulation.signals
        for i, name in enumerate(self.header.signals):
            yield f"signals/{name}", levels[:, i]
        if self.header.reservoirs:
            yield from self._reserves(simulation.reservoirs)

    def _reserves(self, reservoirs: Any) -> Iterator[tuple[str, np.ndarray]]:
        """What reservoirs hold, and what happened in them since the previous record."""
        yield "reservoirs/is_owner", reservoirs.is_owner
        for name, values in reservoirs.numbers.items():
            yield f"held/{name}", values
        sums = {f"handed/{name}": values for name, values in reservoirs.handed.items()}
        for path, values in ({"reservoirs/events": reservoirs.tally} | sums).items():
            yield path, values - self._previous_reserves.get(path, 0)
            self._previous_reserves[path] = values

    def _write_frames(self) -> int:
        """Append the pending snapshots; return the rows of the columns that are then in use."""
        n_cells = self._n_cells
        if not self._frames:
            return n_cells
        sizes = np.array([len(columns["species"]) for _, _, columns in self._frames], "i8")
        end = n_cells + int(sizes.sum())
        for name, dataset in self._layout.columns.items():
            dataset.resize(end, axis=0)
            first = n_cells
            for _, _, columns in self._frames:
                column = columns[name]
                # a part that is never written reads as zeros: unused counters, patches, planes
                if column.any():
                    dataset[first : first + len(column)] = column
                first += len(column)
        self._layout.scales["cell"].resize(end, axis=0)
        index = {
            "time": [frame[0] for frame in self._frames],
            "replicate": [frame[1] for frame in self._frames],
            "start": n_cells + np.cumsum(sizes) - sizes,
            "size": sizes,
        }
        n_frames = self.n_snapshots + len(self._frames)
        for name, values in index.items():
            dataset = self._file[f"snapshots/frame_{name}"]
            dataset.resize(n_frames, axis=0)
            dataset[self.n_snapshots :] = values
        for name, dataset in self._layout.fields.items():
            dataset.resize(n_frames, axis=0)
            dataset[self.n_snapshots :] = np.stack([levels[name] for levels in self._levels])
        self._layout.scales["frame"].resize(n_frames, axis=0)
        return end

    def _write_decisions(self, decisions: Sequence[Decided]) -> None:
        if not self.header.reactions:
            return
        n, names = len(decisions), [reaction.name for reaction in self.header.reactions]
        rows = [(d.time_h, d.replicate, names.index(d.name)) for d in decisions]
        seen = [[d.seen[name] for name in self.header.looked_at] for d in decisions]
        for i, column in enumerate(DECISION_COLUMNS):
            dataset = self._file[f"decisions/{column}"]
            dataset.resize(n, axis=0)
            dataset[:] = [row[i] for row in rows]
        dataset = self._file["decisions/seen"]
        dataset.resize(n, axis=0)
        dataset[:] = np.reshape(seen, dataset.shape)
        self._layout.scales["decision"].resize(n, axis=0)

    def _set(self, path: str, value: Any) -> None:
        self._file[path][()] = value

    def _discard(self) -> None:
        """Close and remove a file that holds no record; an older one of that name stays."""
        self._is_open = False
        # a full disc cannot take what closing would write; the file is going anyway
        with suppress(OSError, RuntimeError):
            self._file.close()
        self._current.unlink(missing_ok=True)


@contextmanager
def _speaking(path: Path) -> Iterator[None]:
    """Turn an error of the disc into one sentence."""
    try:
        yield
    except RecordError:
        raise
    except (OSError, RuntimeError) as error:  # RuntimeError: h5py while it flushes or closes
        number = _number(error)
        if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            message = (
                f"{path}: the disc is full, or a quota reached; free some space and run again."
            )
            raise DiscFullError(message) from error
        reason = os.strerror(number).lower() if number else str(error)
        raise RecordError(
            f"{path}: could not be written ({reason}); check the folder and the disc."
        ) from error


def _number(error: Exception) -> int:
    """The system's number of an error, which HDF5 at times only has in its text; 0 if unknown."""
    told = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(told[1]) if told else 0)
