"""Sizes and thresholds of every statistical proof, in one place.

A test makes a false alarm with probability 1e-6 in all, whatever the number of its statistics, and misses
an error of ``error`` in one rate with probability 1e-3 at most. Hence, with ``delta`` the shift of the
most telling statistic in standard deviations of one replicate,

    n = ((z + 3.09) / delta)^2.

``delta`` is stated for the rate that is hardest to see, from the exact answer with that rate changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: |Z| that a right simulation exceeds with probability 1e-6 in all, by the number of statistics.
ONE, FOUR, FIFTY = 4.89, 5.16, 5.61
MISS = 3.09


def threshold(statistics: int) -> float:
    """|Z| allowed when a test looks at so many statistics."""
    return ONE if statistics <= 1 else FOUR if statistics <= 4 else FIFTY


@dataclass(frozen=True)
class Size:
    """How many replicates, and what they can see.

    ``ci``: replicates of a usual run, when the proper number takes too long there; the
    error of its negative control is then ``ci_error``.
    """

    statistics: int
    delta: float
    error: float = 0.02
    ci: int = 0
    ci_error: float = 0.0

    @property
    def z(self) -> float:
        return threshold(self.statistics)

    @property
    def n(self) -> int:
        return math.ceil(((self.z + MISS) / self.delta) ** 2)


POPULATION = {
    "birth-death": Size(2, 0.0485, ci=8_000, ci_error=0.04),  # death
    "critical": Size(3, 0.105),  # either
    "pure birth": Size(2, 0.0439),
    "immigration-death": Size(2, 0.086),  # death
    "batch immigration": Size(4, 0.056),  # death
    "scheduled reset": Size(3, 0.050),  # immigration
    "death counter": Size(2, 0.170),  # death
    "logistic": Size(3, 0.050, ci=12_000, ci_error=0.04),  # death
    "Luria-Delbruck": Size(4, 0.0158, ci=12_000, ci_error=0.15),
    "Moran": Size(1, 0.0489, ci=5_000, ci_error=0.05),
    "Erlang cycle": Size(2, 0.25),
    "drug kill": Size(2, 1.4),
    "conjugation": Size(4, 0.0152, ci=22_000, ci_error=0.08),  # release
}
LATTICE = {
    "complete graph": Size(6, 0.0225, ci=30_000, ci_error=0.05),  # death
    "free walk": Size(4, 0.0200, ci=40_000, ci_error=0.05),
    "Eden": Size(2, 0.0632),
    "contact process": Size(1, 1.0),
    "static effector": Size(2, 0.0305),
    "serial killer": Size(4, 0.0312),
}


@dataclass(frozen=True)
class Chains:
    """Models against their exact Markov chains, a family with one probability of a false alarm, 1e-6.

    Chernoff's bound on every statistic (`exact_statistics`), shared out evenly among the models and
    the statistics of each. ``error``: of one drawn rate in the control of each model. ``power``: mean over the
    models of the chance to see it, asserted from the exact laws before anything is run.
    """

    models: int
    n: int  # replicates of each
    error: float
    power: float
    family: float = 1e-6

    def limit(self, statistics: int) -> float:
        """Greatest n I allowed when a model has so many statistics (two-sided)."""
        return math.log(2.0 * statistics * self.models / self.family)


#: Models written by hand; the control is in the first rate, and seen in every one of them.
FIXED_CHAINS = Chains(17, 36_000, error=0.10, power=0.99)
#: Models drawn from the whole grammar. A quarter of the drawn rates leave all counts as they are, whatever the
#: error, so the mean power is below 1; ``power`` is three standard deviations of a fresh draw below its mean.
DRAWN_CHAINS = Chains(200, 100_000, error=0.50, power=0.65)
DRAWN_CHAINS_CI = Chains(10, 30_000, error=0.50, power=0.60)
CONDITIONS = {
    "uncorrelated": 2**20,  # pairs; |r| < 5.16 / sqrt(n) = 0.005
}
