"""The file format, once: every dataset and attribute of a record file, with dimensions and unit.

The writer creates exactly what this table lists, `docs/file_format.md` is printed from it
and a test compares both with a real file. Names in ``<angle brackets>`` stand for names of the model
(a compartment, a signal, an axis). No file is opened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

FORMAT = "mst_abm record"
FORMAT_VERSION = 1
STATUSES = ("running", "complete", "interrupted", "failed")
TEXT = "text"
#: Cells of snapshots that a writer holds back at most.
MAX_PENDING_CELLS = 1 << 20


@dataclass(frozen=True)
class Dataset:
    """One dataset: ``dtype`` is numpy's name or "text" (UTF-8); ``unit`` "1" has no dimension.

    ``dims`` are names of dimension scales; those in GROWING get longer while a run goes on.
    """

    path: str
    dims: tuple[str, ...]
    dtype: str
    unit: str
    description: str
    is_optional: bool = False


# A dimension that grows while the run goes on; the others are known when the file is made.
GROWING = ("time", "cell", "frame", "sample_time", "decision")

# fmt: off
DATASETS: tuple[Dataset, ...] = (
    # what is committed
    Dataset("status", (), "S12", "1", "running, complete, interrupted or failed"),
    Dataset("n_records", (), "i8", "1", "committed records: read no further along time"),
    Dataset("n_snapshots", (), "i8", "1", "committed snapshots: read no further along frame"),
    Dataset("n_snapshot_cells", (), "i8", "1", "committed rows of the snapshot columns"),
    # what was asked for
    Dataset("inputs/scenario", (), TEXT, "1", "the scenario with every default filled in, YAML"),
    Dataset("inputs/model", (), TEXT, "1", "the model with every override applied, YAML"),
    # coordinates; every group that uses one holds a hard link to it, so that it opens on its own
    Dataset("time", ("time",), "f8", "h", "time of the record since the start of the run"),
    Dataset("replicate", ("replicate",), "i8", "1", "number of the replicate, part of its seed"),
    # names
    Dataset("species/species", ("species",), TEXT, "1", "type[axis=value,...]; the first is a vacant site"),
    Dataset("species/type", ("species",), TEXT, "1", "cell type"),
    Dataset("species/is_static", ("species",), "u1", "1", "1: stands still for ever (anatomy)"),
    Dataset("species/is_leukaemia", ("species",), "u1", "1", "1: counted by the observable blast_cells"),
    Dataset("species/<axis>", ("species",), TEXT, "1", "value on this axis, empty if the type lacks it or it is at its default"),
    Dataset("compartments/compartment", ("compartment",), TEXT, "1", "name"),
    Dataset("compartments/kind", ("compartment",), TEXT, "1", "lattice or mixed"),
    Dataset("compartments/patches", ("compartment",), "i8", "1", "lattice patches of one body; 1 if mixed"),
    Dataset("compartments/shape", ("compartment", "axis"), "i8", "1", "sites of a patch along x, y, z; 0 if mixed"),
    Dataset("compartments/spacing", ("compartment",), "f8", "um", "distance of neighbouring sites"),
    Dataset("compartments/volume", ("compartment",), "f8", "um^3", "volume of the whole body this stands for; 0: not given"),
    Dataset("compartments/share", ("compartment",), "f8", "1", "share of the body that is simulated: cells / share = cells of the body"),
    # time courses
    Dataset("counts/<compartment>", ("replicate", "time", "species"), "i8", "cell", "simulated cells, all patches of a body together"),
    Dataset("received/<compartment>", ("replicate", "time", "species"), "i8", "cell", "cells handed over by another compartment or an infusion since the previous record", True),
    Dataset("waiting/<compartment>", ("replicate", "time"), "i8", "cell", "cells handed over to a lattice that have not found a place", True),
    Dataset("events/tally", ("replicate", "time", "channel"), "i8", "event", "events since the previous record"),
    Dataset("events/rule", ("channel",), TEXT, "1", "rule that made the event"),
    Dataset("events/verb", ("channel",), TEXT, "1", "verb of the rule"),
    Dataset("events/compartment", ("channel",), TEXT, "1", "where it happened"),
    Dataset("events/actor", ("channel",), TEXT, "1", "species that acted"),
    Dataset("events/partner", ("channel",), TEXT, "1", "species it met, empty if none"),
    Dataset("events/products", ("channel",), TEXT, "1", "what they became, joined by +"),
    Dataset("stoichiometry/channel", ("change",), "i8", "1", "row of the channels of events"),
    Dataset("stoichiometry/compartment", ("change",), "i8", "1", "row of the compartments table"),
    Dataset("stoichiometry/species", ("change",), "i8", "1", "row of the species table"),
    Dataset("stoichiometry/cells", ("change",), "i8", "cell", "cells gained there by one event of the channel"),
    Dataset("signals/<signal>", ("replicate", "time"), "f8", "<unit of the signal>", "signal at the time of the record"),
    # classes of cells that a sample is too small for
    Dataset("reservoirs/reservoir", ("reservoir",), TEXT, "1", "name", True),
    Dataset("reservoirs/compartment", ("reservoir",), TEXT, "1", "compartment its cells belong to", True),
    Dataset("reservoirs/cells", ("reservoir",), TEXT, "1", "cells it is for", True),
    Dataset("reservoirs/below", ("reservoir",), "f8", "cell", "with fewer simulated cells the reservoir takes the class over", True),
    Dataset("reservoirs/above", ("reservoir",), "f8", "cell", "with more the compartment has it again", True),
    Dataset("reservoirs/is_member", ("reservoir", "species"), "u1", "1", "1: the species belongs to the class", True),
    Dataset("reservoirs/is_owner", ("replicate", "time", "reservoir"), "u1", "1", "1: the class is in the reservoir, 0: in the compartment", True),
    Dataset("reservoirs/events", ("replicate", "time", "channel"), "i8", "event", "events of the whole body in reservoirs since the previous record, by the channels of events", True),
    Dataset("held/<compartment>", ("replicate", "time", "species"), "i8", "cell", "cells of the whole body in reservoirs; none of them is among counts", True),
    Dataset("handed/<compartment>", ("replicate", "time", "species"), "i8", "cell", "simulated cells that reservoirs put into the compartment since the previous record, less those taken out", True),
    # snapshots: all agents of one replicate at one time, columns joined end to end
    Dataset("snapshots/frame_time", ("frame",), "f8", "h", "time of the snapshot"),
    Dataset("snapshots/frame_replicate", ("frame",), "i8", "1", "replicate of the snapshot"),
    Dataset("snapshots/frame_start", ("frame",), "i8", "1", "first row of the snapshot in every column"),
    Dataset("snapshots/frame_size", ("frame",), "i8", "1", "cells in the snapshot"),
    Dataset("snapshots/compartment", ("cell",), "u1", "1", "row of the compartments table"),
    Dataset("snapshots/patch", ("cell",), "u2", "1", "patch of the compartment"),
    Dataset("snapshots/species", ("cell",), "u2", "1", "row of the species table"),
    Dataset("snapshots/x", ("cell",), "u2", "site", "place along x; 0 in a mixed compartment"),
    Dataset("snapshots/y", ("cell",), "u2", "site", "place along y"),
    Dataset("snapshots/z", ("cell",), "u2", "site", "place along z"),
    Dataset("snapshots/counters_0", ("cell",), "u2", "1", "first counter of the cell's type"),
    Dataset("snapshots/counters_1", ("cell",), "u2", "1", "second counter of the cell's type"),
    Dataset("snapshots/counters_2", ("cell",), "u2", "1", "third counter of the cell's type"),
    Dataset("snapshots/counters_3", ("cell",), "u2", "1", "fourth counter of the cell's type"),
    Dataset("snapshots/id", ("cell",), "u8", "1", "number of the cell, unique in its replicate", True ),
    Dataset("snapshots/parent", ("cell",), "u8", "1", "number of the mother cell", True),
    Dataset("snapshots/birth_h", ("cell",), "f8", "h", "time of birth", True),
    Dataset("snapshots/clone", ("cell",), "i8", "1", "number of the founder", True),
    Dataset("snapshots/generation", ("cell",), "i4", "1", "divisions since the founder", True),
    Dataset("fields/<field>", ("frame", "patch_of_<field>", "z_of_<field>", "y_of_<field>", "x_of_<field>"), "f8", "<unit of the field>", "level of every block of every patch at the time of the snapshot; attribute compartment: where", True),
    # what was given to the patient
    Dataset("given/name", ("given",), TEXT, "1", "drug or infusion"),
    Dataset("given/start", ("given",), "f8", "h", "start"),
    Dataset("given/duration", ("given",), "f8", "h", "duration; 0 is a bolus"),
    Dataset("given/amount", ("given",), "f8", "<given/amount_unit>", "dose, or cells of the whole body"),
    Dataset("given/amount_unit", ("given",), TEXT, "1", "unit of the amount"),
    # what the clinic sees, filled in at the end of the run
    Dataset("clinic/endpoint", ("endpoint",), TEXT, "1", "name"),
    Dataset("clinic/unit", ("endpoint",), TEXT, "1", "unit of the value"),
    Dataset("clinic/description", ("endpoint",), TEXT, "1", "what the value means"),
    Dataset("clinic/categories", ("endpoint",), TEXT, "1", "what the values 0, 1 ... stand for, joined by |; empty: a quantity"),
    Dataset("clinic/is_reported", ("endpoint",), "u1", "1", "1: there is a value from what was reported"),
    Dataset("clinic/is_true", ("endpoint",), "u1", "1", "1: there is a true value; 0: what it follows from was never there in this run"),
    Dataset("clinic/value", ("replicate", "endpoint"), "f8", "<clinic/unit>", "from what was reported; not a number: not reached"),
    Dataset("clinic/true_value", ("replicate", "endpoint"), "f8", "<clinic/unit>", "the same from the truth"),
    Dataset("observed/sample_time", ("sample_time",), "f8", "h", "time of the blood or marrow sample"),
    Dataset("observed/<count>", ("replicate", "sample_time"), "f8", "<unit of the count>", "the truth in the units of a laboratory"),
    Dataset("reported/<count>", ("replicate", "sample_time"), "f8", "<unit of the count>", "what the laboratory reports of it, with the error of counting; 0: not detected; not a number: no sample on that day", True),
    # protocols that react: their rules, and what was decided by them, filled in at the end of the run
    Dataset("reactions/name", ("reaction",), TEXT, "1", "name of the rule", True),
    Dataset("reactions/when", ("reaction",), TEXT, "1", "what has to be seen, and when", True),
    Dataset("reactions/done", ("reaction",), TEXT, "1", "what is done then", True),
    Dataset("decisions/observable", ("observable",), TEXT, "1", "what the rules look at", True),
    Dataset("decisions/decision_time", ("decision",), "f8", "h", "when it was decided", True),
    Dataset("decisions/decision_replicate", ("decision",), "i8", "1", "number of the replicate it was decided for", True),
    Dataset("decisions/decision_reaction", ("decision",), "i8", "1", "row of the rules of reactions", True),
    Dataset("decisions/seen", ("decision", "observable"), "f8", "<unit of the count>", "latest report of everything the rules look at; not a number: none yet", True),
    # about the run itself
    Dataset("statistics/<name>", (), "f8", "1", "work of the engine up to the last committed record: attempts, executed; in tiled mode windows, tries_per_window (of the busiest cell, at most), window_error (estimated, relative)"),
    Dataset("wall_seconds", (), "f8", "s", "duration on the wall clock up to the last committed record"),
    Dataset("digest", (), "S64", "1", "fingerprint of the final state; empty before the end and for very many replicates"),
)
# fmt: on

ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("format", f"'{FORMAT}'"),
    ("format_version", f"{FORMAT_VERSION}; grows when a reader has to change"),
    ("name", "name of the scenario"),
    ("seed", "seed of all random numbers"),
    ("stream_rule", "how a random number follows from seed, replicate and place"),
    ("n_numbers", "numbers in the model that carry a source"),
    ("n_assumptions", "how many of them are assumptions"),
    ("command", "how the run was started"),
    ("mst_abm", "version of this package"),
    ("numpy", "version"),
    ("numba", "version"),
    ("scipy", "version; the bits of fields may hang on it"),
    ("h5py", "version, with that of HDF5"),
    ("python", "version"),
    ("git_commit", "commit of the source tree, empty if installed from a package"),
    ("build", "digest of the package's sources: equal builds give equal bits"),
    ("host", "name of the computer"),
    ("snapshot_replicates", "snapshots are taken of the first so many"),
    ("left_out", "numbers of replicates that were asked for and failed, empty if none did"),
    ("forked_from", "record and day this one was branched off from, empty if it was not"),
    ("threads", "threads the run was allowed"),
    (
        "engine",
        "cells, or mean-field: numbers of cells and events are then means, f4 instead of i8",
    ),
    ("mode", "exact or tiled; mean-field"),
    ("started", "date and time of the start, UTC"),
)

SNAPSHOT_COLUMNS = tuple(
    row for row in DATASETS if row.path.startswith("snapshots/") and row.dims == ("cell",)
)
IDENTITY_COLUMNS = tuple(row for row in SNAPSHOT_COLUMNS if row.is_optional)
DECISION_COLUMNS = ("decision_time", "decision_replicate", "decision_reaction")
BASE_COLUMNS = tuple(row for row in SNAPSHOT_COLUMNS if not row.is_optional)

_ROWS = {row.path: row for row in DATASETS}
_DIMENSIONS = {dim for row in DATASETS for dim in row.dims}
_COORDINATES = {row.dims[0]: row for row in DATASETS if row.dims == (row.path.rpartition("/")[2],)}


def row_of(path: str) -> Dataset:
    """The table row a dataset of a file belongs to; a KeyError means the file breaks the format."""
    if path in _ROWS:
        return _ROWS[path]
    group, _, name = path.partition("/")
    if name in _COORDINATES:
        return _COORDINATES[name]
    for row in DATASETS:
        if row.path.startswith(f"{group}/<"):
            return row
    raise KeyError(path)


def member_path(path: str) -> str:
    """Where a compartment, signal or axis goes: an underscore is added to a name that is taken."""
    if path in _ROWS:
        return path
    group, _, name = path.partition("/")
    name = name.replace("/", "_")
    while name in _COORDINATES or name in _DIMENSIONS or f"{group}/{name}" in _ROWS:
        name += "_"
    return f"{group}/{name}"


def markdown_table() -> str:
    """The table of datasets and the one of attributes, as in docs/file_format.md."""
    lines = ["| dataset | dimensions | type | unit | content |", "| --- | --- | --- | --- | --- |"]
    for row in DATASETS:
        dims = " x ".join(row.dims) or "scalar"
        optional = " (not in every file)" if row.is_optional else ""
        lines.append(
            f"| `{row.path}` | {dims} | {row.dtype} | {row.unit} | {row.description}{optional} |"
        )
    lines += ["", "| attribute of the root | content |", "| --- | --- |"]
    lines += [f"| `{name}` | {text} |" for name, text in ATTRIBUTES]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Given:
    """A dose or an infusion, as it was planned."""

    name: str
    start_h: float
    duration_h: float
    amount: float
    unit: str


@dataclass(frozen=True)
class ReactionRow:
    """A rule of a protocol that reacts, in English."""

    name: str
    when: str
    done: str


@dataclass(frozen=True)
class Decided:
    """One decision; ``replicate`` is its number, ``seen`` the reports by observable."""

    time_h: float
    replicate: int
    name: str
    when: str
    done: str
    seen: Mapping[str, float]


@dataclass(frozen=True)
class Endpoint:
    """A number the run will end with for every replicate; ``categories``: of 0, 1 ..., if it is no quantity."""

    name: str
    unit: str
    description: str = ""
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """Values in the units of a laboratory: (replicate, sample) of every name.

    ``values`` are the truth, ``reported`` what the laboratory makes of it.
    """

    time_h: np.ndarray
    values: Mapping[str, np.ndarray]
    reported: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class FieldBlocks:
    """Where a field is: ``shape`` are patches, then blocks of each along z, y, x."""

    unit: str
    compartment: str
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class Header:
    """Everything that is known when a run starts; names follow the tables above.

    ``species`` and ``channels`` and ``compartments`` are columns by name. ``species`` holds
    "species", "type", "is_static", "is_leukaemia" and one column per axis. ``reservoirs``: columns too, none without.
    ``signals``, ``observed`` and ``reported`` map names to units. ``stoichiometry`` has rows (channel, compartment,
    species, cells gained per event). ``has_means``: cells and events are mean numbers, float32. Nothing can be added to a file once a run writes to it, so every name is declared here.
    """

    name: str
    seed: int
    replicates: np.ndarray
    scenario_text: str
    model_text: str
    species: Mapping[str, np.ndarray]
    compartments: Mapping[str, np.ndarray]
    channels: Mapping[str, np.ndarray]
    signals: Mapping[str, str]
    stoichiometry: np.ndarray
    endpoints: tuple[Endpoint, ...] = ()
    observed: Mapping[str, str] = field(default_factory=dict)
    reported: Mapping[str, str] = field(default_factory=dict)
    statistics: tuple[str, ...] = ()
    given: tuple[Given, ...] = ()
    reactions: tuple[ReactionRow, ...] = ()
    looked_at: tuple[str, ...] = ()
    reservoirs: Mapping[str, np.ndarray] = field(default_factory=dict)
    fields: Mapping[str, FieldBlocks] = field(default_factory=dict)
    has_identity: bool = False
    has_handover: bool = False
    n_records_expected: int = 1
    snapshot_replicates: int = 1
    has_means: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)

    @property
    def n_species(self) -> int:
        """Number of species, the vacant site included."""
        return len(self.species["species"])

    @property
    def n_channels(self) -> int:
        """Number of kinds of event."""
        return len(self.channels["rule"])
