"""Commands about the shards of a campaign, and where they are worked at."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mst_abm.cli import options
from mst_abm.cli.showing import Count

if TYPE_CHECKING:
    from mst_abm.runs.campaign import Campaign
    from mst_abm.runs.pools import Pool


@click.command()
@options.of_a_campaign
@options.anywhere
@options.again
def ensemble(again: bool, where: dict[str, Any], **plan: Any) -> None:
    """Run many replicates of one scenario, or of each of many parameter sets, into one folder.

    Run again, it does only what is missing.
    """
    campaign = planned(**plan)
    work_at(campaign, range(len(campaign.shards)), again, **where)
    tell_status(campaign)
    gather_into(campaign.folder)


@click.command()
@options.of_a_campaign
@click.option("--array", required=True, metavar="N[%M]", help="Tasks, as 20; 20%5: five at once.")
@click.option("--time", default="", help="Time limit of a task, as 12:00:00 [the site's].")
@click.option("--mem", "memory", default="", help="Memory of a task, as 2G [predicted].")
@click.option("--partition", default="", help="[the site's]")
@options.workers
@click.option(
    "--requeue",
    "requeues",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Times a task may start again when its time is up.",
)
@click.option("--sbatch", "more", multiple=True, help="As --account=NAME. Repeatable.")
@click.option("--dry-run", is_flag=True, help="Print the script, write nothing.")
@click.option("--submit", "submits", is_flag=True, help="Submit the tasks that are missing.")
@click.option("--force", is_flag=True, help="Replace a script that was edited.")
def slurm(dry_run: bool, submits: bool, force: bool, **plan: Any) -> None:
    """Plan a campaign as `ensemble` does, and write the script of a SLURM job array that runs it.

    The script, job.sh in the folder, can be read, edited and submitted by hand.
    """
    from dataclasses import fields
    from tempfile import TemporaryDirectory

    from mst_abm.runs.slurm import Request, script_text, submit, write_script

    asked = Request(**{field.name: plan.pop(field.name) for field in fields(Request)})
    folder = plan.pop("output") or Path(plan["file"].stem)
    if dry_run:
        with TemporaryDirectory() as elsewhere:
            campaign = planned(output=Path(elsewhere), **plan)
            click.echo(script_text(campaign, asked, folder), nl=False)
        return
    campaign = planned(output=folder, **plan)
    path = write_script(folder, script_text(campaign, asked, folder), force=force)
    click.echo(f"script: {path}")
    if submits:
        job, tasks = submit(campaign, path, asked)
        click.echo(f"job: {job}, tasks: {tasks}")


@click.command()
@options.folder
@click.option("--shard", "shards", type=click.IntRange(0), multiple=True, help="Repeatable [all].")
@options.anywhere
@options.again
def work(folder: Path, shards: tuple[int, ...], again: bool, where: dict[str, Any]) -> None:
    """Do shards of a campaign that are missing: what a task of a cluster calls, or a person on a node."""
    from mst_abm.runs.campaign import open_campaign

    campaign = open_campaign(folder)
    n = len(campaign.shards)
    for number in shards:
        if number >= n:
            raise click.BadParameter(
                f"expected a number from 0 to {n - 1}, got {number}", param_hint="--shard"
            )
    work_at(campaign, shards or range(n), again, **where)
    if not shards:  # else one of many: all of them would read every record
        tell_status(campaign)


@click.command()
@options.folder
def status(folder: Path) -> None:
    """Tell what is done of a campaign, what is running, what failed and what is missing."""
    from mst_abm.runs.campaign import open_campaign

    tell_status(open_campaign(folder))


@click.command()
@options.folder
def collect(folder: Path) -> None:
    """Gather the endpoints of a campaign into one table, endpoints.csv and endpoints.parquet."""
    gather_into(folder)


def planned(
    *,
    file: Path,
    replicates: int,
    design: Path | None,
    output: Path | None,
    first_replicate: int,
    per_shard: int | None,
    paired: bool,
    seed: int | None,
    overrides: tuple[str, ...],
    checkpoint: str | None,
) -> Campaign:
    from mst_abm.runs.campaign import plan_campaign
    from mst_abm.scenario.design import load_design

    return plan_campaign(
        file,
        output or Path(file.stem),
        replicates=replicates,
        design=() if design is None else load_design(design),
        overrides=(*overrides, *options.every(checkpoint)),
        seed=seed,
        first_replicate=first_replicate,
        per_shard=per_shard,
        is_paired=paired,
    )


def tell_status(campaign: Campaign) -> None:
    from mst_abm.report.campaign import status_text
    from mst_abm.runs.gathering import status_of
    from mst_abm.runs.slurm import in_queue

    click.echo(status_text(campaign, status_of(campaign), in_queue(campaign.folder)), nl=False)


def gather_into(folder: Path) -> None:
    from mst_abm.report.campaign import gathered_text
    from mst_abm.runs.gathering import gather, write_tables

    gathered = gather(folder)
    paths, missing = write_tables(folder, gathered)
    click.echo(gathered_text(gathered), nl=False)
    for path in paths:
        click.echo(f"table: {path}")
    if missing:
        click.echo(missing, err=True)


def work_at(campaign: Campaign, numbers: Sequence[int], again: bool, **where: Any) -> None:
    """Work at shards, wherever that is wanted, and say how to go on after an interruption."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.working import run_missing

    try:
        with (
            Count(campaign.name, "replicate") as progress,
            Signals() as signals,
            pool_of(campaign.folder, campaign, **where) as pool,
        ):
            run_missing(
                campaign, pool, numbers=numbers, again=again, signals=signals, progress=progress
            )
    except KeyboardInterrupt:
        click.echo(f"Go on with: mst-abm work {campaign.folder}", err=True)
        raise


def pool_of(
    folder: Path,
    campaign: Campaign | None,
    *,
    workers: int,
    dask: str | None,
    slurm: bool,
    jobs: int | None,
    **of_a_job: Any,
) -> AbstractContextManager[Pool]:
    """Processes of this computer, or workers of a cluster."""
    if slurm and dask is not None:
        raise click.UsageError("--slurm starts a Dask cluster of its own; leave out --dask.")
    if not slurm and (jobs is not None or any(of_a_job.values())):
        raise click.UsageError("--jobs, --partition, --time, --mem and --sbatch go with --slurm.")
    if slurm:
        from mst_abm.runs.dask_pool import slurm_pool
        from mst_abm.runs.slurm import LOGS, Request, with_memory

        request = Request(array=str(jobs or 1), **of_a_job)
        if campaign is not None:
            request = with_memory(request, campaign)
        return slurm_pool(request, folder / LOGS)
    if dask is not None:
        from mst_abm.runs.dask_pool import DaskPool

        return DaskPool(dask)
    from mst_abm.runs.pools import LocalPool

    return LocalPool(workers)
