"""The records of a folder in groups that belong together: arms of a trial, points of a campaign."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mst_abm.errors import RecordError
from mst_abm.records.reader import Run, open_run
from mst_abm.report.results import kills_of
from mst_abm.runs.campaign import FILE, Campaign, open_campaign

#: Records whose courses are drawn: more are picked evenly, for all are in memory then.
MOST_COURSES = 200


@dataclass(frozen=True)
class Arm:
    """Records of one group; ``planned``: replicates there should be, 0 where nobody says."""

    name: str
    records: tuple[Path, ...]
    planned: int = 0


@dataclass(frozen=True)
class Found:
    """What the whole records of a group hold together; arrays are (replicate,).

    ``left_out``: names of records that are not complete or cannot be read, with the reason.
    """

    arm: Arm
    replicates: int
    seeds: tuple[str, ...]
    versions: tuple[str, ...]
    table: Mapping[str, np.ndarray]
    reported: Mapping[str, np.ndarray]
    true: Mapping[str, np.ndarray]
    kills: Mapping[str, np.ndarray]
    whole: tuple[Path, ...]
    left_out: Mapping[str, str]


def arms_of(folder: Path) -> list[Arm]:
    """Groups of a folder: points of its campaign, or its sub-folders with records.

    Raises
    ------
    RecordError
        If there is no record in it.
    """
    if (folder / FILE).exists():
        arms = list(_points(open_campaign(folder)))
    else:
        places: dict[Path, list[Path]] = {}
        for path in sorted(folder.rglob("*.h5")):
            places.setdefault(path.parent, []).append(path)
        arms = [
            Arm(str(place.relative_to(folder)) if place != folder else folder.name, tuple(paths))
            for place, paths in sorted(places.items())
        ]
    if not any(arm.records for arm in arms):
        raise RecordError(f"{folder}: expected a folder with records (.h5), there is none in it.")
    return arms


def _points(campaign: Campaign) -> Iterator[Arm]:
    for number, point in enumerate(campaign.points):
        mine = [campaign.record(shard) for shard in campaign.shards if shard.point == number]
        values = ", ".join(f"{name} = {value}" for name, value in point.values.items())
        yield Arm(
            values or campaign.name, tuple(p for p in mine if p.exists()), campaign.replicates
        )


def read_arm(arm: Arm) -> Found:
    """Endpoints and kills of all whole records of a group, one record in memory at a time."""
    tables: dict[str, dict[str, object]] = {}
    rows: list[tuple[int, dict, dict, dict]] = []
    whole, left_out = [], {}
    seeds, versions = dict[str, None](), dict[str, None]()
    for path in arm.records:
        try:
            with open_run(path) as run:
                if run.status != "complete":
                    left_out[path.name] = run.status
                    continue
                for i, name in enumerate(run.endpoint_table["endpoint"]):
                    columns = {c: v[i] for c, v in run.endpoint_table.items()}
                    known = tables.setdefault(str(name), columns)
                    for flag in ("is_true", "is_reported"):
                        known[flag] = bool(known[flag]) or bool(columns[flag])
                rows.append((len(run.replicates), run.endpoints, run.true_endpoints, kills_of(run)))
                seeds[str(run.attributes["seed"])] = None
                versions[str(run.attributes.get("mst_abm", ""))] = None
        except (RecordError, OSError, KeyError) as error:
            left_out[path.name] = f"cannot be read ({error})"
        else:
            whole.append(path)
    sizes = [row[0] for row in rows]
    columns = next(iter(tables.values()), {})
    return Found(
        arm=arm,
        replicates=sum(sizes),
        seeds=tuple(seeds),
        versions=tuple(versions),
        table={c: np.array([t[c] for t in tables.values()]) for c in columns},
        reported=_end_to_end([row[1] for row in rows], sizes, tables, np.nan),
        true=_end_to_end([row[2] for row in rows], sizes, tables, np.nan),
        kills=_end_to_end([row[3] for row in rows], sizes, {r for row in rows for r in row[3]}, 0),
        whole=tuple(whole),
        left_out=left_out,
    )


@contextmanager
def opened(found: Found) -> Iterator[list[Run]]:
    """The runs whose courses are drawn: those with the times of most of them."""
    paths = found.whole
    if len(paths) > MOST_COURSES:
        chosen = np.linspace(0, len(paths) - 1, MOST_COURSES).round().astype(int)
        paths = tuple(paths[i] for i in chosen)
    with ExitStack() as stack:
        runs = [stack.enter_context(open_run(path)) for path in paths]
        kinds: dict[tuple, list[Run]] = {}
        for run in runs:
            key = (run.times_h.tobytes(), run.observed_times_h.tobytes(), *run.compartment_names)
            kinds.setdefault(key, []).append(run)
        yield max(kinds.values(), key=len, default=[])


def _end_to_end(
    parts: list[dict[str, np.ndarray]], sizes: list[int], names: Iterable[str], missing: float
) -> dict[str, np.ndarray]:
    """Values of all records by name, in the order of the records."""
    return {
        name: np.concatenate(
            [p.get(name, np.full(n, missing)) for p, n in zip(parts, sizes, strict=True)]
        )
        for name in (names if isinstance(names, dict) else sorted(names))
        if parts
    }
