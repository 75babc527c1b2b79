"""What a clinician would read off: laboratory series from counts of cells, and endpoints from them.

Series are the model's observables (`mst_abm.model.definition.Observable`) read once a day. Endpoints
look for the names ``anc``, ``platelets``, ``marrow_blasts``, ``blast_cells``, ``donor_cells``,
``gvhd_exposure`` and ``cytokine_index``; a model that lacks one of them lacks the endpoints that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mst_abm.model.definition import Compartment, Observable, Pattern
from mst_abm.model.species import Species, matches

DAY_H = 24.0
NEVER = np.nan

# Definitions of the trials: first of 3 days with ANC >= 0.5e9/L; first of 7 days with platelets >= 20e9/L;
# complete remission: marrow blasts < 5 %, ANC >= 1e9/L, platelets >= 100e9/L.
ANC_RECOVERED, ANC_DAYS = 0.5, 3
PLATELETS_RECOVERED, PLATELET_DAYS = 20.0, 7
REMISSION_BLASTS, REMISSION_ANC, REMISSION_PLATELETS = 0.05, 1.0, 100.0
DONOR_LIMIT = 0.01
# Graft-versus-host disease: log10 cell-days of donor effectors in tissue at which half of the patients have it, and the standard
# deviation between patients. Mean-field fit to three strata of donor lymphocytes, Bar 2013, doi:10.1016/j.bbmt.2013.03.001.
GVHD_EXPOSURE, GVHD_SPREAD = 10.2, 0.56


@dataclass(frozen=True)
class EndpointRule:
    """An endpoint: the series it needs, and how it follows from them (one replicate a row)."""

    name: str
    unit: str
    description: str
    needs: tuple[str, ...]
    evaluate: Callable[[np.ndarray, Mapping[str, np.ndarray], float], np.ndarray]


class Laboratory:
    """Turns counts of simulated cells into observables.

    Parameters
    ----------
    observables : the model's
    species : in the order of the counts
    compartments : of the model
    signals : names of the model's, in the order of the levels
    """

    def __init__(
        self,
        observables: Sequence[Observable],
        species: Sequence[Species],
        compartments: Sequence[Compartment],
        signals: Sequence[str] = (),
    ) -> None:
        self._rows = []
        self._levels = []
        places = {c.name: c for c in compartments}

        def mask(pattern: Pattern) -> np.ndarray:
            return np.array([matches(pattern, s) for s in species])

        for item in observables:
            if item.count is None:
                self._levels.append((item.name, list(signals).index(item.signal), item.times))
                continue
            compartment = places[item.count.compartment]
            scale = item.times / item.count.relative_to / compartment.share
            if item.count.measure == "density":
                scale /= compartment.volume
            whole = None
            if item.share_of is not None:
                scale, whole = item.times, mask(item.share_of)
            self._rows.append((item.name, compartment.name, mask(item.count.pattern), whole, scale))

    def read(
        self, counts: Mapping[str, np.ndarray], levels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Observables now: float64 (replicate,) each.

        ``counts``: (replicate, species) of every compartment; ``levels``: (replicate, signal), for
        observables that are levels.
        """
        seen = {}
        for name, compartment, part, whole, scale in self._rows:
            cells = counts[compartment]
            value = cells[:, part].sum(axis=1).astype(float)
            if whole is not None:
                value /= np.maximum(cells[:, whole].sum(axis=1), 1)
            seen[name] = scale * value
        for name, place, times in self._levels:
            assert levels is not None
            seen[name] = times * levels[:, place]
        return seen


def first_run(is_met: np.ndarray, length: int) -> np.ndarray:
    """First column from which a condition holds ``length`` columns on end; -1 if none does."""
    n_rows, n = is_met.shape
    start = np.full(n_rows, -1)
    for column in range(n - length, -1, -1):
        window = is_met[:, column : column + length]
        start = np.where(window.all(axis=1), column, start)
    return start


def _recovery_day(
    times: np.ndarray, series: np.ndarray, level: float, days: int, end_h: float
) -> np.ndarray:
    """Days from the end of chemotherapy to lasting recovery; never if it did not fall, or not rise."""
    is_low = series < level
    fell = is_low.any(axis=1)
    first_low = is_low.argmax(axis=1)
    after = np.arange(series.shape[1]) > first_low[:, None]
    start = first_run((series >= level) & after, days)
    return np.where((start >= 0) & fell, (times[start] - end_h) / DAY_H, NEVER)


def _first_day(times: np.ndarray, is_met: np.ndarray) -> np.ndarray:
    return np.where(is_met.any(axis=1), times[is_met.argmax(axis=1)] / DAY_H, NEVER)


def _log_kill(times: np.ndarray, seen: Mapping[str, np.ndarray], end_h: float) -> np.ndarray:
    blasts = seen["blast_cells"]
    with np.errstate(divide="ignore", invalid="ignore"):
        # nothing left in the sample gives infinity: more than can be seen
        fall = np.log10(blasts[:, 0]) - np.log10(blasts.min(axis=1))
    return np.where(blasts[:, 0] > 0, fall, 0.0)


