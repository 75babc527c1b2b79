"""The records of one arm of a trial read together: what endpoints are, donor cells day by day, leukaemia lost by rule."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mst_abm.clinic.arms import Endpoint
from mst_abm.records.reader import Run, open_run


@dataclass(frozen=True)
class ArmRecords:
    """What figures of an arm are drawn from.

    Attributes
    ----------
    endpoints : what the columns are, those of the truth with ``true_`` in front
    days : float64 (sample,)
    donor_share : float64 (patient, sample), true share of donor leukocytes in blood, nan after death; empty without donor cells
    lost : float64 (patient,) by rule: leukaemia cells lost to it, as a share of all that the patient lost
    """

    endpoints: tuple[Endpoint, ...]
    days: np.ndarray
    donor_share: np.ndarray
    lost: dict[str, np.ndarray]


def read_arm(paths: Sequence[str | os.PathLike[str]]) -> ArmRecords:
    """Read the records of the patients of an arm, in their order."""
    endpoints: dict[str, Endpoint] = {}
    days, shares, lost = np.zeros(0), [], []
    for path in paths:
        with open_run(path) as run:
            endpoints |= {item.name: item for item in endpoints_of(run)}
            times, share = _donor_share(run)
            days = times if len(times) > len(days) else days
            shares.append(share)
            lost.append(_lost(run))
    rules = sorted({rule for one in lost for rule in one})
    return ArmRecords(
        tuple(endpoints.values()),
        days,
        _padded(shares, len(days)),
        {rule: np.array([one.get(rule, 0.0) for one in lost]) for rule in rules},
    )


def endpoints_of(run: Run) -> list[Endpoint]:
    """What the columns of endpoints of a record are, reported and true."""
    table = run.endpoint_table
    found = []
    for name, unit, words in zip(
        table["endpoint"], table["unit"], table["categories"], strict=True
    ):
        categories = tuple(str(words).split("|")) if str(words) else ()
        found += [Endpoint(str(name), str(unit), categories)]
        found += [Endpoint(f"true_{name}", str(unit), categories)]
    return found


def _donor_share(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Days, and the share (sample,) up to death; empty where the arm knows no donor cells."""
    if not len(run.observed_times_h) or "donor_cells" not in run.observed:
        return np.zeros(0), np.zeros(0)
    days = run.observed_times_h / 24.0
    share = run.observed["donor_cells"][0]
    ends = run.true_endpoints
    if "os_event" in ends and ends["os_event"][0] > 0:
        share = np.where(days > ends["os_time"][0], np.nan, share)
    return days, share


def _lost(run: Run) -> dict[str, float]:
    cells = {rule: float(n.sum()) for rule, n in run.leukaemia_deaths().items()}
    total = sum(cells.values())
    return {rule: n / total for rule, n in cells.items()} if total else {}


def _padded(series: list[np.ndarray], n: int) -> np.ndarray:
    found = np.full((len(series), n), np.nan)
    for row, values in zip(found, series, strict=True):
        row[: len(values)] = values
    return found
