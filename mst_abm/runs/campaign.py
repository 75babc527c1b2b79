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
from mst_abm.model.compile import compile_model
from mst_abm.records.atomic import write_whole
from mst_abm.runs.needs import needs_of, replicates_together
from mst_abm.runs.tiled import tile_side
from mst_abm.runs.to_file import Engine
from mst_abm.scenario import load_scenario, load_scenario_text
from mst_abm.version import __version__

if TYPE_CHECKING:
    import pandas

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
    engine: Engine = "cells"

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

    @property
    def endpoints(self) -> pandas.DataFrame:
        """One row per replicate that is done: point, replicate, seed, values of the design, endpoints.

        Raises
        ------
        RecordError
            If nothing is done yet.
        MissingPackageError
            If pandas is not there.
        """
        from mst_abm.extras import needs
        from mst_abm.runs.gathering import gather

        return needs("pandas", "analysis").DataFrame(gather(self.folder).columns)

    def refuse_other_version(self) -> None:
        """RecordError if runs of this version would be mixed with those of another."""
        if self.version != __version__:
            raise RecordError(
                f"{self.folder}: this campaign is of mst_abm {self.version}, this is {__version__}; go on with "
                "that version, or plan it again in another folder."
            )

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
    per_shard: int | None = None,
    is_paired: bool = False,
    engine: Engine = "cells",
) -> Campaign:
    """Plan a campaign in a folder; the one that is planned there already if it is the same.

    Parameters
    ----------
    design : points (`load_design`); one point without values where empty
    overrides : ``NAME=VALUE`` texts that hold for all points
    seed : root of all seeds; the scenario's own where None
    per_shard : replicates in a shard; about a minute's worth where None
    is_paired : all points have the same random numbers, or those with the same ``chance``
    engine : "mean-field" for rate equations instead of cells

    Raises
    ------
    ScenarioError
        With the mistakes of the scenario or the design.
    RecordError
        If the folder cannot be used, holds another campaign, or two runs would share a stream.
    """
    base = load_scenario(Path(path), overrides=overrides)
    root = base.run.seed if seed is None else seed
    scenarios = _of_points(Path(path), overrides, design) if design else [base]
    seeds = [row.seed for row in design] or [root]
    if is_paired and (odd := next((row for row in design if row.seed is not None), None)):
        message = "a seed of its own and --paired contradict each other; drop one of them"
        raise ScenarioError([odd.place.problem(message)])
    texts: dict[str, str] = {}
    points = []
    for i, (scenario, own) in enumerate(zip(scenarios, seeds, strict=True)):
        digest = hashlib.sha256(scenario.resolved_text.encode()).hexdigest()
        texts[digest] = scenario.resolved_text
        stream = _stream(root, i, design, is_paired) if own is None else own
        labels = dict((*design[i].labels, *design[i].values)) if design else {}
        points.append(Point(labels, stream, digest))
    campaign = Campaign(
        folder=Path(folder),
        name=base.name,
        source=str(path),
        points=tuple(points),
        seed=root,
        replicates=replicates,
        first_replicate=first_replicate,
        per_shard=per_shard or _together(base, replicates * len(points)),
        is_paired=is_paired,
        engine=engine,
    )
    refuse_shared_streams(campaign)
    _settle(campaign, texts)
    return campaign


def _together(scenario: Scenario, total: int) -> int:
    """Replicates of a shard, if nobody says."""
    compiled = compile_model(scenario.model, scenario.entering, tile_side(scenario.run))
    return replicates_together(scenario, needs_of(scenario, compiled), total)


def _of_points(
    path: Path,
    overrides: Sequence[str],
    design: Sequence[DesignPoint],
) -> list[Scenario]:
    """The scenario of every point; mistakes of values are said to stand in the design, each once."""
    found, problems = [], dict[str, Problem]()
    for row in design:
        try:
            found.append(load_scenario(path, overrides=(*overrides, *row.overrides)))
        except ScenarioError as error:
            ours = {f"--set {text}" for text in row.overrides}
            for problem in error.problems:
                place = row.place if problem.file in ours else problem
                odd = Problem(place.file, place.line, place.column, problem.message)
                problems.setdefault(odd.message, odd)
    if problems:
        raise ScenarioError(list(problems.values()))
    return found


def _stream(root: int, point: int, design: Sequence[DesignPoint], is_paired: bool) -> int:
    """The seed of a point that has none of its own."""
    chance = design[point].chance if design and is_paired else None
    return seed_of(root, point, is_paired) if chance is None else seed_of(root, chance, False)


def seed_of(root: int, point: int, is_paired: bool) -> int:
    """The seed of a point, derived from the root by its number alone; the root itself where points are paired."""
    if is_paired:
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
        present.refuse_other_version()
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
        "engine": "its engine",
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
