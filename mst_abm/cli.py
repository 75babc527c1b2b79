"""The command line: words typed by people become one library call each.

Everything but click is imported inside the commands, so that ``--help`` is quick. No decision about
a run is made here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mst_abm.version import __version__

if TYPE_CHECKING:
    from mst_abm.runs.campaign import Campaign
    from mst_abm.runs.pools import Pool
    from mst_abm.runs.to_file import Engine, Progress
    from mst_abm.scenario.definition import Scenario

FAILED = 2
INTERRUPTED = 130


class _Commands(click.Group):
    """Prints an error of ours as its sentences alone; a traceback only with --debug."""

    def invoke(self, ctx: click.Context) -> Any:
        from mst_abm.errors import DiscFullError, MstAbmError

        try:
            return super().invoke(ctx)
        except DiscFullError as error:
            click.echo(str(error), err=True)
            sys.stdout.flush()
            sys.stderr.flush()
            # HDF5 would try in vain to write what it still holds, and break down over it
            os._exit(FAILED)
        except MstAbmError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(str(error), err=True)
            ctx.exit(FAILED)
        except OSError as error:
            # a damaged record, a full disk: nothing of ours to say more about
            if ctx.params.get("debug"):
                raise
            click.echo(
                f"a file could not be read or written ({error}); check that it is whole and that "
                "the disk has room.",
                err=True,
            )
            ctx.exit(FAILED)
        except KeyboardInterrupt:
            if ctx.params.get("debug"):
                raise
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="mst-abm")
def main(debug: bool) -> None:
    """Simulate microtransplantation for blood cancers, cell by cell."""


_file = click.argument("file", type=click.Path(path_type=Path))
_out = click.argument("out", type=click.Path(path_type=Path))
_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_set = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change one value, as run.until='7 d' or rules.blasts divide.rate='0.1 /h'. Repeatable.",
)
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Record file [NAME.h5 in this folder]."
)
_seed = click.option("--seed", type=click.IntRange(0), help="Seed instead of the scenario's.")
_force = click.option(
    "--force", is_flag=True, help="Replace an existing record and its figure, never another file."
)
_engine = click.option(
    "--engine",
    type=click.Choice(["cells", "mean-field"]),
    default="cells",
    show_default=True,
    help="mean-field: rate equations instead of cells, in seconds; to explore and calibrate.",
)
_threads = click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
_checkpoint = click.option(
    "--checkpoint",
    metavar="TIME",
    help="Simulated time between checkpoints, as '6 h'; 0: none but those a signal asks for [1 d].",
)


@main.command()
@_file
@_set
def check(file: Path, overrides: tuple[str, ...]) -> None:
    """Read a scenario, say in English what it does and how large it is. Runs nothing."""
    from mst_abm.report.check import check_text
    from mst_abm.scenario import load_scenario

    click.echo(check_text(load_scenario(file, overrides=overrides)), nl=False)


@main.command()
@_file
@_output
@_seed
@_set
@_force
@_threads
@_checkpoint
@_engine
@click.option("--no-figure", is_flag=True, help="Do not draw a figure beside the file.")
def run(
    file: Path,
    output: Path | None,
    seed: int | None,
    overrides: tuple[str, ...],
    force: bool,
    threads: int,
    checkpoint: str | None,
    engine: Engine,
    no_figure: bool,
) -> None:
    """Run one patient; record it, print a short table, draw a figure."""
    from mst_abm.scenario import load_scenario

    scenario = load_scenario(file, overrides=(*overrides, *_every(checkpoint)))
    path = output or Path(f"{scenario.name}.h5")
    _check_record(path, force)
    figure = path.with_suffix(".png")
    if not no_figure:
        _check_output(figure, force, record=path)
    _record(scenario, path, force=force, seed=seed, threads=threads, engine=engine)
    _show(path)
    if not no_figure:
        _draw(path, figure)


_again = click.option("--again", is_flag=True, help="Try replicates once more that have failed.")
_workers = click.option("--workers", type=click.IntRange(1), default=1, show_default=True)


#: Names of the options of `_anywhere`.
WHERE = ("workers", "dask", "slurm", "jobs", "partition", "time", "memory", "more")


def _anywhere(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where shards are worked at, handed on as one, for `_pool`."""

    @wraps(command)
    def packed(**options: Any) -> None:
        command(where={name: options.pop(name) for name in WHERE}, **options)

    run: Callable[..., None] = packed
    options = (
        _workers,
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


def _of_a_campaign(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what a campaign is; `_planned` takes them."""
    options = (
        _file,
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
        _seed,
        _set,
        _checkpoint,
    )
    for option in reversed(options):
        command = option(command)
    return command


def _planned(
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
        overrides=(*overrides, *_every(checkpoint)),
        seed=seed,
        first_replicate=first_replicate,
        per_shard=per_shard,
        is_paired=paired,
    )


@main.command()
@_of_a_campaign
@_anywhere
@_again
def ensemble(again: bool, where: dict[str, Any], **plan: Any) -> None:
    """Run many replicates of one scenario, or of each of many parameter sets, into one folder.

    Run again, it does only what is missing.
    """
    campaign = _planned(**plan)
    _work(campaign, range(len(campaign.shards)), again, **where)
    _told(campaign)
    _collect(campaign.folder)


@main.command()
@_of_a_campaign
@click.option("--array", required=True, metavar="N[%M]", help="Tasks, as 20; 20%5: five at once.")
@click.option("--time", default="", help="Time limit of a task, as 12:00:00 [the site's].")
@click.option("--mem", "memory", default="", help="Memory of a task, as 2G [predicted].")
@click.option("--partition", default="", help="[the site's]")
@_workers
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
def slurm(dry_run: bool, submits: bool, force: bool, **options: Any) -> None:
    """Plan a campaign as `ensemble` does, and write the script of a SLURM job array that runs it.

    The script, job.sh in the folder, can be read, edited and submitted by hand.
    """
    from dataclasses import fields
    from tempfile import TemporaryDirectory

    from mst_abm.runs.slurm import Request, script_text, submit, write_script

    asked = Request(**{field.name: options.pop(field.name) for field in fields(Request)})
    folder = options.pop("output") or Path(options["file"].stem)
    if dry_run:
        with TemporaryDirectory() as elsewhere:
            campaign = _planned(output=Path(elsewhere), **options)
            click.echo(script_text(campaign, asked, folder), nl=False)
        return
    campaign = _planned(output=folder, **options)
    path = write_script(folder, script_text(campaign, asked, folder), force=force)
    click.echo(f"script: {path}")
    if submits:
        job, tasks = submit(campaign, path, asked)
        click.echo(f"job: {job}, tasks: {tasks}")


@main.command()
@_folder
@click.option("--shard", "shards", type=click.IntRange(0), multiple=True, help="Repeatable [all].")
@_anywhere
@_again
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
    _work(campaign, shards or range(n), again, **where)
    if not shards:  # else one of many: all of them would read every record
        _told(campaign)


@main.command()
@_folder
def status(folder: Path) -> None:
    """Tell what is done of a campaign, what is running, what failed and what is missing."""
    from mst_abm.runs.campaign import open_campaign

    _told(open_campaign(folder))


@main.command()
@_folder
def collect(folder: Path) -> None:
    """Gather the endpoints of a campaign into one table, endpoints.csv and endpoints.parquet."""
    _collect(folder)


def _told(campaign: Campaign) -> None:
    from mst_abm.report.campaign import status_text
    from mst_abm.runs.gathering import status_of
    from mst_abm.runs.slurm import in_queue

    click.echo(status_text(campaign, status_of(campaign), in_queue(campaign.folder)), nl=False)


def _collect(folder: Path) -> None:
    from mst_abm.report.campaign import gathered_text
    from mst_abm.runs.gathering import gather, write_tables

    gathered = gather(folder)
    paths, missing = write_tables(folder, gathered)
    click.echo(gathered_text(gathered), nl=False)
    for path in paths:
        click.echo(f"table: {path}")
    if missing:
        click.echo(missing, err=True)


def _work(campaign: Campaign, numbers: Sequence[int], again: bool, **where: Any) -> None:
    """Work at shards, wherever that is wanted, and say how to go on after an interruption."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.working import run_missing

    try:
        with (
            _Count(campaign.name, "replicate") as progress,
            Signals() as signals,
            _pool(campaign.folder, campaign, **where) as pool,
        ):
            run_missing(
                campaign, pool, numbers=numbers, again=again, signals=signals, progress=progress
            )
    except KeyboardInterrupt:
        click.echo(f"Go on with: mst-abm work {campaign.folder}", err=True)
        raise


def _pool(
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


@main.command()
@_out
@_threads
def resume(out: Path, threads: int) -> None:
    """Go on with a run that was stopped or killed, to the bits of one that was not."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.resuming import read_recorded
    from mst_abm.runs.resuming import resume as go_on

    scenario = read_recorded(out).scenario
    bar = _Bar(scenario.name, scenario.run.until_h)
    with _goes_on_later(out), Signals() as signals, bar as progress:
        go_on(out, threads=threads, progress=progress, signals=signals, notice=_notice)
    _show(out)


@main.command()
@_out
@click.option("--at", required=True, metavar="TIME", help="When the arm branches off, as '21 d'.")
@_set
@_output
@_force
@_threads
def fork(
    out: Path,
    at: str,
    overrides: tuple[str, ...],
    output: Path | None,
    force: bool,
    threads: int,
) -> None:
    """Branch an arm off a run: its record up to a day, from there on with other values."""
    from mst_abm.runs.forking import fork as branch
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.resuming import read_recorded
    from mst_abm.units import quantity

    path = output or out.with_name(f"{out.stem}.fork.h5")
    scenario = read_recorded(out).scenario
    bar = _Bar(scenario.name, scenario.run.until_h)
    with _goes_on_later(path), Signals() as signals, bar as progress:
        branch(
            out,
            path,
            at_h=quantity(at, "time"),
            overrides=overrides,
            force=force,
            threads=threads,
            progress=progress,
            signals=signals,
            notice=_notice,
        )
    _show(path)


@main.command()
@_out
@click.option("--to", metavar="TIME", help="Run once more up to there and compare, as '3 d'.")
@click.option("--from", "start", default="0 h", metavar="TIME", help="Begin at a checkpoint.")
@_threads
def verify(out: Path, to: str | None, start: str, threads: int) -> None:
    """Check the checksums of a record and its checkpoints; run a stretch again and compare."""
    from mst_abm.runs.verifying import verify as look
    from mst_abm.units import quantity

    to_h = None if to is None else quantity(to, "time")
    right, wrong = look(out, from_h=quantity(start, "time"), to_h=to_h, threads=threads)
    for text in right:
        click.echo(text)
    for text in wrong:
        click.echo(text, err=True)
    if wrong:
        raise click.exceptions.Exit(FAILED)


@main.command()
@_out
def show(out: Path) -> None:
    """Print what happened in a run."""
    _show(out)


@main.command()
@_out
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Figure [OUT as .png].")
@_force
def plot(out: Path, output: Path | None, force: bool) -> None:
    """Draw the time courses of a run and a slice of its lattice."""
    figure = output or Path(out.parent, f"{out.stem}.png")
    _check_output(figure, force, record=out)
    _draw(out, figure)


@main.command()
@_out
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Page [OUT as .html, or report.html in it].",
)
@_force
def report(out: Path, output: Path | None, force: bool) -> None:
    """Write one HTML page about a run, or about a folder of runs; it needs no network.

    OUT is a record, or the folder of a trial, a campaign or any records.
    """
    from mst_abm.errors import RecordError

    if not out.exists():
        raise RecordError(
            f"{out}: expected a record or a folder of records, there is none; check the name."
        )
    page = output or (out.with_suffix(".html") if out.is_file() else out / "report.html")
    _check_output(page, force, record=out, what="page")
    if out.is_dir():
        from mst_abm.report.comparison import report_folder

        report_folder(out, page)
    else:
        from mst_abm.report.story import report_run

        report_run(out, page)
    click.echo(f"page: {page}")


@main.command()
@_out
@click.option("-o", "--output", type=click.Path(path_type=Path), help=".mp4 or .gif [OUT as .mp4].")
@click.option("--compartment", metavar="NAME", help="Lattice to show [the first].")
@click.option("--fps", type=click.FloatRange(0.1, 60), default=5.0, show_default=True)
@_force
def movie(out: Path, output: Path | None, compartment: str | None, fps: float, force: bool) -> None:
    """Film the snapshots of a run: a plane of its lattice beside the time courses."""
    from mst_abm.records.reader import open_run
    from mst_abm.report.movie import film

    place = output or out.with_suffix(".mp4")
    _check_output(place, force, record=out, what="movie")
    with open_run(out) as record:
        n = film(record, place, compartment=compartment, per_second=fps)
    click.echo(f"movie: {place} ({n} frames)")


@main.command()
@_out
@click.option(
    "--to", "form", required=True, metavar="FORMAT", help="vtkhdf, csv, parquet, anndata or tskit."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="File or folder [beside OUT]."
)
@click.option(
    "--table", "tables", multiple=True, help="Only this one, of csv and parquet. Repeatable."
)
@click.option(
    "--frame", type=int, default=-1, show_default=True, help="Snapshot, of anndata and tskit."
)
@_force
def export(
    out: Path, form: str, output: Path | None, tables: tuple[str, ...], frame: int, force: bool
) -> None:
    """Write a run in a format of others: ParaView, tables, single cells, trees of descent."""
    from mst_abm.report.export import export as write

    for path in write(out, form, output, tables=tables, frame=frame, force=force):
        click.echo(f"written: {path}")


@main.command()
@_file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@click.option("--patients", type=click.IntRange(1), help="How many, instead of the trial's.")
@click.option("--arm", "arms", multiple=True, help="Only this arm. Repeatable.")
@click.option(
    "--replicates-needed", "wanted", multiple=True, metavar="ENDPOINT=HALF",
    help="Say how many patients, or how large a patch, an interval of this half-width needs: "
    "remission=0.1, neutrophil_recovery='1 d'. Repeatable.",
)  # fmt: skip
@_anywhere
@_engine
def trial(
    file: Path,
    output: Path | None,
    patients: int | None,
    arms: tuple[str, ...],
    wanted: tuple[str, ...],
    where: dict[str, Any],
    engine: Engine,
) -> None:
    """Send the same virtual patients through every arm and compare with what was observed.

    Writes one record per patient and arm, tables (endpoints.csv by patient; targets.csv, arms.csv,
    differences.csv and tests.csv with intervals) and figures. Run again, it does only what is missing.
    """
    from mst_abm.report.targets import targets_text
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.trial import TABLE, run_trial
    from mst_abm.scenario.trial import load_trial

    plan = load_trial(file)
    known = [arm.name for arm in plan.arms]
    for name in arms:
        if name not in known:
            raise click.BadParameter(
                f"expected one of {', '.join(known)}, got {name}", param_hint="--arm"
            )
    widths = dict(_half_width(text) for text in wanted)
    folder = output or Path(plan.name)
    with (
        _Count(plan.name, "patient") as progress,
        Signals() as signals,
        _pool(folder, None, **where) as pool,
    ):
        found = run_trial(
            plan,
            folder,
            patients=patients,
            arms=arms,
            pool=pool,
            signals=signals,
            progress=progress,
            engine=engine,
        )
    click.echo(targets_text(plan, found), nl=False)
    click.echo(f"table: {folder / TABLE}")
    _say_findings(plan, found, folder, widths)
    click.echo("A research instrument; nothing here is advice on treating patients.")


def _half_width(text: str) -> tuple[str, tuple[float, str]]:
    """``NAME=NUMBER`` or ``NAME=NUMBER UNIT``."""
    name, _, written = text.partition("=")
    number, _, unit = written.strip().partition(" ")
    try:
        half = float(number)
    except ValueError:
        half = 0.0
    if not name or not 0.0 < half < float("inf"):
        message = (
            f"expected ENDPOINT=HALF, as remission=0.1 or 'neutrophil_recovery=1 d', got {text}"
        )
        raise click.BadParameter(message, param_hint="--replicates-needed")
    return name.strip(), (half, unit.strip())


def _say_findings(
    plan: Any, found: Any, folder: Path, widths: dict[str, tuple[float, str]]
) -> None:
    """Intervals, tests and figures of the arms; without the extra of statistics one sentence says so."""
    from mst_abm.errors import MissingPackageError
    from mst_abm.report.arms import (
        draw_findings,
        findings,
        findings_text,
        needs,
        needs_text,
        write_findings,
    )
    from mst_abm.runs.trial import records_of

    try:
        result = findings(plan, found, records_of(folder))
    except MissingPackageError as error:
        if widths:
            raise
        click.echo(str(error))
        return
    files = [*write_findings(plan, found, result, folder), *draw_findings(plan, result, folder)]
    click.echo(f"\n{findings_text(plan, result)}", nl=False)
    if widths:
        click.echo(f"\n{needs_text(needs(plan, result, widths))}", nl=False)
    click.echo(f"also: {', '.join(file.name for file in files)}")


@main.command()
@_file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@click.option("--replicates", type=click.IntRange(1), help="Of every point, not the file's.")
@click.option("--plan", "plans_only", is_flag=True, help="Plan it for `work`, run nothing.")
@_anywhere
@_again
def sweep(
    file: Path,
    output: Path | None,
    replicates: int | None,
    plans_only: bool,
    again: bool,
    where: dict[str, Any],
) -> None:
    """Ask a question of many points: a grid, a Latin hypercube, Sobol, Morris, or mechanisms taken out.

    The points are a campaign, run as `ensemble` does: only what is missing. Writes endpoints by point and
    indices, all with intervals, and a figure.
    """
    from mst_abm.report.sweep import sweep_text, write_sweep
    from mst_abm.runs.sweep import outcomes, plan_sweep
    from mst_abm.scenario.sweep import load_sweep

    asked = load_sweep(file)
    plan = plan_sweep(asked, output or Path(asked.name), replicates=replicates)
    campaign = plan.campaign
    if not plans_only:
        _work(campaign, range(len(campaign.shards)), again, **where)
    _told(campaign)
    if plans_only:
        return
    found = outcomes(plan)
    click.echo(f"\n{sweep_text(plan, found)}", nl=False)
    click.echo(
        f"also: {', '.join(str(path) for path in write_sweep(plan, found, campaign.folder))}"
    )
    click.echo("A research instrument; nothing here is advice on treating patients.")


@main.command()
@_file
@_set
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write [the screen].")
@_force
def odd(file: Path, overrides: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Describe a scenario by the ODD protocol, with tables of all parameters, in Markdown."""
    from mst_abm.report.odd import odd_text, write_odd
    from mst_abm.scenario import load_scenario

    scenario = load_scenario(file, overrides=overrides)
    if output is None:
        click.echo(odd_text(scenario), nl=False)
        return
    _check_output(output, force, record=file, what="description")
    write_odd(scenario, output)
    click.echo(f"description: {output}")


@main.command()
def schema() -> None:
    """Print the JSON Schema of scenario and model files, for editors."""
    import json

    from mst_abm.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _every(checkpoint: str | None) -> tuple[str, ...]:
    """The override that a time between checkpoints stands for."""
    return () if checkpoint is None else (f"run.checkpoint={checkpoint}",)


def _record(scenario: Scenario, path: Path, **options: Any) -> None:
    """Run into a file with a progress bar; what a cluster sends before it kills leaves a checkpoint."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.to_file import run_to_file

    bar = _Bar(scenario.name, scenario.run.until_h)
    # means are not gone on with but computed again
    later = nullcontext() if options.get("engine") == "mean-field" else _goes_on_later(path)
    with later, Signals() as signals, bar as progress:
        run_to_file(scenario, path, progress=progress, signals=signals, notice=_notice, **options)


def _notice(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _goes_on_later(path: Path) -> Iterator[None]:
    """Say after an interruption how the run is gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        if path.exists():
            click.echo(f"{path}: holds everything up to the interruption.", err=True)
            click.echo(f"Go on with: mst-abm resume {path}", err=True)
        raise


class _Bar:
    """A progress bar in simulated days with cells and events per second."""

    def __init__(self, name: str, until_h: float) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=until_h / 24,
            desc=name,
            file=sys.stderr,
            bar_format="{desc} {percentage:3.0f}%|{bar}| day {n:.1f} of {total:.1f}, "
            "{remaining} left{postfix}",
            disable=None,
        )

    def __enter__(self) -> Callable[[Progress], None]:
        return self.update

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, progress: Progress) -> None:
        rate = progress.n_events / max(progress.seconds, 1e-9)
        self._bar.set_postfix_str(f"{progress.n_cells:,} cells, {rate:.3g} events/s", refresh=False)
        self._bar.update(progress.time_h / 24 - self._bar.n)


class _Count:
    """A progress bar over things done, with the time left."""

    def __init__(self, name: str, unit: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=name, unit=unit, file=sys.stderr, disable=None)

    def __enter__(self) -> Callable[[int, int], None]:
        return self.update

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)


def _show(path: Path) -> None:
    from mst_abm.records.reader import open_run
    from mst_abm.report.summary import summary

    with open_run(path) as record:
        click.echo(summary(record), nl=False)


def _check_record(path: Path, force: bool) -> None:
    """Refuse before any work, compiling among it, what could not be written."""
    from mst_abm.records.writer import refuse_place

    refuse_place(path, force=force)


def _check_output(path: Path, force: bool, *, record: Path, what: str = "figure") -> None:
    """Refuse before any work what could not be written afterwards."""
    from mst_abm.records.places import refuse_output

    refuse_output(path, force=force, record=record, what=what)


def _draw(path: Path, output: Path) -> None:
    from mst_abm.records.reader import open_run
    from mst_abm.report.figure import draw

    with open_run(path) as record:
        draw(record, output)
    click.echo(f"figure: {output}")


if __name__ == "__main__":
    main()
