"""A dish that is over in a moment, and one that now and then overflows, for campaigns of many replicates and for trials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from mst_abm.runs.campaign import Campaign, plan_campaign
from mst_abm.runs.gathering import gather
from mst_abm.runs.pools import LocalPool
from mst_abm.runs.working import run_missing

DISH = """
model: box
override: {compartments.box.lattice.shape: [12, 12], rules.killer kills.rate: 5 /h}
initial: {box: {prey: 60, killer: 8}}
observables:
  blast_cells: {of: box.prey, relative_to: 1 cell, source: test}
run: {until: 3 d, record: {counts: 12 h, snapshots: 1 d}}
"""
#: Three patients through two arms of it.
TRIAL = """
name: dish
cohort:
  seed: 5
  patients: 3
  parameters:
    - {name: speed, lognormal: {sd_log: 0.4}, times: ["rules.killer kills.rate"], source: test}
arms:
  usual: {scenario: dish.yaml}
  none: {like: usual, set: {initial.box.killer: 0}}
readings:
  prey_left: {of: blast_cells, at: 2 d, over: {of: blast_cells, at: 0 d}, log10: yes}
targets:
  - {name: T2, arm: usual, endpoint: prey_left, statistic: mean, low: -5, high: 5, source: test}
  - {name: T1, arm: usual, endpoint: leukaemia_log_kill, statistic: median, low: 0, high: 5, source: test}
"""
#: Thirty cells are set beside those that have grown: where these are more than twenty, it is an error of that replicate.
POT = """
types: {a: {}, b: {}}
compartments: {pot: {mixed: {capacity: 50}}}
rules: [{name: a divides, divide: a -> a + a, rate: 0.1 /h, source: test}]
initial: {pot: {a: 10}}
protocol: [{at: 10 h, set: {pot.b: 30}}]
observables: {blast_cells: {of: pot.a, relative_to: 1 cell, source: test}}
run: {until: 12 h, exchange: 1 h, record: {counts: 2 h}}
"""


def written(folder: Path, text: str = DISH) -> Path:
    """A scenario as a file."""
    path = folder / "dish.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def trial_written(folder: Path, text: str = TRIAL, scenario: str = DISH) -> Path:
    """A trial as a file beside its scenario."""
    written(folder, scenario)
    path = folder / "trial.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def planned(folder: Path, name: str = "out", text: str = DISH, **options: Any) -> Campaign:
    """A campaign of ten replicates, three in a shard."""
    options = {"replicates": 10, "per_shard": 3, **options}
    return plan_campaign(written(folder, text), folder / name, **options)


class Here:
    """A pool that is this process: a call is over when it has been given."""

    width = 1

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def pass_on(self, number: int) -> None:
        """There is nobody else."""


def run(campaign: Campaign, workers: int = 0, **options: Any) -> Campaign:
    """Run what is missing, without workers in this process."""
    if not workers:
        run_missing(campaign, Here(), **options)
        return campaign
    with LocalPool(workers) as pool:
        run_missing(campaign, pool, **options)
    return campaign


def digest(campaign: Campaign) -> str:
    """The fingerprint of a campaign that is whole."""
    found = gather(campaign.folder)
    assert len(found) == found.n_planned
    return found.digest


def times(campaign: Campaign) -> Iterator[int]:
    """When each record was written, ns."""
    for shard in campaign.shards:
        yield campaign.record(shard).stat().st_mtime_ns
