"""The state of a simulation as arrays by name, and back again, between exchange intervals.

No generator has a state: draws have addresses. So arrays, the number of the interval and what was decided are all. What is
made anew in every interval (outboxes, posts of tiles, readings of fields) stays out; what follows from the
scenario (tables, levels of drugs) is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.errors import RecordError

if TYPE_CHECKING:
    from mst_abm.runs.simulation import Simulation

#: Parts of the state, and of each the arrays that an interval makes for itself.
PARTS: dict[str, tuple[str, ...]] = {
    "lattice": ("sensed",),
    "mixed": (),
    "pool": (),
    "body": ("node_signals",),
}
#: Of the reservoirs: where probes stood, and scratch.
PASSING = ("patch", "site", "later", "hazard", "total", "fresh", "path")


def freeze(sim: Simulation) -> dict[str, np.ndarray]:
    """Arrays by name, not copied: write them before the simulation goes on."""
    found = dict(_arrays(sim))
    found |= {f"levels/{i}": levels for i, levels in enumerate(sim.state.levels)}
    found |= {f"courses/{name}": array for name, array in sim.courses.memory().items()}
    return found | {"edges": sim.edges_h}


def thaw(sim: Simulation, arrays: Mapping[str, np.ndarray], interval: int) -> None:
    """Put a simulation of the same tables where another stood after an interval.

    Changes: sim. Each array is asked for once, and let go once its content is taken over.

    Raises
    ------
    RecordError
        If an array is not there, or belongs to another number of sites, species or bodies; sim is then of no use.
    """
    fresh: dict[str, dict[str, np.ndarray]] = {}
    for name, old in _arrays(sim):
        _, part, member = name.split("/")
        fresh.setdefault(part, {})[member] = _taken(name, old, arrays)
    for part in PARTS:
        setattr(sim.state, part, getattr(sim.state, part)._replace(**fresh[part]))
    sim.state.levels = tuple(arrays[f"levels/{i}"] for i in range(len(sim.state.levels)))
    if sim.reservoirs:
        sim.reservoirs.held = sim.reservoirs.held._replace(**fresh["held"])
    sim.stand_at(interval, arrays["edges"])
    sim.courses.recall(under("courses/", arrays), sim.time_h)


def under(start: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}


def _taken(name: str, old: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array in place of the old one, or the old one with its content."""
    found = _typed(arrays[name], old.dtype) if name in arrays else None
    # tables that grow are as large as they became
    is_grown = name.startswith(("state/mixed", "state/pool"))
    if found is None or (found.ndim != old.ndim if is_grown else found.shape != old.shape):
        raise RecordError(f"expected '{name}' of the scenario's sizes, got another, or none")
    if found.shape != old.shape:
        return found
    old[...] = found
    return old


def _arrays(sim: Simulation) -> Iterator[tuple[str, np.ndarray]]:
    """Every array that is kept, with its name."""
    for part, passing in PARTS.items():
        yield from _members(f"state/{part}", getattr(sim.state, part), passing)
    if sim.reservoirs:
        yield from _members("state/held", sim.reservoirs.held, PASSING)


def _members(place: str, part: Any, passing: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    for member in part._fields:
        if member not in passing:
            yield f"{place}/{member}", getattr(part, member)


def _typed(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array as the kernels want it: records are kept as bytes."""
    packed = np.ascontiguousarray(array)
    if dtype.names is None or packed.dtype == dtype:
        return packed.astype(dtype, copy=False)
    if packed.shape[-1:] != (dtype.itemsize,):
        return packed  # of another build or model: its shape will not do
    return packed.view(dtype)[..., 0]