def _remission(times: np.ndarray, seen: Mapping[str, np.ndarray], end_h: float) -> np.ndarray:
    is_met = (
        (seen["marrow_blasts"] < REMISSION_BLASTS)
        & (seen["anc"] >= REMISSION_ANC)
        & (seen["platelets"] >= REMISSION_PLATELETS)
        & (times > end_h)
    )
    return _first_day(times, is_met)


def _below_limit(times: np.ndarray, seen: Mapping[str, np.ndarray], end_h: float) -> np.ndarray:
    share = seen["donor_cells"]
    peak = share.argmax(axis=1)
    after = np.arange(share.shape[1]) > peak[:, None]
    day = _first_day(times, (share < DONOR_LIMIT) & after)
    return np.where(share.max(axis=1) > 0, day, NEVER)


def _gvhd(times: np.ndarray, seen: Mapping[str, np.ndarray], end_h: float) -> np.ndarray:
    susceptibility = NormalDist(GVHD_EXPOSURE, GVHD_SPREAD)
    exposure = seen["gvhd_exposure"][:, -1]
    return np.array([susceptibility.cdf(np.log10(x)) if x > 0 else 0.0 for x in exposure])


ENDPOINTS: tuple[EndpointRule, ...] = (
    EndpointRule(
        "neutrophil_nadir", "1e9/L", "lowest daily count", ("anc",),
        lambda t, s, end: s["anc"].min(axis=1),
    ),
    EndpointRule(
        "days_anc_below_0.5", "d", "days with fewer than 0.5e9/L", ("anc",),
        lambda t, s, end: (s["anc"] < ANC_RECOVERED).sum(axis=1).astype(float),
    ),
    EndpointRule(
        "neutrophil_recovery", "d",
        "from the end of chemotherapy to the first of 3 days with at least 0.5e9/L", ("anc",),
        lambda t, s, end: _recovery_day(t, s["anc"], ANC_RECOVERED, ANC_DAYS, end),
    ),
    EndpointRule(
        "platelet_nadir", "1e9/L", "lowest daily count, no transfusions", ("platelets",),
        lambda t, s, end: s["platelets"].min(axis=1),
    ),
    EndpointRule(
        "platelet_recovery", "d",
        "from the end of chemotherapy to the first of 7 days with at least 20e9/L", ("platelets",),
        lambda t, s, end: _recovery_day(
            t, s["platelets"], PLATELETS_RECOVERED, PLATELET_DAYS, end
        ),
    ),
    EndpointRule(
        "leukaemia_log_kill", "log10", "largest fall in blasts from the start", ("blast_cells",),
        _log_kill,
    ),
    EndpointRule(
        "marrow_blasts_at_end", "1", "share of nucleated marrow cells", ("marrow_blasts",),
        lambda t, s, end: s["marrow_blasts"][:, -1],
    ),
    EndpointRule(
        "remission", "d",
        "first day with blasts < 5 %, neutrophils >= 1e9/L, platelets >= 100e9/L after chemotherapy",
        ("marrow_blasts", "anc", "platelets"), _remission,
    ),
    EndpointRule(
        "donor_cells_peak", "1", "highest donor share of blood leukocytes", ("donor_cells",),
        lambda t, s, end: s["donor_cells"].max(axis=1),
    ),
    EndpointRule(
        "donor_cells_below_1_percent", "d", "day on which donor cells are below 1 % again",
        ("donor_cells",), _below_limit,
    ),
    EndpointRule(
        "donor_cells_at_end", "1", "donor share of blood leukocytes", ("donor_cells",),
        lambda t, s, end: s["donor_cells"][:, -1],
    ),
    EndpointRule(
        "gvhd_exposure", "cell d", "donor effectors in host tissue times days, CD4 by a quarter",
        ("gvhd_exposure",), lambda t, s, end: s["gvhd_exposure"][:, -1],
    ),
    EndpointRule(
        "gvhd_probability", "1", "of graft-versus-host disease, from the exposure and not from the dose",
        ("gvhd_exposure",), _gvhd,
    ),
    EndpointRule(
        "cytokine_peak", "1", "highest daily level of inflammatory cytokines, as a multiple of that at rest",
        ("cytokine_index",), lambda t, s, end: s["cytokine_index"].max(axis=1),
    ),
)  # fmt: skip


def lacking(series: Mapping[str, np.ndarray]) -> set[str]:
    """Observables of which nothing was ever there, in no replicate: a dish has no neutrophils.

    What follows from them is not an endpoint of that run, not even "not reached".
    """
    return {name for name, values in series.items() if not np.any(values)}


def is_lacking(endpoint: str, absent: set[str]) -> bool:
    """Whether an endpoint follows from something that is ``absent``."""
    return any(rule.name == endpoint and absent.intersection(rule.needs) for rule in ENDPOINTS)


def endpoints_for(observables: Sequence[Observable]) -> tuple[EndpointRule, ...]:
    """The endpoints a model's observables allow."""
    names = {item.name for item in observables}
    return tuple(e for e in ENDPOINTS if names.issuperset(e.needs))
