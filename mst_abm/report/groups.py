"""Which species a person wants to see as one line: type, split by what a cell keeps for life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.records.reader import Run

#: Enough to tell cells of the donor from the patient's.
MOST_GROUPS = 20


@dataclass(frozen=True)
class Group:
    """Species shown as one: their sum is int64 (replicate, time)."""

    type: str
    values: tuple[str, ...]
    counts: np.ndarray

    @property
    def label(self) -> str:
        """Type and, in front of it, what sets it apart: "donor cd8"."""
        return " ".join((*(v for v in self.values if v), self.type))


def lasting_axes(run: Run) -> list[str]:
    """Axes that no event changes (origin, clone), as opposed to states (phase, status)."""
    species = run.species
    row = {name: i for i, name in enumerate(species["species"])}
    changing: dict[str, None] = {}
    channels = run.channels
    for actor, partner, products in zip(
        channels["actor"], channels["partner"], channels["products"], strict=True
    ):
        before = [row[name] for name in (actor, partner) if name in row]
        for name in str(products).split(" + "):
            if name not in row:
                continue
            after = row[name]
            same = [i for i in before if species["type"][i] == species["type"][after]]
            for axis in run.axes:
                if same and all(species[axis][i] != species[axis][after] for i in same):
                    changing[axis] = None
    return [axis for axis in run.axes if axis not in changing]


def fatal_rules(run: Run) -> set[str]:
    """Rules whose events leave fewer cells than before, those of cells that move on left out."""
    channels, changes = run.channels, run.stoichiometry
    lost = np.zeros(len(channels["rule"]), "i8")
    is_cell = changes["species"] != 0
    np.add.at(lost, changes["channel"][is_cell], changes["cells"][is_cell])
    is_fatal = (lost < 0) & ~np.isin(channels["verb"], ("leave", "arrive", "move"))
    return set(map(str, channels["rule"][is_fatal]))


def groups_of(run: Run, *, most: int = MOST_GROUPS) -> dict[str, list[Group]]:
    """Cells of every compartment by type and by lasting axes, in the same way everywhere.

    Axes are taken in the order of the model as long as no compartment gets more than ``most``
    groups. Anatomy and what never occurs are left out. If a model has one type only, its first
    state that gives several groups splits it instead.
    """
    return groups_of_each([run], most=most)[0]


def groups_of_each(runs: Sequence[Run], *, most: int = MOST_GROUPS) -> list[dict[str, list[Group]]]:
    """The same of several runs of one model, split by the same axes in all of them."""
    names = runs[0].compartment_names
    axes = lasting_axes(runs[0])
    finest = [{name: _present(run, name, axes) for name in names} for run in runs]

    def sizes(kept: list[str]) -> list[int]:
        merged = [[_merged(tables[name], axes, kept) for tables in finest] for name in names]
        return [len({(g.type, g.values) for part in parts for g in part}) for parts in merged]

    chosen: list[str] = []
    for axis in axes:
        wanted = [a for a in axes if a in (*chosen, axis)]
        if max(sizes(wanted), default=0) <= most and sizes(wanted) != sizes(chosen):
            chosen = wanted
    if max(sizes(chosen), default=0) == 1:
        for axis in runs[0].axes:
            finer = [{name: _present(run, name, [axis]) for name in names} for run in runs]
            if 1 < max(len(part) for tables in finer for part in tables.values()) <= most:
                return finer
    return [{name: _merged(tables[name], axes, chosen) for name in names} for tables in finest]


def _present(run: Run, compartment: str, axes: list[str]) -> list[Group]:
    static = set(run.species["type"][run.species["is_static"].astype(bool)])
    return [
        Group(key[0], tuple(map(_word, axes, key[1:])), counts)
        for key, counts in run.counts_by(compartment, "type", *axes).items()
        if key[0] not in static and counts.any()
    ]


def _word(axis: str, value: str) -> str:
    """What a value is called: of yes, no and none the axis says more than the value."""
    return {"yes": axis, "no": "", "none": f"no {axis}"}.get(value, value)


def _merged(groups: list[Group], axes: list[str], kept: list[str]) -> list[Group]:
    """Groups that differ only in axes not kept become one."""
    places = [i for i, axis in enumerate(axes) if axis in kept]
    sums: dict[tuple[str, ...], np.ndarray] = {}
    for group in groups:
        key = (group.type, *(group.values[i] for i in places))
        sums[key] = sums[key] + group.counts if key in sums else group.counts
    return [Group(key[0], key[1:], counts) for key, counts in sums.items()]
