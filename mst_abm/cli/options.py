"""Options and arguments that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

file = click.argument("file", type=click.Path(path_type=Path))
out = click.argument("out", type=click.Path(path_type=Path))
folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
overrides = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one value, as run.until='7 d' or rules.blasts divide.rate='0.1 /h'. Repeatable.",
)
output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Record file [NAME.h5 in this folder]."
)
seed = click.option("--seed", type=click.IntRange(0), help="Seed instead of the scenario's.")
force = click.option(
    "--force", is_flag=True, help="Replace an existing record and its figure, never another file."
)
engine = click.option(
    "--engine",
    type=click.Choice(["cells", "mean-field"]),
    default="cells",
    show_default=True,
    help="mean-field: rate equations instead of cells, in seconds; to explore and calibrate.",
)
threads = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
checkpoint = click.option(
    "--checkpoint",
    metavar="TIME",
    help="Simulated time between checkpoints, as '6 h'; 0: none but those a signal asks for [1 d].",
)
again = click.option("--again", is_flag=True, help="Try replicates once more that have failed.")
workers = click.option("--workers", type=click.IntRange(1), default=1, show_default=True)


def every(checkpoint: str | None) -> tuple[str, ...]:
    """The override that a time between checkpoints stands for."""
    return () if checkpoint is None else (f"run.checkpoint={checkpoint}",)


#: Names of the options of `anywhere`.
WHERE = ("workers", "dask", "slurm", "jobs", "partition", "time", "memory", "more")


def anywhere(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where shards are worked at, handed on as one, for `pool_of`."""

    @wraps(command)
    def packed(**options: Any) -> None:
        command(where={name: options.pop(name) for name in WHERE}, **options)

    run: Callable[..., None] = packed
    options = (
        workers,
        click.option(
            "--dask",
            metavar="ADDRESS",
            help="Workers of a Dask cluster: its scheduler, as tcp://node:8786, or the file it wrote.",
        ),
        click.option("--slurm", is_flag=True, help="Workers that are jobs of SLURM, by Dask."),
        click.option("--jobs", type=click.IntRange(1), help="Of SLURM, with --slurm [1]."),
        click.option("--partition", default="", help="Of the jobs [the site's]."),
        click.option("--time", default="", help="Of a job, as 12:00:00 [the site's]."),
        click.option(
            "--mem", "memory", default="", help="Of a job, as 4G [predicted; trials: 2G]."
        ),
        click.option("--sbatch", "more", multiple=True, help="As --account=NAME. Repeatable."),
    )
    for option in reversed(options):
        run = option(run)
    return run


def of_a_campaign(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a campaign is; `planned` takes them."""
    options = (
        file,
        click.option("--replicates", type=click.IntRange(1), required=True, help="Of every point."),
        click.option(
            "--over", "design", type=click.Path(path_type=Path), help="Table of parameter sets."
        ),
        click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME]."),
        click.option("--first-replicate", type=click.IntRange(0), default=0, show_default=True),
        click.option(
            "--per-shard", type=click.IntRange(1), help="Replicates run together into one file."
        ),
        click.option("--paired", is_flag=True, help="The same random numbers in all points."),
        seed,
        overrides,
        checkpoint,
    )
    for option in reversed(options):
        command = option(command)
    return command
