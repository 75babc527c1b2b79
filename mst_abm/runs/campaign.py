"""A campaign: one scenario or a table of parameter sets, many replicates, one folder that holds all of it.

The folder holds the scenarios as they were when the campaign was planned, so that a file edited later
changes nothing, and any computer that sees the folder can work at it. Replicates are cut into shards, each one
record named after what is in it: scenario, seed, replicates. What is done is what is there.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mst_abm.errors import Problem, RecordError, ScenarioError
from mst_abm.scenario import load_scenario, load_scenario_text
from mst_abm.version import __version__

if TYPE_CHECKING:
    from mst_abm.scenario.definition import Scenario
    from mst_abm.scenario.design import DesignPoint

FILE = "campaign.json"
FORMAT, FORMAT_VERSION = "mst_abm campaign", 1


@dataclass(frozen=True)
class Point:
    """One set of parameters: values by dotted name, its seed, and the hash of the scenario with them."""

    values: Mapping[str, str]
    seed: int
    scenario: str


@dataclass(frozen=True)
class Shard:
    """Replicates of one point that are run together into one record."""

    number: int
    point: int
    first_replicate: int
    replicates: int
    seed: int
    name: str

    @property
    def numbers(self) -> range:
        """Numbers of its replicates."""
        return range(self.first_replicate, self.first_replicate + self.replicates)


@dataclass(frozen=True)
class Campaign:
    """What is to be run; ``replicates`` of every point, from ``first_replicate`` on."""

    folder: Path
    name: str
    source: str
    points: tuple[Point, ...]
    seed: int
    replicates: int
    first_replicate: int
    per_shard: int
    is_paired: bool
    version: str = __version__

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All shards, points in order, replicates in order within each."""
        end = self.first_replicate + self.replicates
        found: list[Shard] = []
        for i, point in enumerate(self.points):
            for first in range(self.first_replicate, end, self.per_shard):
                n = min(self.per_shard, end - first)
                name = f"{point.scenario[:12]}-s{point.seed}-r{first:06d}-{first + n - 1:06d}"
                found.append(Shard(len(found), i, first, n, point.seed, name))
        return tuple(found)

    def record(self, shard: Shard) -> Path:
        """Where the record of a shard is, or will be."""
        return self.folder / "shards" / f"{shard.name}.h5"

    def failure(self, shard: Shard) -> Path:
        """Where it says which replicates of a shard failed, if any did."""
        return self.folder / "failed" / f"{shard.name}.json"

    def scenario(self, point: int) -> Scenario:
        """The scenario of a point, as it was when the campaign was planned."""
        return _scenario(self.folder, self.points[point].scenario, self.name)


@lru_cache(maxsize=2)
def _scenario(folder: Path, digest: str, name: str) -> Scenario:
    path = _scenario_path(folder, digest)
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordError(
            f"{path}: expected a scenario of this campaign, it cannot be read ({error}); plan the campaign "
            "again into this folder."
        ) from None
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise RecordError(
            f"{path}: this is not the scenario that was planned; plan the campaign again into this folder."
        )
    return load_scenario_text(text, name=name)


def _scenario_path(folder: Path, digest: str) -> Path:
    return folder / "scenarios" / f"{digest[:16]}.yaml.gz"


def plan_campaign(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    replicates: int,
    design: Sequence[DesignPoint] = (),
    overrides: Sequence[str] = (),
    seed: int | None = None,
    first_replicate: int = 0,
    per_shard: int = 1,
    is_paired: bool = False,
) -> Campaign:
    """Plan a campaign in a folder; the one that is planned there already if it is the same.

    Parameters
    ----------
    design : points (`load_design`); one point without values where empty
    overrides : ``NAME=VALUE`` texts that hold for all points
    seed : root of all seeds; the scenario's own where None
    per_shard : replicates in a shard
    is_paired : all points have the same random numbers

    Raises
    ------
    ScenarioError
        With the mistakes of the scenario or the design.
    RecordError
        If the folder cannot be used, holds another campaign, or two runs would share a stream.
    """
    place = Path(folder)
    base = load_scenario(Path(path), overrides=overrides)
    root = base.run.seed if seed is None else seed
    rows = design or (None,)
    texts, points = {}, []
    for i, row in enumerate(rows):
        scenario = base if row is None else _loaded(Path(path), overrides, row)
        digest = hashlib.sha256(scenario.resolved_text.encode()).hexdigest()
        texts[digest] = scenario.resolved_text
        own = None if row is None else row.seed
        if own is not None and is_paired:
            raise ScenarioError(
                [
                    row.place.problem(
                        "a column of seeds and --paired contradict each other; drop one"
                    )
                ]
            )
        stream = own if own is not None else seed_of(root, i, is_paired or row is None)
        points.append(Point(dict(row.values) if row is not None else {}, stream, digest))
    campaign = Campaign(
        folder=place,
        name=base.name,
        source=str(path),
        points=tuple(points),
        seed=root,
        replicates=replicates,
        first_replicate=first_replicate,
        per_shard=per_shard,
        is_paired=is_paired,
    )
    refuse_shared_streams(campaign)
    _settle(campaign, texts)
    return campaign


