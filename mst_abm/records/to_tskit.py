"""Who descends from whom as a tree sequence: samples are the cells of one snapshot, roots the founders of clones.

A branching of the tree is a division (or the release of a cell) at its own time, so the time at which two cells have
their last common ancestor is that of the division which parted them. What no snapshot has seen cannot be known: a mother
that was born and divided between two snapshots has no known mother, and its branch starts at the founder of its clone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK
from mst_abm.records.reader import Run
from mst_abm.records.tables import Words, cells_of

#: Kinds of nodes, in their metadata.
CELL, DIVISION, FOUNDER = "cell", "division", "founder"
_PERMISSIVE = {"codec": "json"}


@dataclass
class _Kin:
    """What the snapshots know of a cell; ``parent`` 0: it has none."""

    parent: int
    birth_h: float
    clone: int
    generation: int


@dataclass
class _Tree:
    """Cells that snapshots saw, and the times at which each mother had daughters."""

    kin: dict[int, _Kin]
    events: dict[int, set[float]] = field(default_factory=dict)

    def follow(self, cells: Iterable[int]) -> None:
        """Note the births of cells and of all their ancestors that are known."""
        for cell in cells:
            current = cell
            while current in self.kin and (kin := self.kin[current]).parent:
                times = self.events.setdefault(kin.parent, set())
                if kin.birth_h in times:
                    break  # its ancestors were noted with its sister
                times.add(kin.birth_h)
                current = kin.parent


def to_tskit(run: Run, frame: int = -1) -> Any:
    """The tree of the cells of a snapshot, -1 the last; times are hours before it.

    Raises
    ------
    RecordError
        If tskit is not installed, or the record does not say which cell is which.
    """
    tskit = needs("tskit", "export")
    if not run.has_identity:
        raise RecordError(
            f"{run.path}: does not say which cell is whose daughter; set run: identity: on in the scenario."
        )
    snapshot = run.snapshot(frame)
    ids = [int(i) for i in snapshot.columns["id"]]
    tree = _Tree(_kin_of(run, snapshot.replicate, snapshot.time_h))
    tree.follow(ids)
    tables = tskit.TableCollection(sequence_length=1.0)
    tables.time_units = "hours"
    tables.metadata_schema = tskit.MetadataSchema(_PERMISSIVE)
    tables.metadata = {
        "run": run.name,
        "seed": str(run.attributes["seed"]),
        "replicate": snapshot.replicate,
        "time_h": snapshot.time_h,
    }
    for table in (tables.nodes, tables.individuals, tables.populations):
        table.metadata_schema = tskit.MetadataSchema(_PERMISSIVE)
    samples = _add_samples(tskit, tables, run, frame, ids)
    _add_ancestors(tables, tree, samples, snapshot.time_h)
    note = {
        "schema_version": "1.0.0",
        "software": {"name": MARK, "version": run.attributes.get("mst_abm", "")},
    }
    note |= {"parameters": {"command": "export"}, "environment": {}}
    tables.provenances.add_row(json.dumps(note), timestamp=str(run.attributes.get("started", "")))
    tables.sort()
    return tables.tree_sequence()


def write_tskit(run: Run, path: Path, *, frame: int = -1) -> None:
    """The same into a .trees file."""
    found = to_tskit(run, frame)
    with written(path) as unfinished:
        found.dump(unfinished)


def _kin_of(run: Run, replicate: int, until_h: float) -> dict[int, _Kin]:
    """Every cell of a replicate that a snapshot up to a time has seen."""
    found: dict[int, _Kin] = {}
    frames = run.frames_of(replicate)
    for frame in frames[run.frames["time"][frames] <= until_h]:
        columns = run.snapshot(int(frame)).columns
        names = ("id", "parent", "birth_h", "clone", "generation")
        for id_, parent, birth, clone, generation in zip(
            *(columns[name].tolist() for name in names), strict=True
        ):
            found.setdefault(id_, _Kin(parent, birth, clone, generation))
    return found


def _add_samples(tskit: Any, tables: Any, run: Run, frame: int, ids: list[int]) -> dict[int, int]:
    """A node and an individual with its place for every cell of the snapshot; nodes by identity."""
    columns = cells_of(run, frame)
    words = {name: columns[name] for name in ("compartment", "species", "type")}
    assert all(isinstance(column, Words) for column in words.values())
    places = np.nan_to_num(np.stack([np.asarray(columns[f"{a}_um"]) for a in "xyz"], axis=1))
    clones = np.asarray(columns["clone"]).tolist()
    for name in words["type"].names:  # type: ignore[union-attr]
        tables.populations.add_row(metadata={"name": name, "description": "type of cell"})
    nodes: dict[int, int] = {}
    for i, id_ in enumerate(ids):
        texts = {n: c.names[c.codes[i]] for n, c in words.items()}  # type: ignore[union-attr]
        individual = tables.individuals.add_row(location=places[i], metadata={"id": id_, **texts})
        if id_ in nodes:
            raise RecordError(f"{run.path}: two cells of one snapshot have the identity {id_}.")
        nodes[id_] = tables.nodes.add_row(
            flags=tskit.NODE_IS_SAMPLE,
            time=0.0,
            individual=individual,
            population=int(words["type"].codes[i]),  # type: ignore[union-attr]
            metadata={"kind": CELL, "id": id_, "clone": clones[i]},
        )
    return nodes


def _add_ancestors(tables: Any, tree: _Tree, samples: dict[int, int], end_h: float) -> None:
    """Divisions, founders, and who hangs on whom."""
    divisions: dict[tuple[int, float], int] = {}
    tops: dict[int, int] = dict(samples)
    clones = _clones(tree)
    for mother, times in tree.events.items():
        below = samples.get(mother)
        for time_h in sorted(times, reverse=True):
            note: dict[str, Any] = {"kind": DIVISION, "id": mother, "clone": clones[mother][0]}
            if mother not in tree.kin and not clones[mother][1] and time_h == min(times):
                note["is_gap_above"] = True
            node = tables.nodes.add_row(time=end_h - time_h, metadata=note)
            divisions[mother, time_h] = node
            if below is not None:
                tables.edges.add_row(0.0, 1.0, node, below)
            below = node
        assert below is not None
        tops[mother] = below
    births = {kin.clone: kin.birth_h for kin in tree.kin.values() if not kin.parent}
    founders: dict[int, int] = {}
    for cell, node in tops.items():
        kin = tree.kin.get(cell)
        if kin is not None and kin.parent:
            tables.edges.add_row(0.0, 1.0, divisions[kin.parent, kin.birth_h], node)
        elif cell in tree.events:
            clone = kin.clone if kin is not None else clones[cell][0]
            if clone not in founders:
                founders[clone] = _add_founder(tables, clone, births.get(clone), end_h)
            tables.edges.add_row(0.0, 1.0, founders[clone], node)
        # a founder that is still there and has no daughters is a root itself


def _clones(tree: _Tree) -> dict[int, tuple[int, bool]]:
    """Clone of every mother, and whether she is its founder, as her daughters tell."""
    return {kin.parent: (kin.clone, kin.generation == 1) for kin in tree.kin.values() if kin.parent}


def _add_founder(tables: Any, clone: int, birth_h: float | None, end_h: float) -> int:
    """The start of a clone: when its founder came, or the start of the run if no snapshot saw it."""
    note = {"kind": FOUNDER, "clone": clone, "is_seen": birth_h is not None}
    return int(tables.nodes.add_row(time=end_h - (birth_h or 0.0), metadata=note))
