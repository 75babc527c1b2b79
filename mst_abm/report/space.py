"""Where cells are: which snapshots and slices are shown, and points for a view in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mst_abm.records.reader import Run, Snapshot

MOST_FRAMES = 6
MOST_VIEWS = 4
#: Points of one view: common types are thinned to about so many, those of few cells are shown whole.
MOST_POINTS = 6000
FEW = 300


@dataclass(frozen=True)
class Slice:
    """Types of the cells on one plane of a patch: int (x, y), 0 vacant; times in h, lengths in um."""

    compartment: str
    time_h: float
    patch: int
    plane: int
    planes: int
    spacing: float
    grid: np.ndarray


@dataclass(frozen=True)
class Points:
    """Cells of one type in one patch: places in um, (cell, 3); one of ``one_in`` is shown."""

    type: str
    places: np.ndarray
    one_in: int


def types_of(run: Run) -> list[str]:
    """Types in the order of a slice's numbers; the first stands for a vacant site."""
    return list(dict.fromkeys(map(str, run.species["type"])))


def frames_of(run: Run, most: int) -> list[int]:
    """Snapshots of the first replicate, the first, the last and evenly spaced ones between."""
    if not run.n_snapshots:
        return []
    mine = np.flatnonzero(run.frames["replicate"] == run.frames["replicate"][0])
    chosen = np.linspace(0, len(mine) - 1, min(most, len(mine))).round().astype(int)
    return [int(frame) for frame in mine[np.unique(chosen)]]


def lattices_of(run: Run) -> list[int]:
    """Rows of the compartments that are lattices."""
    return [i for i, kind in enumerate(run.compartments["kind"]) if kind == "lattice"]


def slice_of(run: Run, snapshot: Snapshot, row: int) -> Slice:
    """The middle plane of the first patch of a lattice."""
    shape = run.compartments["shape"][row]
    plane = int(shape[2]) // 2
    columns = snapshot.columns
    inside, patch = _first_patch(snapshot, row)
    chosen = inside & (columns["z"] == plane)
    grid = np.zeros((int(shape[0]), int(shape[1])), int)
    grid[columns["x"][chosen], columns["y"][chosen]] = _type_numbers(run)[
        columns["species"][chosen]
    ]
    return Slice(
        compartment=run.compartment_names[row],
        time_h=snapshot.time_h,
        patch=patch,
        plane=plane + 1,
        planes=int(shape[2]),
        spacing=float(run.compartments["spacing"][row]),
        grid=grid,
    )


def points_of(run: Run, snapshot: Snapshot, row: int, *, most: int = MOST_POINTS) -> list[Points]:
    """Cells of the first patch by type, anatomy among them; every so many-th of the common types.

    Cells stand in the order of the snapshot, so the same are shown each time.
    """
    inside, _ = _first_patch(snapshot, row)
    numbers = _type_numbers(run)[snapshot.columns["species"][inside]]
    spacing = float(run.compartments["spacing"][row])
    places = np.stack([snapshot.columns[a][inside] for a in "xyz"], axis=1) * spacing
    names = types_of(run)
    sizes = np.bincount(numbers, minlength=len(names))
    steps = _steps(sizes, most)
    return [
        Points(names[i], places[numbers == i][:: steps[i]], int(steps[i]))
        for i in range(1, len(names))
        if sizes[i]
    ]


def _steps(sizes: np.ndarray, most: int) -> np.ndarray:
    """One in how many cells of each type is shown: rare types whole, the others alike, so that they keep proportion."""
    is_common = sizes > FEW
    step = max(1, -(-int(sizes[is_common].sum()) // most))
    return np.where(is_common, step, 1)


def _first_patch(snapshot: Snapshot, row: int) -> tuple[np.ndarray, int]:
    columns = snapshot.columns
    inside = columns["compartment"] == row
    first = int(columns["patch"][inside].min(initial=np.iinfo(columns["patch"].dtype).max))
    return inside & (columns["patch"] == first), first


def _type_numbers(run: Run) -> np.ndarray:
    number = {name: i for i, name in enumerate(types_of(run))}
    return np.array([number[str(t)] for t in run.species["type"]])
