"""Virtual patients: what differs between them, as distributions over numbers of a scenario.

A patient is a number. His draws hang on the seed of the cohort and that number alone, so the same
patient goes through every arm, in any order, on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mst_abm.errors import ModelError

#: Draws set aside for one patient: parameters may be added without moving those before them.
MOST_PARAMETERS = 256


@dataclass(frozen=True)
class Distribution:
    """Of one parameter over patients.

    ``kind``: "normal" (mean, sd), "lognormal" (median, sd_log: of the natural logarithm), "uniform"
    (low, high), "loguniform" (low, high) or "choice" (values, numbers or texts, with weights). ``low`` and ``high`` cut the first two off.
    """

    kind: str
    mean: float = 0.0
    sd: float = 0.0
    median: float = 1.0
    sd_log: float = 0.0
    low: float = -np.inf
    high: float = np.inf
    values: tuple[float | str, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether its values are texts."""
        return any(isinstance(value, str) for value in self.values)

    def quantile(self, share: float) -> float | str:
        """The value below which ``share`` of the patients lie."""
        if self.kind == "uniform":
            return self.low + share * (self.high - self.low)
        if self.kind == "loguniform":
            return float(self.low * (self.high / self.low) ** share)
        if self.kind == "choice":
            bounds = np.cumsum(self.weights) / np.sum(self.weights)
            return self.values[int(np.searchsorted(bounds[:-1], share, side="right"))]
        from scipy.stats import norm

        if self.kind == "normal":
            centre, spread = self.mean, self.sd
            low, high = self.low, self.high
        else:
            centre, spread = np.log(self.median), self.sd_log
            low = np.log(self.low) if self.low > 0.0 else -np.inf
            high = np.log(self.high)
        if spread == 0.0:
            value = float(centre)
        else:
            below, above = norm.cdf([(low - centre) / spread, (high - centre) / spread])
            value = float(centre + spread * norm.ppf(below + share * (above - below)))
        return value if self.kind == "normal" else float(np.exp(value))


@dataclass(frozen=True)
class Parameter:
    """Something that differs between patients.

    Attributes
    ----------
    name : what a table calls it
    distribution : over patients
    times : dotted names multiplied by the value to a power
    sets : dotted names set to the value, with the unit written behind it
    number_class, source : as for every number of a model
    adds_to : dotted names of lists that get the words of the value, a text, beside those of other parameters
    """

    name: str
    distribution: Distribution
    times: Mapping[str, float] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    number_class: str = "assumption"
    source: str = "assumption"
    adds_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cohort:
    """Distributions of patients, rank correlations between them, and the seed of all draws."""

    parameters: tuple[Parameter, ...]
    correlations: tuple[tuple[str, str, float], ...] = ()
    seed: int = 1

    def draw(self, patient: int) -> dict[str, float | str]:
        """The values of one patient by parameter."""
        from scipy.stats import norm

        n = len(self.parameters)
        bits = np.random.Philox(key=np.array([self.seed, patient], np.uint64))
        # 53 bits, centred: never 0 or 1
        shares = ((bits.random_raw(MOST_PARAMETERS)[:n] >> np.uint64(11)) + 0.5) * 2.0**-53
        if self.correlations:
            factor = self._factor()
            # those that follow no other keep their draws, to the bit
            follow = (factor != np.eye(n)).any(axis=1)
            shares[follow] = norm.cdf(factor[follow] @ norm.ppf(shares))
        return {
            p.name: p.distribution.quantile(float(share))
            for p, share in zip(self.parameters, shares, strict=True)
        }

    def overrides(self, patient: int) -> tuple[str, ...]:
        """What sets a patient apart, as texts for ``load_scenario``."""
        values = self.draw(patient)
        found = []
        lists: dict[str, list[str]] = {}
        for parameter in self.parameters:
            value = values[parameter.name]
            for name in parameter.adds_to:
                lists.setdefault(name, []).extend(str(value).split())
            if isinstance(value, str):
                continue
            found += [f"{name}={value!r} {unit}".strip() for name, unit in parameter.sets.items()]
            found += [f"{name}*={value**power!r}" for name, power in parameter.times.items()]
        found += [f"{name}={json.dumps(words)}" for name, words in lists.items()]
        return tuple(found)

    def _factor(self) -> np.ndarray:
        """Lower triangle whose product with independent normal draws has the correlations.

        Raises
        ------
        ModelError
            If no such draws exist.
        """
        places = {p.name: i for i, p in enumerate(self.parameters)}
        matrix = np.eye(len(places))
        for one, other, rho in self.correlations:
            matrix[places[one], places[other]] = matrix[places[other], places[one]] = rho
        try:
            return np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            raise ModelError(
                "cohort.correlated: these correlations contradict each other (no draws can have all "
                "of them); make them weaker."
            ) from None
