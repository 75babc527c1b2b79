"""A sweep as a campaign: its points made by a design, run as any campaign is, and its outcomes point by point."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from mst_abm.clinic.arms import Endpoint, measured, measures
from mst_abm.clinic.designs import (
    ATTRIBUTION,
    GRID,
    Index,
    contrasts,
    differences_from_first,
    indices,
    subsets,
    unit_points,
)
from mst_abm.clinic.endpoints import endpoints_for
from mst_abm.clinic.intervals import mean_interval, share_interval
from mst_abm.errors import Problem, ScenarioError, did_you_mean
from mst_abm.records.arms import endpoints_of
from mst_abm.records.reader import open_run
from mst_abm.runs.campaign import Campaign, plan_campaign
from mst_abm.runs.gathering import gather
from mst_abm.scenario import load_scenario
from mst_abm.scenario.design import DesignPoint
from mst_abm.scenario.document import Place
from mst_abm.scenario.sweep import Sweep

#: Column of the patient's number.
PATIENT = "patient"


@dataclass(frozen=True)
class Spot:
    """A point of a sweep: what each of its axes is called there, and values by dotted name."""

    labels: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Plan:
    """A sweep and the campaign that answers it.

    Attributes
    ----------
    shares : float64 (spot, axis) of a drawn design, empty of others
    rows : int64 (spot, patient): the point of the campaign; spots with the same values and random numbers share it
    """

    sweep: Sweep
    campaign: Campaign
    spots: tuple[Spot, ...]
    shares: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """One measure of all points: ``values`` float64 (spot, run), nan where there is none; ``indices``: what the parameters do."""

    endpoint: str
    measure: str
    unit: str
    values: np.ndarray
    indices: tuple[Index, ...] = field(default=())

    @property
    def is_share(self) -> bool:
        """Whether every value says yes or no."""
        return self.measure.startswith("share")

    def at(self, spot: int) -> tuple[float, float, float, int]:
        """Mean or share, its 95 % interval, and from how many runs."""
        values = self.values[spot]
        known = values[np.isfinite(values)]
        if not len(known):
            return np.nan, np.nan, np.nan, 0
        if self.is_share:
            bounds = share_interval(round(float(known.sum())), len(known))
        else:
            bounds = mean_interval(known)
        return float(known.mean()), *bounds, len(known)


def plan_sweep(
    sweep: Sweep, folder: str | os.PathLike[str], *, replicates: int | None = None
) -> Plan:
    """Plan the campaign of a sweep in a folder; the one that is planned there if it is the same.

    ``replicates``: of every point and patient, instead of the sweep's.

    Raises
    ------
    ScenarioError
        With mistakes of the sweep or of its scenario.
    RecordError
        If the folder cannot be used, or holds another campaign.
    MissingPackageError
        If the design needs a library that is not there.
    """
    base = load_scenario(sweep.scenario, overrides=sweep.overrides)
    names = [rule.name for rule in endpoints_for(base.observables, base.model.hazards)]
    _refuse_unknown(sweep, names, [item.name for item in base.observables])
    if odd := [name for name in sweep.switches if name not in dict(base.switches)]:
        tail = did_you_mean(odd[0], dict(base.switches))
        raise ScenarioError([Problem(sweep.path, 0, 0, f"unknown switch '{odd[0]}'{tail}")])
    seed = base.run.seed if sweep.seed is None else sweep.seed
    spots, shares = spots_of(sweep, seed)
    points, rows = _rows(sweep, spots)
    campaign = plan_campaign(
        sweep.scenario,
        folder,
        replicates=sweep.replicates if replicates is None else replicates,
        design=points,
        overrides=sweep.overrides,
        seed=seed,
        is_paired=sweep.is_paired,
        engine=sweep.engine,
    )
    return Plan(sweep, campaign, spots, shares, rows)


def outcomes(plan: Plan) -> list[Outcome]:
    """What is there already of every endpoint and reading of a sweep, with its indices where all points have a value.

    Raises
    ------
    RecordError
        If nothing is there.
    """
    sweep, campaign = plan.sweep, plan.campaign
    table = {
        name: np.array(column)
        for name, column in gather(campaign.folder, sweep.readings).columns.items()
        if name in ("point", "replicate", *sweep.endpoints, *(r.name for r in sweep.readings))
    }
    known = _endpoints(campaign)
    until_d = campaign.scenario(0).run.until_h / 24.0
    found = []
    for name in (*sweep.endpoints, *(reading.name for reading in sweep.readings)):
        endpoint = known.get(name, Endpoint(name))
        there = table.get(name, np.full(len(table["point"]), np.nan)).astype(float)
        for measure, unit in _measures(endpoint):
            values = measured(there, endpoint, measure, until_d)
            laid = _laid_out(plan, table["point"], table["replicate"], values)
            found.append(Outcome(name, measure, unit, laid, _indices(plan, laid)))
    return found


def _measures(endpoint: Endpoint) -> list[tuple[str, str]]:
    if endpoint.name.endswith("_event"):
        return [("share", "1")]
    return measures(endpoint)


def _indices(plan: Plan, values: np.ndarray) -> tuple[Index, ...]:
    sweep = plan.sweep
    if sweep.method == ATTRIBUTION:
        return tuple(contrasts(sweep.switches, values))
    if sweep.method == GRID:
        names = [", ".join(word for _, word in spot.labels) for spot in plan.spots]
        return tuple(differences_from_first(names, values)) if sweep.is_paired else ()
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    names = [axis.name for axis in sweep.axes]
    return tuple(indices(sweep.method, names, plan.shares, means, sweep.levels))


def _laid_out(
    plan: Plan, points: np.ndarray, replicates: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """(spot, run): patients in order, replicates in order within each."""
    campaign = plan.campaign
    grid = np.full((len(campaign.points), campaign.replicates), np.nan)
    grid[points, replicates - campaign.first_replicate] = values
    return grid[plan.rows].reshape(len(plan.spots), -1)


def _endpoints(campaign: Campaign) -> dict[str, Endpoint]:
    """What the endpoints are, from one record of each point that is there."""
    found: dict[str, Endpoint] = {}
    seen: set[int] = set()
    for shard in campaign.shards:
        path = campaign.record(shard)
        if shard.point in seen or not path.exists():
            continue
        seen.add(shard.point)
        with open_run(path) as run:
            found |= {item.name: item for item in endpoints_of(run)}
    return found


def spots_of(sweep: Sweep, seed: int) -> tuple[tuple[Spot, ...], np.ndarray]:
    """The points of a sweep in order, and the shares (spot, axis) of a drawn design, empty of others."""
    no_shares = np.zeros((0, 0))
    found: list[Spot] = []
    if sweep.method == ATTRIBUTION:
        for name, off in subsets(sweep.switches):
            values = ((f"switches.{s}", "off" if s in off else "on") for s in sweep.switches)
            found.append(Spot((("mechanisms", name),), tuple(values)))
        return tuple(found), no_shares
    if sweep.method == GRID:
        for name, settings in sweep.points or (("", ()),):
            first = (("set", name),) if name else ()
            for levels in product(*(axis.levels for axis in sweep.axes)):
                spot = _spot(sweep, levels)
                found.append(Spot((*first, *spot.labels), (*settings, *spot.values)))
        return tuple(found), no_shares
    shares = unit_points(sweep.method, len(sweep.axes), sweep.size, sweep.levels, seed)
    drawn = [
        [axis.level(float(share)) for axis, share in zip(sweep.axes, row, strict=True)]
        for row in shares
    ]
    return tuple(_spot(sweep, levels) for levels in drawn), shares


def _spot(sweep: Sweep, levels: Sequence[tuple[str, str]]) -> Spot:
    labels, values = [], []
    for axis, (label, text) in zip(sweep.axes, levels, strict=True):
        labels.append((axis.name, label))
        values += [(name, text) for name in axis.names]
    return Spot(tuple(labels), tuple(values))


def _rows(sweep: Sweep, spots: Sequence[Spot]) -> tuple[list[DesignPoint], np.ndarray]:
    """Points of the campaign, and which of them every spot and patient has."""
    place = Place(sweep.path)
    points: list[DesignPoint] = []
    numbers: dict[tuple[tuple[str, ...], int], int] = {}
    rows = np.zeros((len(spots), sweep.patients), np.int64)
    patients = [
        () if sweep.cohort is None else sweep.cohort.overrides(i) for i in range(sweep.patients)
    ]
    for i, spot in enumerate(spots):
        for patient, before in enumerate(patients):
            has_cohort = sweep.cohort is not None
            labels = (*spot.labels, (PATIENT, str(patient))) if has_cohort else spot.labels
            chance = patient if has_cohort and sweep.is_paired else None
            point = DesignPoint(spot.values, None, place, labels, before, chance)
            number = len(points)
            if sweep.is_paired:  # the same values and the same random numbers are the same run
                number = numbers.setdefault((point.overrides, patient), number)
            if number == len(points):
                points.append(point)
            rows[i, patient] = number
    return points, rows


def _refuse_unknown(sweep: Sweep, endpoints: Sequence[str], series: Sequence[str]) -> None:
    """Say before hours of work what no run could yield."""
    known = [*endpoints, *(f"true_{name}" for name in endpoints)]
    found = [
        f"endpoints: there is no '{name}'{did_you_mean(name, known)}"
        for name in sweep.endpoints
        if name not in known
    ]
    for reading in sweep.readings:
        if reading.name in known:
            found.append(f"reading {reading.name}: this is an endpoint's name; use another one")
        for name in sorted(reading.needs - set(series)):
            tail = did_you_mean(name, series)
            found.append(f"reading {reading.name}: there is no observable '{name}'{tail}")
    if found:
        raise ScenarioError([Problem(sweep.path, 0, 0, message) for message in found])
