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
#: What the statistics of a case are, for the report; others are numbered there.
STATISTICS = {
    "birth-death": ("mean", "variance"),
    "critical": ("mean", "variance", "extinct"),
    "pure birth": ("mean", "undivided"),
    "immigration-death": ("mean", "variance"),
    "batch immigration": ("mean, t = 5", "variance, t = 5", "mean, t = 50", "variance, t = 50"),
    "scheduled reset": ("mean before", "mean after", "variance after"),
    "death counter": ("mean", "mean of deaths"),
    "logistic": ("mean, t = 5", "mean, t = 10", "mean, t = 20"),
    "Luria-Delbruck": ("P(0)", "P(1)", "P(2)", "P(3)"),
    "Moran": ("taken over",),
    "Erlang 1": ("mean, t = 48", "mean, t = 96"),
    "Erlang 5": ("mean, t = 48", "mean, t = 96"),
    "Erlang 20": ("mean, t = 48", "mean, t = 96"),
    "drug kill": ("mean", "variance"),
    "conjugation": ("mean, t = 1", "mean, t = 5", "mean, t = 10", "mean, t = 20"),
    "complete graph": (
        "mean, t = 1", "extinct, t = 1", "mean, t = 2", "extinct, t = 2", "mean, t = 4",
        "extinct, t = 4",
    ),
    "free walk": ("square displacement", "drift in x", "drift in y", "product of x and y"),
    "Eden": ("mean", "variance"),
    "Eden vacant": ("mean",),
    "static effector": ("mean", "variance"),
    "serial killer": ("all dead, t = 4", "t = 8", "t = 12", "t = 16"),
}  # fmt: skip
#: Against another simulator: two samples, hence twice the number on each side. ``delta``: shift of the
#: mean by the rate equations with one rate changed, in standard deviations at the original size.
RIVALS = {
    "birth-death": Size(4, 0.155, error=0.05),  # death
    "predator-prey": Size(8, 0.21, error=0.05),  # death of hunters
    "conjugation": Size(8, 0.117, error=0.05),  # release
    "two compartments": Size(8, 0.087, error=0.05),  # death in the first
    "epidemic": Size(12, 0.085, error=0.05),  # death
    "outcomes": Size(12, 0.112, error=0.05),  # second contact
    "signalling": Size(4, 0.28, error=0.05),  # death
}
#: The same models SCALE times as large against rate equations: noise falls as its square root, the
#: error of the rate equations themselves is below 0.1 standard errors of the mean.
SCALE = 100.0
RIVALS_LARGE = Size(6, 0.085 * SCALE**0.5, error=0.05)
#: Probability of a battery's statistic at either end that fails; 70 of them.
BATTERY_P = 5e-9
#: Lattices of many tiles. ``ci`` = -1: only in `make verify`. Exclusion: 2 % in the rate moves the mode
#: by 0.02 x decay x mean; fixation: dP/dr; fronts: b t, or h t times density; coalescence: p (1 - p).
TRUTHS = {
    "exclusion, torus": Size(50, 0.37, ci=90, ci_error=0.05),  # slowest mode
    "exclusion, walls": Size(50, 0.37, ci=90, ci_error=0.05),
    "exclusion, cube": Size(50, 0.87, ci=-1),  # 1.2 is seen; n = 100, as the mode's sd is estimated
    "fixation of half": Size(1, 0.48),
    "fixation of one": Size(1, 0.0366, ci=1_000, ci_error=0.15),
    "front on a line": Size(4, 0.046, ci=3_000, ci_error=0.07),  # hop, coalescence
    "coalescence, square": Size(4, 0.47),  # either
    "coalescence, cube": Size(4, 0.80, ci=-1),
    "fronts agree": Size(1, 0.337, ci=45, ci_error=0.10),  # pace; sd of a front 4.2 %, twice
}
#: Crowded lattices.
CROWDED = {
    "one swaps": Size(4, 0.0200, ci=4_000, ci_error=0.15),  # sd of a square displacement = its mean
    "all swap": Size(3, 0.80),
    "swap": Size(4, 0.29, ci=220, ci_error=0.05),  # 245 cells in each of two samples
}
#: Tracers against Nakazato and Kitahara, who are exact to first order in c and in 1 - c; in between, 1 %
#: is taken for their word. With a standard error of 0.2 % at most a right run then stays within 2 %, and
#: an error of 5 % does not. Replicates: a lattice of all tracers has an sd of 5 % (square), 1.3 % (cube).
TRACER_TOLERANCE, TRACER_ERROR, TRACER_SE = 0.02, 0.05, 0.002
TRACERS = {"square": 640, "cube": 60}
#: Least share of the unhindered output that pushing keeps at any occupancy up to 0.9, and the largest that
#: dividing and hopping into vacancies reaches there. Output is known to 1.3 % (3,080 divisions a replicate).
PUSHED, JAMMED, CHAINS = 0.9, 0.2, 2
#: Classes that are alike by symmetry, of which the first loses 2 %. A share q of M cases per replicate has
#: delta = 0.02 sqrt(q M / (1 - q)), times 1 / sqrt(1 - c) in a crowd at rest.
UNBIASED = {
    "walks, square": Size(4, 0.31),  # M = 800 of 1,229, q = 1/4
    "walks, cube": Size(50, 0.67),  # M = 5,540 of 9,830, q = 1/6
    "places": Size(50, 0.47),  # M = 2,048, q = 1/8, c = 1/2
    "births": Size(50, 0.165),  # M = 536, q = 1/8
}
#: Fields. Walkers: 100 tries, bias 0.4, mean 24 sites up and sd 8.7 (eight neighbours), 20 and 7.1 (four). At rest: from
#: the law of detailed balance. Deaths: 800 cells in four columns of blocks with 0 to 0.75 deaths expected each.
FIELDS = {
    "drift": Size(2, 0.139, error=0.05),
    "at rest": Size(2, 0.124, error=0.15),
    "deaths": Size(3, 0.44, error=0.05),
}