def _loaded(path: Path, overrides: Sequence[str], row: DesignPoint) -> Scenario:
    """The scenario of a point; mistakes of its values are said to stand in the design."""
    try:
        return load_scenario(path, overrides=(*overrides, *row.overrides))
    except ScenarioError as error:
        ours = {f"--set {text}" for text in row.overrides}
        raise ScenarioError(
            [
                Problem(*row.place, problem.message) if problem.file in ours else problem
                for problem in error.problems
            ]
        ) from None


def seed_of(root: int, point: int, is_root: bool) -> int:
    """The seed of a point, derived from the root by its number alone; the root itself if so wished."""
    if is_root:
        return root
    return int(np.random.SeedSequence(root, spawn_key=(point,)).generate_state(1, np.uint64)[0])


def refuse_shared_streams(campaign: Campaign) -> None:
    """Refuse a campaign of which two runs would have the same random numbers.

    Raises
    ------
    RecordError
        If two points have one seed, unless they are paired; then if they are the same point.
    """
    known: dict[tuple[int, str], int] = {}
    for i, point in enumerate(campaign.points):
        key = (point.seed, point.scenario if campaign.is_paired else "")
        if key in known:
            what = "are the same" if campaign.is_paired else f"share the seed {point.seed}"
            raise RecordError(
                f"points {known[key]} and {i} {what}, and with it the random numbers of every replicate; give "
                "each its own seed, or use --paired if points are to be compared replicate by replicate."
                if not campaign.is_paired
                else f"points {known[key]} and {i} {what}; leave one of them out."
            )
        known[key] = i


def _settle(campaign: Campaign, texts: Mapping[str, str]) -> None:
    """Write the plan unless it is there; refuse another one."""
    path = campaign.folder / FILE
    if path.exists():
        present = open_campaign(campaign.folder)
        if odd := _differences(present, campaign):
            raise RecordError(
                f"{campaign.folder}: holds a campaign that differs in {', '.join(odd)}; choose another folder "
                "with -o, or plan the same."
            )
    try:
        for name in ("scenarios", "shards", "failed"):
            (campaign.folder / name).mkdir(parents=True, exist_ok=True)
        for digest, text in texts.items():
            target = _scenario_path(campaign.folder, digest)
            if not target.exists():
                write_whole(target, gzip.compress(text.encode(), mtime=0))
        if not path.exists():
            write_whole(path, (json.dumps(_plain(campaign), indent=1) + "\n").encode())
    except OSError as error:
        raise RecordError(
            f"{campaign.folder}: expected a folder that can be made and written to ({error.strerror}); choose "
            "another one with -o."
        ) from None


def _plain(campaign: Campaign) -> dict[str, Any]:
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(campaign)}
    content.pop("folder")
    return content


def _differences(one: Campaign, other: Campaign) -> list[str]:
    """What sets two plans apart, in words; where the scenario's file lies is none of it."""
    words = {
        "seed": "its seed",
        "replicates": "the number of replicates",
        "first_replicate": "the first replicate",
        "per_shard": "the replicates of a shard",
        "is_paired": "pairing",
    }
    found = [text for name, text in words.items() if getattr(one, name) != getattr(other, name)]
    if [p.values for p in one.points] != [p.values for p in other.points]:
        found.insert(0, "its design")
    elif [p.scenario for p in one.points] != [p.scenario for p in other.points]:
        found.insert(0, "its scenario")
    return found


def open_campaign(folder: str | os.PathLike[str]) -> Campaign:
    """Open the campaign of a folder.

    Raises
    ------
    RecordError
        If there is none, or it is of another version.
    """
    place = Path(folder)
    path = place / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT or content.pop("format_version") > FORMAT_VERSION:
            raise ValueError
        points = tuple(Point(**point) for point in content.pop("points"))
        campaign = Campaign(folder=place, points=points, **content)
    except FileNotFoundError:
        raise RecordError(
            f"{place}: expected the folder of a campaign, there is no {FILE} in it; check the name."
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise RecordError(
            f"{path}: expected the plan of a campaign, got something else or of a newer mst_abm; plan the "
            "campaign again, shards that are done are kept."
        ) from None
    return campaign


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or not there, whatever happens."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
