"""A dish that is over in a moment, and one that now and then overflows, for campaigns of many replicates."""

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