#: Anti-leukaemia response: cells that respond to antigen without licence, a share p of all. An error of 25 % in p
#: has delta = 0.25 sqrt(p / (1 - p)).
RVT = {"gain": Size(1, 0.125, error=0.25)}
#: Arrest by interferon: a share p = 2 / (2 + 0.5) of blasts in two states; release 30 % faster makes it 2 / 2.65,
#: delta = (0.8 - 0.755) / 0.4.
IFNG = {"arrested": Size(1, 0.113, error=0.30)}
#: Suppression: cells woken in 12 h among 0.3 regulatory cells each, p = 0.309; a half-suppression ratio 20 % higher
#: makes it 0.331, delta = 0.0228 / 0.462.
TREG = {"woken": Size(1, 0.049, error=0.20)}

#: Clonogenic cells over 24 d from some 60: death 20 % faster leaves 42 % fewer, a replicate has an sd of 0.38 at most. Each
#: of the four potencies is looked at.
CLONOGENIC = {"growth": Size(4, 1.1, error=0.20)}

#: Exhaustion: of cells always in touch with antigen a share p = 1 - exp(-0.05 x 10) = 0.393 in ten days; a rate 20 %
#: higher makes it 0.451, delta = 0.058 / 0.489.
EXHAUSTION = {"engaged": Size(1, 0.118, error=0.20)}
#: Memory: 0.02632 of 0.52632 per day leave for it, p = 0.05; a share 25 % larger has delta = 0.25 sqrt(p / (1 - p)).
#: Recall of the donor's: 0.15 / 1.016 per day for two days, p = 0.256; a rate 25 % higher makes it 0.309, delta = 0.053 / 0.436.
MEMORY = {"formed": Size(1, 0.0574, error=0.25), "recalled": Size(1, 0.121, error=0.25)}


