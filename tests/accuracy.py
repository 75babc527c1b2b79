"""What an approximate way of running a lattice may get wrong, as numbers with references from exact mode.

Each scenario is a function of the entries of the section ``run`` that choose the mode; it returns a
simulation run to its end. Each observable returns one value, or one row of values, per replicate. What is
off in an approximate mode is above all the clock of cells that move: some have had more time than others
when they meet. ``pace`` multiplies every rate and so feigns a clock that is wrong throughout; the tests
use it as negative control. `ACCURACY` names the pairs, with reference, its standard error, and what a mode
that claims to be nearly exact may be off by.

    from accuracy import ACCURACY
    case = ACCURACY["kills"]
    values = case.observable(case.scenario({"mode": ...}, seed=7, replicates=100))
    error = values.mean() / case.reference - 1

References were measured with seed 1 and ``replicates`` of the table (`python tests/accuracy.py` measures
them anew); other measurements take other seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from worlds import (
    TILE,
    Options,
    booked,
    box,
    column,
    lattice,
    pictures,
    placed,
    plain,
    positions,
    rule,
    shortest,
    stepped,
)

from mst_abm.runs.simulation import Simulation, simulate

SIDE = 64
SITES = SIDE**3
HOP = 30.0  # tries per hour: 0.5 a minute
TICK = 120.0
KILLERS = round(0.03 * SITES)


def cube(
    rules: list,
    cells: dict[str, int],
    *,
    until: float,
    run_options: Options,
    seed: int,
    replicates: int,
    identity: bool = False,
) -> Simulation:
    """A torus of 64 sites a side with cells at random, run to its end."""
    scenario = box(
        rules,
        lattice(SIDE, SIDE, SIDE),
        plain(*cells),
        until=until,
        run_options=run_options,
        identity=identity,
    )
    scenario = placed(scenario, *cells.items(), where="random")
    return simulate(scenario, seed=seed, replicates=replicates)


# scenarios


def killers(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """Killers (3 % of sites) that hop among static targets (40 %) and kill each neighbour at 0.5 /h; 6 h."""
    rules = [
        rule("move", "killer", HOP * pace),
        rule("contact", "killer + target -> killer + empty", 0.5 * pace),
    ]
    cells = {"killer": KILLERS, "target": round(0.4 * SITES)}
    return cube(rules, cells, until=6.0, run_options=run_options, seed=seed, replicates=replicates)


def moving_targets(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """As `killers`, with targets (20 %) that hop as fast, so that pairs meet and part across edges; 3 h."""
    rules = [
        rule("move", "killer", HOP * pace),
        rule("contact", "killer + target -> killer + empty", 0.5 * pace),
        rule("move", "target", HOP * pace),
    ]
    cells = {"killer": KILLERS, "target": round(0.2 * SITES)}
    return cube(rules, cells, until=3.0, run_options=run_options, seed=seed, replicates=replicates)


def walkers(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """Cells (3 %) that hop among static ones (30 %) and tick, which changes nothing, at 120 /h; 2 h.

    Identities are recorded.
    """
    rules = [
        rule("move", "walker", HOP * pace),
        rule("become", "walker -> walker", TICK * pace),
    ]
    cells = {"walker": KILLERS, "obstacle": round(0.3 * SITES)}
    return cube(
        rules,
        cells,
        until=2.0,
        run_options=run_options,
        seed=seed,
        replicates=replicates,
        identity=True,
    )


def population(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """Cells (30 %) that hop, divide by attempt at 0.5 /h and die at 1 /h; 4 h, a tenth are left."""
    rules = [
        rule("divide", "cell -> cell + cell", 0.5 * pace),
        rule("die", "cell", 1.0 * pace),
        rule("move", "cell", HOP * pace),
    ]
    cells = {"cell": round(0.3 * SITES)}
    return cube(rules, cells, until=4.0, run_options=run_options, seed=seed, replicates=replicates)


def turnover(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """Cells (30 %) that hop, divide by attempt at 2 /h and die at 1 /h, near their balance; 2 h."""
    rules = [
        rule("divide", "cell -> cell + cell", 2.0 * pace),
        rule("die", "cell", 1.0 * pace),
        rule("move", "cell", HOP * pace),
    ]
    cells = {"cell": round(0.3 * SITES)}
    return cube(rules, cells, until=2.0, run_options=run_options, seed=seed, replicates=replicates)


CROWD_SIDE = 32


def crowd(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """A torus of 32 sites a side, one half of it full, whose cells hop into vacancies; 8 h.

    The step stands at an edge of tiles of 16 sites, where neighbours who see each other at another time
    matter most.
    """
    side = CROWD_SIDE
    space = lattice(side, side, side, boundary="periodic")
    rules = [rule("move", "cell", HOP * pace)]
    scenario = box(rules, space, plain("cell"), until=8.0, run_options=run_options)
    scenario = stepped(scenario, ("cell", side**3 // 2))
    return simulate(scenario, seed=seed, replicates=replicates)


FRONT_WIDTH, FRONT_LENGTH, FRONT_START = 32, 256, 16


def front(
    run_options: Options, *, seed: int = 1, replicates: int = 1, pace: float = 1.0
) -> Simulation:
    """A strip of 32 by 256, its first 16 rows full; cells hop and divide by attempt at 2 /h; 16 h.

    Fisher's wave of crowded cells; 2 sqrt(7.5 x 2) = 7.7 rows an hour is the speed without noise.
    """
    rules = [
        rule("divide", "cell -> cell + cell", 2.0 * pace),
        rule("move", "cell", HOP * pace),
    ]
    space = lattice(FRONT_WIDTH, FRONT_LENGTH, boundary=["periodic", "no-flux"])
    scenario = box(rules, space, plain("cell"), until=16.0, run_options=run_options)
    scenario = stepped(scenario, ("cell", FRONT_START * FRONT_WIDTH))
    return simulate(scenario, seed=seed, replicates=replicates)


# observables


def kills(simulation: Simulation) -> np.ndarray:
    """Kills per killer, of `killers` and `moving_targets`."""
    return booked(simulation, 1) / column(simulation, "box", "killer")


def active_time(simulation: Simulation) -> np.ndarray:
    """Ticks of `walkers` over cells x rate x time: the time the average moving cell has had; exactly 1.

    Its variance is 1 / (cells x rate x time).
    """
    run, n = simulation.scenario.run, column(simulation, "box", "walker")
    return booked(simulation, 1) / (n * TICK * run.until_h)


def tried_time(simulation: Simulation) -> np.ndarray:
    """As `active_time`, from hops done, hops barred and ticks, for all replicates together; exactly 1.

    `Simulation.statistics` counts as attempts the candidate events that fall to a cell; a mode that counts
    otherwise is judged by `active_time` alone.
    """
    run, n = simulation.scenario.run, column(simulation, "box", "walker").sum()
    return np.array([simulation.statistics["attempts"] / (n * (HOP + TICK) * run.until_h)])


def displacement(simulation: Simulation) -> np.ndarray:
    """Mean square displacement of `walkers`, sites^2; places at the start are drawn anew."""
    start = Simulation(
        simulation.scenario,
        seed=simulation.seed,
        replicates=simulation.replicates,
        first_replicate=int(simulation.numbers[0]),
    )
    steps = positions(simulation, "walker") - positions(start, "walker")
    return (shortest(steps, (SIDE,) * 3) ** 2).sum(axis=2).mean(axis=1)


def survivors(simulation: Simulation) -> np.ndarray:
    """Cells of `population` left, as a share of those at the start."""
    return column(simulation, "box", "cell") / round(0.3 * SITES)


def contacts(simulation: Simulation) -> np.ndarray:
    """Pairs of adjacent sites with a killer and a target, per killer."""
    names = simulation.compiled.species_names
    seen = pictures(simulation)
    a, b = seen == names.index("killer"), seen == names.index("target")
    axes = tuple(range(1, seen.ndim))
    pairs = sum((a & np.roll(b, shift, axis)).sum(axis=axes) for axis in axes for shift in (1, -1))
    return pairs / column(simulation, "box", "killer")


def evenness(simulation: Simulation, tile: int = 0) -> np.ndarray:
    """Density by layer from the tile's edge, then by colour of the tile, over the mean density.

    ``tile``: side of the tiles; else the one of the run, or 16. Layers are those of the three axes
    together, edge first; colours are numbered x + 2 y + 4 z of the tile's parities. Exactly 1.
    """
    tile = tile or getattr(simulation.scenario.run, "tile", 0) or TILE
    taken = pictures(simulation) > 0
    inside = np.arange(SIDE) % tile
    layer = np.minimum(inside, tile - 1 - inside)
    parity = np.arange(SIDE) // tile % 2
    z, y, x = np.meshgrid(parity, parity, parity, indexing="ij")
    colour = (x + 2 * y + 4 * z).ravel()
    lines = sum(taken.mean(axis=axes) for axes in ((1, 2), (1, 3), (2, 3))) / 3.0
    layers = [lines[:, layer == k].mean(axis=1) for k in range((tile + 1) // 2)]
    flat = taken.reshape(len(taken), -1)
    colours = [flat[:, colour == k].mean(axis=1) for k in range(8) if np.any(colour == k)]
    return np.stack([*layers, *colours], axis=1) / flat.mean(axis=1)[:, None]


def spreading(simulation: Simulation) -> np.ndarray:
    """Rate at which the slowest wave of `crowd` decays, over that of free walkers; exactly 1.

    Cells that bar each other's way spread as free walkers do (symmetric exclusion), so that the wave
    sin(2 pi z / n) decays as exp(-2 (1 - cos(2 pi / n)) r t) with hops at r along an axis each way.
    """
    wave = np.sin(2.0 * np.pi * (np.arange(CROWD_SIDE) + 0.5) / CROWD_SIDE)
    fall = (
        2.0 * (1.0 - np.cos(2.0 * np.pi / CROWD_SIDE)) * HOP / 6.0 * simulation.scenario.run.until_h
    )
    expected = wave[: CROWD_SIDE // 2].sum() * np.exp(-fall)
    seen = (pictures(simulation) > 0).mean(axis=(2, 3)) @ wave
    return 1.0 - (seen / expected - 1.0) / fall


def advance_of_front(simulation: Simulation) -> np.ndarray:
    """Rows won by `front`: cells gained over the width."""
    return column(simulation, "box", "cell") / FRONT_WIDTH - FRONT_START


@dataclass(frozen=True)
class Accuracy:
    """An observable of a scenario, and what it is in exact mode.

    ``error``: standard error of the reference (0: known exactly); ``sd``: of one replicate, measured
    with it; ``replicates``: how many gave the reference. ``tolerance``: relative error allowed to a mode
    that is nearly exact at its default window; ``pace``: a clock wrong by so much must be found out.
    """

    scenario: Callable[..., Simulation]
    observable: Callable[..., np.ndarray]
    reference: float
    error: float
    sd: float
    replicates: int
    tolerance: float
    pace: float

    @property
    def needed(self) -> int:
        """Replicates at which 4.89 standard errors are the tolerance."""
        return int(np.ceil((4.89 * self.sd / (self.tolerance * self.reference)) ** 2))


ACCURACY = {
    "kills": Accuracy(killers, kills, 5.1127, 0.0017, 0.021, 150, 0.005, 0.02),
    "kills of moving targets": Accuracy(
        moving_targets, kills, 1.54562, 0.00072, 0.0124, 300, 0.005, 0.02
    ),
    "active time": Accuracy(walkers, active_time, 1.0, 0.0, 0.00073, 20, 0.001, 0.003),
    "displacement": Accuracy(walkers, displacement, 30.981, 0.014, 0.312, 500, 0.005, 0.02),
    "spreading": Accuracy(crowd, spreading, 1.0, 0.0, 0.018, 200, 0.005, 0.02),
    "survivors": Accuracy(population, survivors, 0.106438, 7.5e-5, 0.00168, 500, 0.005, 0.02),
    "contacts": Accuracy(killers, contacts, 1.29543, 0.00074, 0.0129, 300, 0.005, 0.05),
    "front": Accuracy(front, advance_of_front, 100.317, 0.12, 5.02, 1800, 0.01, 0.02),
}


def measure(
    case: Accuracy, run_options: Options, *, seed: int, replicates: int, pace: float = 1.0
) -> np.ndarray:
    """Values of all replicates, a few at a time to fit memory."""
    batch = 10
    return np.concatenate(
        [
            case.observable(
                case.scenario(
                    run_options, seed=seed + i, replicates=min(batch, replicates - i), pace=pace
                )
            )
            for i in range(0, replicates, batch)
        ]
    )


def main(words: list[str]) -> None:
    """Print references measured anew, or, with ``tile=``, ``window=``, what tiled mode gives.

    Other words are names of cases; ``replicates=`` sets another number of runs.
    """
    options: dict[str, object] = dict(word.split("=", 1) for word in words if "=" in word)
    replicates = int(str(options.pop("replicates", 0)))
    if options:
        options = {"mode": "tiled", **options}
    for name in [word for word in words if "=" not in word] or ACCURACY:
        case = ACCURACY[name]
        seed = 77 if options else 1
        values = measure(case, options, seed=seed, replicates=replicates or case.replicates)
        error = values.std(ddof=1) / np.sqrt(len(values))
        off = 100.0 * (values.mean() / case.reference - 1.0)
        spread = 100.0 * np.hypot(error, case.error) / case.reference
        print(
            f"{name}: {values.mean():.6g} +- {error:.2g}, sd {values.std(ddof=1):.3g}; "
            f"off by {off:+.3f} +- {spread:.3f} %",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
