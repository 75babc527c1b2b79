"""No direction, no tile edge, no colour of tiles and no parity of sites is preferred.

All lattices are tori whose sites are alike, so that every distribution is known by symmetry alone. A tile
is what the mode says, or of side 16. Each test is also given its own sample with one case in fifty moved
from one class to the next, and must then fail.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from thresholds import UNBIASED
from worlds import (
    MODES,
    TILE,
    Options,
    box,
    lattice,
    placed,
    plain,
    positions,
    rule,
    shortest,
    started,
)

pytestmark = pytest.mark.proof

HOP = 30.0  # tries per hour
BIAS = 0.02
BATCH_SITES = 2**22

Classes = dict[str, np.ndarray]


def batches(scenario, sites: int, n: int) -> Iterator:
    """Simulations of ``n`` replicates in all, few enough at a time to fit memory."""
    step = max(1, BATCH_SITES // sites)
    for first in range(0, n, step):
        yield started(scenario, min(step, n - first), first_replicate=first)


def by_site(places: np.ndarray, tile: int) -> Classes:
    """Class of each place (..., axes) by layer from the tile's edge, by colour and by parity."""
    axes = places.shape[-1]
    inside = places % tile
    layer = np.minimum(inside, tile - 1 - inside)
    colour = sum((places[..., a] // tile % 2) << a for a in range(axes))
    found = {f"layer, axis {a}": layer[..., a] for a in range(axes)}
    return found | {"colour": np.asarray(colour), "parity": places.sum(axis=-1) % 2}


def by_direction(steps: np.ndarray) -> np.ndarray:
    """Class of each displacement by its longest axis and sign; -1 where two are equally long."""
    size = np.abs(steps)
    longest = size.argmax(axis=-1)
    sign = np.take_along_axis(steps, longest[..., None], axis=-1)[..., 0] < 0
    tied = (size == size.max(axis=-1, keepdims=True)).sum(axis=-1) > 1
    return np.where(tied, -1, 2 * longest + sign)


def shares(kinds: np.ndarray, classes: int) -> np.ndarray:
    """Events of each class per replicate, as counts (replicate, class); class -1 is left out."""
    return np.stack([np.bincount(row[row >= 0], minlength=classes) for row in kinds])


def scores(counts: np.ndarray) -> np.ndarray:
    """Z of every class's share, all classes being equally likely, from the spread of replicates."""
    excess = counts - counts.sum(axis=1, keepdims=True) / counts.shape[1]
    return excess.mean(axis=0) / (excess.std(axis=0) / np.sqrt(len(counts)))


def tilted(counts: np.ndarray) -> np.ndarray:
    """The same sample with one in fifty of the first class in the second."""
    moved = np.random.default_rng(1).binomial(counts[:, 0], BIAS)
    result = counts.copy()
    result[:, 0] -= moved
    result[:, 1] += moved
    return result


def check_classes(what: str, size, counts: np.ndarray) -> None:
    """All classes alike, and the tilted sample caught."""
    found = scores(counts)
    assert np.abs(found).max() < size.z, (what, found)
    assert np.abs(scores(tilted(counts))).max() > size.z, f"{what}: a bias would not be seen"


def walks(n: int, options: Options, shape: tuple[int, ...], crowd: float, until: float):
    """Walkers in a crowd of their like: (final places, displacements), a batch after another."""
    sites = int(np.prod(shape))
    rules = [rule("move", "x", HOP)]
    scenario = box(
        rules, lattice(*shape), plain("x"), until=until, run_options=options, identity=True
    )
    scenario = placed(scenario, ("x", round(crowd * sites)), where="random")
    for sim in batches(scenario, sites, n):
        before = positions(sim, "x")
        sim.advance(until)
        after = positions(sim, "x")
        yield after[..., : len(shape)], shortest(after - before, shape)


def births(n: int, options: Options, shape: tuple[int, int]):
    """Cells that divide once, into one of eight neighbours: (mothers' places, daughters' steps).

    One line per replicate; a daughter that finds its site taken is no birth, whichever way it went.
    """
    sites = int(np.prod(shape))
    rules = [rule("divide", "a -> b + b", 6.0)]
    space = lattice(*shape, neighbours=8)
    scenario = box(rules, space, plain("a", "b"), until=0.25, run_options=options, identity=True)
    scenario = placed(scenario, ("a", round(0.2 * sites)), where="random")
    number = 2
    for sim in batches(scenario, sites, n):
        mothers = positions(sim, "a")  # in order of their identities 1, 2, ...
        sim.advance(0.25)
        assert sim.compiled.species_names[number] == "b"
        for r in range(sim.replicates):
            agents = sim.agents(r)
            is_born = agents["species"] == number
            parent = agents["parent"][is_born].astype(int)
            here = np.stack([agents[a][is_born] for a in "xy"], axis=1).astype(int)
            mother = mothers[r, parent - 1, :2]
            step = shortest(here - mother, shape)
            is_away = np.any(step != 0, axis=1)
            yield mother[is_away], step[is_away]


SHAPES = {"square": (64, 64), "cube": (32, 32, 32)}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SHAPES)
def test_directions_of_walks(name: str, mode: str) -> None:
    """After five tries each, cells lie in every direction alike."""
    size, shape = UNBIASED[f"walks, {name}"], SHAPES[name]
    counts = [
        shares(by_direction(steps), 2 * len(shape))
        for _, steps in walks(size.n, MODES[mode], shape, 0.3, 5.0 / HOP)
    ]
    check_classes("directions", size, np.concatenate(counts))


@pytest.mark.parametrize("mode", MODES)
def test_places_of_walkers(mode: str) -> None:
    """Where the cells of a half-full square are in the end, by layer, colour and parity."""
    size, options = UNBIASED["places"], MODES[mode]
    tile = options.get("tile", TILE)
    found: dict[str, list[np.ndarray]] = {}
    for places, _ in walks(size.n, options, SHAPES["square"], 0.5, 1.0):
        for what, kinds in by_site(places, tile).items():
            found.setdefault(what, []).append(shares(kinds, kinds.max() + 1))
    assert len(found) == 4
    for what, counts in found.items():
        check_classes(what, size, np.concatenate(counts))


@pytest.mark.parametrize("mode", MODES)
def test_births(mode: str) -> None:
    """Births by direction, and by the mother's layer, colour and parity."""
    size, options = UNBIASED["births"], MODES[mode]
    tile = options.get("tile", TILE)
    rows: dict[str, list[np.ndarray]] = {}
    for mother, step in births(size.n, options, SHAPES["square"]):
        ways = 3 * (step[:, 1] + 1) + step[:, 0] + 1
        rows.setdefault("direction", []).append(np.where(ways > 4, ways - 1, ways))
        for what, kinds in by_site(mother, tile).items():
            rows.setdefault(what, []).append(kinds)
    classes = {"direction": 8, "colour": 4, "parity": 2}
    assert len(rows) == 5
    for what, kinds in rows.items():
        counts = shares(kinds, classes.get(what, tile // 2))
        check_classes(what, size, counts)