@dataclass(frozen=True)
class SecondGraft:
    """Days by which a second graft is rejected sooner than the first: 0.1 (0.2-0.8 with a slower search) in the
    mean-field study. Means of so many bodies, each with an sd of 0.35 d."""

    replicates: int
    least: float
    most: float


#: 0.8 d and three standard errors.
SECOND_GRAFT = SecondGraft(8, least=0.1, most=1.2)


@dataclass(frozen=True)
class Search:
    """Targets met a day by a killer, over their share of the cells of a marrow with such a share of its sites taken; 517
    in the mean-field study. 300 bodies, 1,600 kills: an sd of 2.5 %, fewer targets as they go 3 %."""

    replicates: int
    occupied: float
    a_day: float
    alike: float


SEARCH = Search(300, occupied=0.65, a_day=517.0, alike=0.15)
#: Kills of two kinds of targets beside each other, one seen half as well: p = 1/3 against 1/2, delta = 0.167 / 0.471. Kinds seen
#: a tenth and three tenths as well differ by 0.14 / 0.29.
VISIBLE = {"half": Size(1, 0.30, error=1.0)}
#: NK cells alive after ten days at 0.07 a day, p = 0.497; 0.084 a day leaves 0.432, delta = 0.065 / 0.5.
NK = {"alive": Size(1, 0.13, error=0.20)}

#: Counts that return earlier with help: 3.4 d (neutrophils), 1.25 d (platelets); a replicate's sd is 0.45 d, twice.
HELPED = Size(4, 1.96, ci=10)


@dataclass(frozen=True)
class Exposure:
    """Bounds on log10 of an exposure, cell-days; one replicate has an sd of 0.12.

    ``gain``: least rise without rejection; in the mean-field study two powers of ten in 60 days.
    """

    replicates: int
    lowest: float
    highest: float
    gain: float


#: 10^8.3 in the mean-field study.
GVHD = Exposure(4, lowest=8.0, highest=8.6, gain=1.0)


#: Events drawn among patients against their probability: 0.2, or 0.5 of an exposure. A rate 10 % higher makes it 0.218, delta = 0.0176 / 0.4;
#: an exposure 10 % higher 0.529, delta = 0.0295 / 0.5.
BEFALLEN = {"rate": Size(1, 0.044, error=0.10), "exposure": Size(1, 0.059, error=0.10)}


@dataclass(frozen=True)
class Release:
    """Release of cytokines: slope of log level over log dose, hours to its onset, and what counts as alike."""

    replicates: int
    least_slope: float
    greatest_slope: float
    earliest_h: int
    latest_h: int
    alike: float


#: Slope 1.4 in the mean-field study, 1.0 without amplifier; onset after 14 h, quartiles of patients not published. The mean of
#: four peaks has an sd of 5 %.
CYTOKINES = Release(4, 1.0, 1.6, earliest_h=10, latest_h=18, alike=0.25)


@dataclass(frozen=True)
class Shares:
    """Donor shares of stem-like cells and neutrophils after four weeks: at least, if tolerated; at most, if rejected.

    ``seen``: least share of neutrophils on the way, if rejected.
    """

    replicates: int
    lasting: float
    rejected: float
    seen: float


#: The graft holds about half of the stem-like cells, each of twelve bodies some forty; shares of a mean have an sd of 0.03. Rejected
#: ones are half gone on day 10, when the first neutrophils appear: a fifth of these at most are theirs.
DONOR_BLOOD = Shares(12, lasting=0.25, rejected=0.1, seen=0.1)


@dataclass(frozen=True)
class Stationary:
    """A healthy adult: greatest distance of a mean level from the start, and of its slope per year from none.

    ``world``: overrides; ``from_day``: levels are means from here on; ``fewest``: cells of a type at the start below
    which chance hides it.
    """

    replicates: int
    days: int
    from_day: int
    level: float
    slope: float
    fewest: int
    world: tuple[str, ...] = ()


