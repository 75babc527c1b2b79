"""Which parameter sets agree with targets: judged with what a companion model leaves out, and screened ahead.

A set is accepted where no fitted target is surprising at 5 % divided by their number (Bonferroni), so that the true
set is accepted in 95 studies of 100 or more. Accepted sets drawn from a prior are the prior cut down to that region.
Source: history matching, Craig et al. 1997; discrepancy of a computer model, Kennedy and O'Hagan 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mst_abm.clinic.intervals import BOOTSTRAP_SEED, LEVEL
from mst_abm.clinic.targets import Comparison, Target, compare
from mst_abm.extras import needs

#: Middles of as many equally probable slices of a normal law.
SLICES = 5
#: Standard deviations that a screen allows its predictions.
WIDTH = 2.0
#: Sets that met a target, and sets that missed it, which a screen needs of each.
FEWEST = 5


@dataclass(frozen=True)
class Shift:
    """What cells show less what the companion shows: mean and standard deviation over sets, of ``n`` sets.

    On the scale of `placed`: logits of shares and chances, the target's unit otherwise.
    """

    mean: float = 0.0
    sd: float = 0.0
    n: int = 0

    @property
    def spread(self) -> float:
        """Standard deviation of the shift of a set that was not looked at."""
        return self.sd * float(np.sqrt(1.0 + 1.0 / self.n)) if self.n else 0.0


NO_SHIFT = Shift()


def placed(found: Comparison) -> float:
    """A simulated value on the scale on which shifts add, nan where there is none."""
    from scipy.special import logit

    if found.target.is_share:
        n = found.patients
        return float(logit((found.simulated * n + 0.5) / (n + 1.0)))
    return float(found.simulated) if np.isfinite(found.simulated) else np.nan


def shift_of(cells: np.ndarray, companion: np.ndarray) -> Shift:
    """The shift from float64 (set,) placed values of both; sets without a value are left out.

    Two sets at least say how much it differs between sets; of one it is taken as it is.
    """
    difference = (cells - companion)[np.isfinite(cells - companion)]
    n = len(difference)
    if not n:
        return NO_SHIFT
    sd = float(difference.std(ddof=1)) if n > 1 else 0.0
    return Shift(float(difference.mean()), sd, n)


def judge(target: Target, values: np.ndarray, shift: Shift = NO_SHIFT) -> Comparison:
    """A target beside simulated patients that are moved by a shift; the tail is the mean over its law.

    The tail of a mere range says how often the value lies in it or beyond, so it is 1 or 0 without a shift.
    """
    from scipy.stats import norm

    if not shift.n and target.of:
        return compare(target, values)
    shares = (np.arange(SLICES) + 0.5) / SLICES
    steps = shift.mean + shift.spread * norm.ppf(shares)
    found = [compare(target, _moved(target, values, float(step))) for step in steps]
    middle = found[SLICES // 2]
    if target.of:
        return replace(middle, tail=float(np.mean([item.tail for item in found])))
    at = np.array([item.simulated for item in found])
    sides = np.mean(at <= target.high), np.mean(at >= target.low)
    return replace(middle, tail=float(min(1.0, 2.0 * min(sides))))


def _moved(target: Target, values: np.ndarray, step: float) -> np.ndarray:
    """Patients' values after a step on the scale of `placed`."""
    if step == 0.0:
        return values
    from scipy.special import expit, logit

    if target.statistic == "chance":
        return np.asarray(expit(logit(np.clip(values, 1e-12, 1.0 - 1e-12)) + step))
    if target.statistic != "share":
        return values + step
    # a share of as many patients: those who reach it come first
    n = len(values)
    reached = round(compare(target, values).simulated * n)
    wanted = float(expit(logit((reached + 0.5) / (n + 1.0)) + step)) * (n + 1.0) - 0.5
    inside = target.above if target.above is not None else 0.0 if target.below is None else -np.inf
    return np.where(np.arange(n) < round(min(max(wanted, 0.0), n)), inside, np.nan)


def is_met(tail: float, fitted: int) -> bool:
    """Whether one of so many fitted targets is not surprising."""
    return tail >= (1.0 - LEVEL) / fitted


def is_accepted(tails: Sequence[float]) -> bool:
    """Whether no fitted target is surprising, all together at 5 %."""
    return all(is_met(tail, len(tails)) for tail in tails)


def screen(
    known: np.ndarray, rows: np.ndarray, met: np.ndarray, candidates: np.ndarray
) -> np.ndarray:
    """Which candidates may be accepted, bool (candidate,), by a Gaussian process of every fitted target.

    A candidate is left out where a target's prediction, two standard deviations either way, misses all values at which
    that target was met. Targets that too few sets met or missed leave nobody out.

    Parameters
    ----------
    known, candidates : float64 (set, number), shares of the priors
    rows : float64 (set, target), `placed` values, nan where there is none
    met : bool (set, target)

    Raises
    ------
    MissingPackageError
        If scikit-learn is not there.
    """
    process = needs("sklearn.gaussian_process", "calibration", "the screen of a calibration")
    kernels = needs("sklearn.gaussian_process.kernels", "calibration")
    import warnings

    may = np.ones(len(candidates), bool)
    for values, is_met in zip(rows.T, met.T, strict=True):
        there = np.isfinite(values)
        good = values[there & is_met]
        if len(good) < FEWEST or (~is_met).sum() < FEWEST or there.sum() <= known.shape[1]:
            continue
        # beyond the last value there is, nothing says that the target is missed
        low = good.min() if (values[there] < good.min()).any() else -np.inf
        high = good.max() if (values[there] > good.max()).any() else np.inf
        kernel = kernels.RBF(np.full(known.shape[1], 0.5), (0.05, 20.0)) + kernels.WhiteKernel(0.1)
        machine = process.GaussianProcessRegressor(
            kernel, normalize_y=True, random_state=BOOTSTRAP_SEED
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a number that tells nothing has a length at its bound
            machine.fit(known[there], values[there])
        mean, sd = machine.predict(candidates, return_std=True)
        may &= (mean + WIDTH * sd >= low) & (mean - WIDTH * sd <= high)
    return may


def shrinkage(accepted: np.ndarray) -> tuple[float, float, float]:
    """How much narrower a number became, 1 - variance of the accepted by that of the prior, and its 95 % interval.

    ``accepted``: float64 (set,), shares of the prior, whose variance is that of a uniform law. nan of fewer than 3.
    """
    from mst_abm.clinic.intervals import bootstrap_interval

    if len(accepted) < 3:
        return np.nan, np.nan, np.nan

    def narrower(values: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(1.0 - 12.0 * values.var(axis=axis, ddof=1))

    low, high = bootstrap_interval((accepted,), narrower)
    return float(narrower(accepted)), low, high
