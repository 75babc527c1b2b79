"""Small models with fields, and what plain arithmetic says about them."""

from __future__ import annotations

from typing import Any

import numpy as np
from twin import Twin
from worlds import NO_OPTIONS, Options, mixed, plain, rule, world

from mst_abm.runs.simulation import Simulation
from mst_abm.scenario.definition import Scenario

SITE = 8.0  # um


def field(block: int | None = None, diffusion: str = "0 um^2/s", **more: Any) -> dict[str, Any]:
    """One entry of ``fields``, in "box"."""
    written: dict[str, Any] = {"in": "box", "diffusion": diffusion, "source": "test", **more}
    return written | ({"block": block} if block else {})


def made(of: str, rate: float) -> dict[str, Any]:
    """An item of ``yields``: ``rate`` levels an hour where every site of a block holds such a cell."""
    return {"of": of, "rate": f"{rate!r} /h", "relative_to": f"{SITE**-3!r} /um^3"}


def biased(strength: float, half: float = 0.05, name: str = "scent") -> dict[str, Any]:
    return {"biased_by": {"field": name, "strength": strength, "half": f"{half!r} /um"}}


def busy_field(
    space: dict[str, Any], *, until: float, run_options: Options = NO_OPTIONS
) -> Scenario:
    """Cells that make two fields, follow and flee them, and live by them; all verbs that may read one."""
    near_scent = {
        "field": "scent",
        "shape": {"hill": {"half": 0.4, "top": 2.0, "bottom": 0.2, "power": 1.5}},
    }
    smoke = {"field": "smoke", "shape": {"inverse_hill": {"half": 0.3}}}
    crowd = {"near": "prey", "within": 1, "shape": {"linear": {"intercept": 0.5, "slope": 0.1}}}
    rules = [
        rule("divide", "prey -> prey + prey", 0.5, place="vacant", on="box", modifiers=[smoke]),
        rule("die", "prey", 0.2, on="box", modifiers=[crowd, near_scent]),
        rule("move", "killer", 6.0, modifiers=[smoke], **biased(0.9)),
        rule("move", "prey", 2.0, swap_with=["killer"], **biased(-0.7, 0.01, "smoke")),
        rule("contact", "killer + prey -> killer + empty", 0.4, on="box", modifiers=[near_scent]),
        rule("become", "killer -> tired", 1.0, on="box", modifiers=[near_scent]),
        rule("become", "tired -> killer", 0.5, on="box", modifiers=[smoke, near_scent]),
        rule("leave", "tired -> blood", 0.5, on="box", modifiers=[smoke]),
        rule("leave", "tired -> box", 2.0, on="blood"),
        rule("arrive", "tired", 3.0, on="box", modifiers=[near_scent]),
    ]
    fields = {
        "scent": field(2, "0.02 um^2/s", decay="0.8 /h", initial=0.1, yields=[made("prey", 2.0)]),
        "smoke": field(
            diffusion="0.05 um^2/s", production="0.1 /h",
            yields=[made("killer", 1.0), made("tired", 3.0)],
        ),
    }  # fmt: skip
    sites = int(np.prod(space["lattice"]["shape"])) * space.get("patches", 1)
    return world(
        rules,
        {"box": space, "blood": mixed(room=100.0)},
        {"box": {"prey": sites // 5, "killer": sites // 10}},
        types=plain("prey", "killer", "tired"),
        until=until,
        exchange=0.5,
        run_options=run_options,
        fields=fields,
    )


def followed(sim: Simulation, r: int) -> Twin:
    """Run a simulation to its end and the twin of replicate r beside it, interval by interval.

    The twin is given what its engine's cells read; whether that is right is another test's matter.
    """
    twin = Twin(
        Simulation(sim.scenario, seed=sim.seed, replicates=1, first_replicate=int(sim.numbers[r]))
    )
    for begin, end in zip(sim._edges[:-1], sim._edges[1:], strict=True):
        sim.advance(float(end))
        twin.sensed = sim.state.lattice.sensed[r].tolist()
        twin.interval(float(begin), float(end), [])
    return twin


def cells_by_block(sim: Simulation, r: int, kind: str, block: int) -> np.ndarray:
    """Cells of a type in every block (patch, z, y, x), from the list of agents."""
    space = sim.scenario.model.compartments[0]
    sides = [n // block for n in space.shape[::-1]]
    shape = (space.patches, *[1] * (3 - len(sides)), *sides)
    agents = sim.agents(r)
    mine = agents["species"] == sim.compiled.species_names.index(kind)
    mine &= agents["compartment"] == 0
    found = np.zeros(shape)
    places = [agents["patch"][mine], *(agents[axis][mine] // block for axis in "zyx")]
    np.add.at(found, tuple(places), 1.0)
    return found


def dense_laplacian(shape: tuple[int, ...], rings: tuple[bool, ...], width: float) -> np.ndarray:
    """The discrete Laplacian as a matrix, neighbour by neighbour."""
    n = int(np.prod(shape))
    matrix = np.zeros((n, n))
    for here, place in enumerate(np.ndindex(shape)):
        for axis, (side, ring) in enumerate(zip(shape, rings, strict=True)):
            for step in (-1, 1):
                there = list(place)
                there[axis] += step
                if not ring and not 0 <= there[axis] < side:
                    continue
                there[axis] %= side
                matrix[here, np.ravel_multi_index(there, shape)] += width**-2
                matrix[here, here] -= width**-2
    return matrix


def stationary(bias: np.ndarray) -> np.ndarray:
    """Where a lone walker on a line between walls is found, by detailed balance.

    From site i it steps up at a rate of 1 + bias[i], down at 1 - bias[i].
    """
    weight = np.ones(len(bias))
    for i in range(len(bias) - 1):
        weight[i + 1] = weight[i] * (1.0 + bias[i]) / (1.0 - bias[i + 1])
    return weight / weight.sum()
