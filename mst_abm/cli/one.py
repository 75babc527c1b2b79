"""Commands about one scenario or one record."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mst_abm.cli import options
from mst_abm.cli.showing import (
    FAILED,
    Bar,
    draw_record,
    goes_on_later,
    notice,
    refuse_file,
    refuse_record,
    show_record,
)

if TYPE_CHECKING:
    from mst_abm.runs.to_file import Engine
    from mst_abm.scenario.definition import Scenario


@click.command()
@options.file
@options.overrides
def check(file: Path, overrides: tuple[str, ...]) -> None:
    """Read a scenario, say in English what it does and how large it is. Runs nothing."""
    from mst_abm.report.check import check_text
    from mst_abm.scenario import load_scenario

    click.echo(check_text(load_scenario(file, overrides=overrides)), nl=False)


@click.command()
@options.file
@options.output
@options.seed
@options.overrides
@options.force
@options.threads
@options.checkpoint
@options.engine
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

    scenario = load_scenario(file, overrides=(*overrides, *options.every(checkpoint)))
    path = output or Path(f"{scenario.name}.h5")
    refuse_record(path, force)
    figure = path.with_suffix(".png")
    if not no_figure:
        refuse_file(figure, force, record=path)
    _record(scenario, path, force=force, seed=seed, threads=threads, engine=engine)
    show_record(path)
    if not no_figure:
        draw_record(path, figure)


@click.command()
@options.out
@options.threads
def resume(out: Path, threads: int) -> None:
    """Go on with a run that was stopped or killed, to the bits of one that was not."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.resuming import read_recorded
    from mst_abm.runs.resuming import resume as go_on

    scenario = read_recorded(out).scenario
    bar = Bar(scenario.name, scenario.run.until_h)
    with goes_on_later(out), Signals() as signals, bar as progress:
        go_on(out, threads=threads, progress=progress, signals=signals, notice=notice)
    show_record(out)


@click.command()
@options.out
@click.option("--at", required=True, metavar="TIME", help="When the arm branches off, as '21 d'.")
@options.overrides
@options.output
@options.force
@options.threads
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
    bar = Bar(scenario.name, scenario.run.until_h)
    with goes_on_later(path), Signals() as signals, bar as progress:
        branch(
            out,
            path,
            at_h=quantity(at, "time"),
            overrides=overrides,
            force=force,
            threads=threads,
            progress=progress,
            signals=signals,
            notice=notice,
        )
    show_record(path)


@click.command()
@options.out
@click.option("--to", metavar="TIME", help="Run once more up to there and compare, as '3 d'.")
@click.option("--from", "start", default="0 h", metavar="TIME", help="Begin at a checkpoint.")
@options.threads
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


@click.command()
@options.out
def show(out: Path) -> None:
    """Print what happened in a run."""
    show_record(out)


@click.command()
@options.out
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Figure [OUT as .png].")
@options.force
def plot(out: Path, output: Path | None, force: bool) -> None:
    """Draw the time courses of a run and a slice of its lattice."""
    figure = output or Path(out.parent, f"{out.stem}.png")
    refuse_file(figure, force, record=out)
    draw_record(out, figure)


@click.command()
@options.out
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Page [OUT as .html, or report.html in it].",
)
@options.force
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
    refuse_file(page, force, record=out, what="page")
    if out.is_dir():
        from mst_abm.report.comparison import report_folder

        report_folder(out, page)
    else:
        from mst_abm.report.story import report_run

        report_run(out, page)
    click.echo(f"page: {page}")


@click.command()
@options.out
@click.option("-o", "--output", type=click.Path(path_type=Path), help=".mp4 or .gif [OUT as .mp4].")
@click.option("--compartment", metavar="NAME", help="Lattice to show [the first].")
@click.option("--fps", type=click.FloatRange(0.1, 60), default=5.0, show_default=True)
@options.force
def movie(out: Path, output: Path | None, compartment: str | None, fps: float, force: bool) -> None:
    """Film the snapshots of a run: a plane of its lattice beside the time courses."""
    from mst_abm.records.reader import open_run
    from mst_abm.report.movie import film

    place = output or out.with_suffix(".mp4")
    refuse_file(place, force, record=out, what="movie")
    with open_run(out) as record:
        n = film(record, place, compartment=compartment, per_second=fps)
    click.echo(f"movie: {place} ({n} frames)")


@click.command()
@options.out
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
@options.force
def export(
    out: Path, form: str, output: Path | None, tables: tuple[str, ...], frame: int, force: bool
) -> None:
    """Write a run in a format of others: ParaView, tables, single cells, trees of descent."""
    from mst_abm.report.export import export as write

    for path in write(out, form, output, tables=tables, frame=frame, force=force):
        click.echo(f"written: {path}")


@click.command()
@options.file
@options.overrides
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write [the screen].")
@options.force
def odd(file: Path, overrides: tuple[str, ...], output: Path | None, force: bool) -> None:
    """Describe a scenario by the ODD protocol, with tables of all parameters, in Markdown."""
    from mst_abm.report.odd import odd_text, write_odd
    from mst_abm.scenario import load_scenario

    scenario = load_scenario(file, overrides=overrides)
    if output is None:
        click.echo(odd_text(scenario), nl=False)
        return
    refuse_file(output, force, record=file, what="description")
    write_odd(scenario, output)
    click.echo(f"description: {output}")


@click.command()
def schema() -> None:
    """Print the JSON Schema of scenario and model files, for editors."""
    import json

    from mst_abm.scenario import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _record(scenario: Scenario, path: Path, **options: Any) -> None:
    """Run into a file with a progress bar; what a cluster sends before it kills leaves a checkpoint."""
    from mst_abm.runs.keeping import Signals
    from mst_abm.runs.to_file import run_to_file

    bar = Bar(scenario.name, scenario.run.until_h)
    # means are not gone on with but computed again
    later = nullcontext() if options.get("engine") == "mean-field" else goes_on_later(path)
    with later, Signals() as signals, bar as progress:
        run_to_file(scenario, path, progress=progress, signals=signals, notice=notice, **options)
