"""Laws computed by hand, not from compiled tables: mutual pairs, landing sites, rounded hand-overs.

The exact solver and the slow twin read the same tables as the engine; a fault of the compiler would
cancel there. Here the expected numbers come from the rule as written.
"""

from __future__ import annotations

import numpy as np
import proof
import pytest
from scipy.linalg import expm
from scipy.stats import chi2
from worlds import lattice, mixed, rule, seed_of, world

from mst_abm.runs.simulation import Simulation, simulate

pytestmark = pytest.mark.proof

N = 20_000
LIMIT = 4.89  # two-sided 1e-6 for one statistic


def run(scenario, n: int, *, seed: int) -> Simulation:
    return simulate(scenario, replicates=n, seed=seed_of(seed))


def z(values: np.ndarray, mean: float) -> float:
    return float((values.mean() - mean) / (values.std(ddof=1) / np.sqrt(len(values))))


def pair_survival(rate: float, seed: int = 1) -> np.ndarray:
    """Two cells of one type on a torus where all sites touch: they annihilate at ``rate``."""
    rules = [rule("contact", "a + a -> empty + empty", 0.5)]
    space = lattice(3, 3, 3, neighbours=26)
    scenario = world(rules, {"box": space}, {"box": {"a": 2}}, types={"a": {}}, until=1.5)
    counts = run(scenario, N, seed=seed).counts["box"]
    return (counts[:, 1:].sum(axis=1) == 2).astype(float)


def test_a_pair_of_equals_meets_at_the_rate_of_the_rule_not_at_twice_that():
    alive = pair_survival(0.5)
    proof.holds("pair of equals", [z(alive, np.exp(-0.5 * 1.5))], LIMIT, N, ["alive"])
    # negative control: both cells acting at the full rate
    doubled = [z(alive, np.exp(-2 * 0.5 * 1.5))]
    proof.is_caught("pair of equals", "rate doubled", doubled, 2 * LIMIT, N)


def annihilation_mean(k: float, start: int, t: float) -> float:
    """Mean of 2A -> 0 at k n(n-1)/2 from its chain."""
    n = np.arange(start % 2, start + 1, 2)
    flow = k * n * (n - 1) / 2.0
    chain = np.diag(-flow) + np.diag(flow[1:], -1)
    return float(n @ expm(chain * t)[-1])


def test_mass_action_annihilation_follows_its_chain():
    rules = [rule("contact", "a + a -> empty + empty", 0.1)]
    space = mixed(neighbours=6, room=100.0)
    scenario = world(rules, {"pot": space}, {"pot": {"a": 40}}, types={"a": {}}, until=5.0)
    left = run(scenario, N, seed=2).counts["pot"][:, 1:].sum(axis=1)
    # neighbours x rate / room for every pair
    right, wrong = (annihilation_mean(f * 6 * 0.1 / 100.0, 40, 5.0) for f in (1.0, 1.05))
    proof.holds("annihilation", [z(left, right)], LIMIT, N, ["mean"])
    proof.is_caught("annihilation", "rate +5%", [z(left, wrong)], LIMIT, N)


def landing(occupied: int, seed: int) -> np.ndarray:
    """How often each vacant site next to a wall cell was taken by the first cell to land."""
    types = {"a": {}, "filler": {}, "wall": {"static": True}}
    rules = [
        rule("leave", "a -> box", 50.0, on="pot"),
        rule("arrive", "a", 0.2, on="box", at={"next_to": "wall"}),
    ]
    spaces = {"box": lattice(7, 7), "pot": mixed(room=1000.0)}
    initial = {
        "box": [
            {"cells": "wall", "number": 1, "place": "centre"},
            {"cells": "filler", "number": occupied},
        ],
        "pot": {"a": 1},
    }
    scenario = world(rules, spaces, initial, types=types, until=30.0)
    simulation = run(scenario, 4000, seed=seed)
    names = [s.type for s in simulation.compiled.species]
    hits = np.zeros(49, int)
    for grid in simulation.state.lattice.species:
        places = np.nonzero(grid == names.index("a"))[0]
        hits[places] += 1
    return hits.reshape(7, 7)


def test_cells_land_on_allowed_sites_only_and_on_each_as_often():
    for occupied, seed in ((0, 3), (40, 4)):  # empty, and as full as a lattice may start
        hits = landing(occupied, seed)
        allowed = np.zeros((7, 7), bool)
        for y, x in ((2, 3), (4, 3), (3, 2), (3, 4)):
            allowed[y, x] = True
        assert hits[~allowed].sum() == 0
        seen = hits[allowed]
        assert seen.sum() > 500
        statistic = float(((seen - seen.mean()) ** 2 / seen.mean()).sum())
        assert chi2.sf(statistic, 3) > 1e-6
        # negative control: a site favoured by half would be seen in the larger sample
        if occupied == 0:
            skewed = seen * np.array([1.5, 1.0, 1.0, 1.0])
            statistic = float(((skewed - skewed.mean()) ** 2 / skewed.mean()).sum())
            assert chi2.sf(statistic, 3) < 1e-6


def test_a_hand_over_between_shares_keeps_the_mean():
    for share, expected in ((0.3, 0.3), (2.5, 2.5)):
        rules = [rule("leave", "a -> there", 100.0, on="here")]
        spaces = {
            "here": mixed(room=100.0, share=1e-3),
            "there": mixed(room=100.0, share=share * 1e-3),
        }
        scenario = world(rules, spaces, {"here": {"a": 20}}, types={"a": {}}, until=1.0)
        got = run(scenario, N, seed=5).counts["there"][:, 1:].sum(axis=1)
        fraction = expected - np.floor(expected)
        case = f"hand-over of {share}"
        proof.holds(case, [z(got, 20 * expected)], LIMIT, N, ["mean"])
        variance = 20 * fraction * (1 - fraction)
        assert abs(got.var() / variance - 1.0) < LIMIT * np.sqrt(2.0 / N) * 1.2
        rounded = [z(got, 20 * np.round(expected))]
        proof.is_caught(case, "copies rounded alike", rounded, LIMIT, N)
