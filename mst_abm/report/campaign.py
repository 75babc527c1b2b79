"""A campaign in a few lines: what there is of it, and means over the replicates that are there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mst_abm.runs.campaign import Campaign
    from mst_abm.runs.gathering import Gathered, Status

#: Failures that are told one by one.
SHOWN = 10


def status_text(
    campaign: Campaign, status: Status, in_queue: Mapping[str, int] = MappingProxyType({})
) -> str:
    """Shards by what became of them, tasks in a queue by their state, and which replicates failed."""
    n = len(campaign.shards)
    points = f"{len(campaign.points)} points, " if len(campaign.points) > 1 else ""
    lines = [
        f"{campaign.name}: {points}{status.n_replicates:,} of {status.n_planned:,} replicates are there",
        f"shards: {len(status.done)} of {n} done, {len(status.running)} running, {len(status.failed)} failed, "
        f"{len(status.missing)} missing",
    ]
    if campaign.engine != "cells":
        lines.append(f"engine: {campaign.engine}")
    if campaign.is_paired:
        streams = len({point.seed for point in campaign.points})
        of = "all points" if streams == 1 else f"the points of each of {streams} patients"
        lines.append(f"paired: replicate by replicate, {of} have the same random numbers")
    if in_queue:
        tasks = ", ".join(f"{n} {state}" for state, n in sorted(in_queue.items()))
        lines.append(f"tasks in the queue of SLURM: {tasks}")
    told = [
        f"failed: shard {number}, replicate {replicate}: {text}"
        for number, replicates in status.failures.items()
        for replicate, text in replicates.items()
    ]
    lines += told[:SHOWN]
    if len(told) > SHOWN:
        lines.append(f"... and {len(told) - SHOWN} more, in {campaign.folder / 'failed'}")
    return "\n".join(lines) + "\n"


def gathered_text(gathered: Gathered) -> str:
    """How many replicates there are, means of the endpoints of one point, and the fingerprint."""
    planned = gathered.n_planned or len(gathered)
    lines = [*gathered.notes]
    points = sorted(set(gathered.columns["point"]))
    of = f"{len(gathered):,} of {planned:,} replicates"
    if len(points) == 1:
        lines += [f"means over {of}", *_means(gathered, planned)]
    else:
        lines.append(f"{len(points)} points, {of}")
    lines.append(f"digest: {gathered.digest}")
    return "\n".join(lines) + "\n"


def _means(gathered: Gathered, planned: int) -> list[str]:
    """A line per endpoint; of those that are only reached by some, how many that are."""
    columns = gathered.columns
    names = [name for name in columns if f"true_{name}" in columns]
    rows = [("endpoint", "reported", "true", "replicates with it")]
    for name in names:
        seen, true = _mean(columns[name]), _mean(columns[f"true_{name}"])
        n = int(np.isfinite(np.array(columns[f"true_{name}"], float)).sum())
        if seen != "-" or true != "-":
            rows.append((name, seen, true, f"{n:,} of {planned:,}"))
    if len(rows) == 1:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _mean(values: list[Any]) -> str:
    numbers = np.array(values, float)
    numbers = numbers[np.isfinite(numbers)]
    return f"{numbers.mean():.4g}" if len(numbers) else "-"