#: A clone of one stem-like cell is 1,000 maturing cells: the mean of 20 days in 0.27 mm^3 has an sd of 10 % there, that of ten months
#: in 1.07 mm^3 of 1.3 %; stem-like cells 2 %. Slopes have an sd of 4 % per year.
HEALTHY_MONTH = Stationary(1, 30, 10, 0.3, 0.0, 150, ("override.compartments.marrow.patches=2",))
HEALTHY_YEAR = Stationary(2, 365, 60, 0.08, 0.15, 500)


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
#: Density by layer and colour of tiles: the sd of a replicate is 1 % at most, 0.5 % in a layer, so that the
#: 1 % of the claim (half of ``error``) is 8 standard errors and more.
EVENNESS = Size(50, 1.1)
#: T cells activated in a day under a calcineurin inhibitor, of 4,000: 415 expected, sd 19.3; with a factor 45 % too large 583.
DRUGS = {"activation": Size(1, 8.7, error=0.45)}
#: Variance of a laboratory's counts; sd of a squared standard score is sqrt(2).
OBSERVATION = {"counting error": Size(4, 0.141, error=0.2)}
CONDITIONS = {
    "uncorrelated": 2**20,  # pairs; |r| < 5.16 / sqrt(n) = 0.005
}

#: Reservoirs. ``law``: mean of birth and death from five cells, sd 1.35 of the mean 3.35 (sqrt(variance) 4.7): 6 % of the death
#: rate is 14 % of the mean, delta = 0.48 / 4.7. ``large``: two samples of some twenty cells that halve, relative sd 0.4; deaths
#: 10 % faster lower the mean by a fifth. ``probes``: seven means over 20,000 probes. ``jump``: what handing over adds,
#: sd a simulated cell, a tenth of one. ``seed``: a share of what a reservoir sends out.
RESERVOIRS = {
    "law": Size(3, 0.102, error=0.06),
    "large": Size(4, 0.42, error=0.10),
    "probes": Size(50, 1.0),
    "jump": Size(1, 0.5),
    "seed": Size(4, 0.5),
}

#: Null trials: two arms of so many patients each with one hazard, p held against the uniform law (Kolmogorov and Smirnov).
#: A hazard ratio of 1.5 shifts the root of the statistic by more than one standard deviation, which 100 trials see for certain.
NULL_TRIALS = {"patients": 30, "trials": 400, "simulated": 100, "alarm": 1e-6, "ratio": 1.5}

#: Quiet stretches: cells of the body after two days that grow fivefold, of replicates with and without them; sd 0.14 of the
#: mean, delta 5 % of it. Signals that stand still for a day make a quarter more.
QUIET = {"cells": Size(1, 0.33)}
#: Variance saved by pairs: log of a ratio of two variances from n pairs has a standard error of 2 / sqrt(n); five of them.
PAIRS = {"rho": 0.8, "n": 2000, "log": 0.224}
#: Patients foretold from a pilot: half-widths of a mean scatter with the standard deviation of the pilot, for an exponential law
#: by sqrt(2 / pilot) relatively: 7 %, and three of them are allowed; half as many patients are off by log sqrt(2) = 0.35.
#: Coverage 95 %, standard error 1.5 %, and the percentile bootstrap lacks a little.
PRECISION = {"pilot": 400, "half": 0.2, "times": 200, "log": 0.21, "coverage": 0.90}

#: Rate equations against the mean of cells: models drawn, how many times larger than drawn, replicates; what the
#: finite number of cells may do, relative to all of a kind; and the factor on one rate that must be seen.
MEAN_FIELD_MODELS, MEAN_FIELD_TIMES, MEAN_FIELD_REPLICATES = 40, 3_000, 16
MEAN_FIELD_FINITE, MEAN_FIELD_ERROR = 0.003, 1.25

#: Sobol indices of the function of Ishigami from so many base points: six statistics, intervals of SALib widened from 1.96 to
#: ``z`` standard errors. With ``other_a`` instead of 7 the second parameter explains 0.13 instead of 0.44; standard error 0.03.
SWEEP = {"size": 1024, "z": FIFTY, "other_a": 3.0}
