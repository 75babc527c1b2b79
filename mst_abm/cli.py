"""The command line: words typed by people become one library call each.

Everything but click is imported inside the commands, so that ``--help`` is quick. No decision about
a run is made here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mst_abm.version import __version__

if TYPE_CHECKING:
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
        _check_figure(figure, force, record=path)
    _record(scenario, path, force=force, seed=seed, threads=threads, engine=engine)
    _show(path)
    if not no_figure:
        _draw(path, figure)


@main.command()
@_file
@click.option("--replicates", type=click.IntRange(1), required=True, help="Number of replicates.")
@click.option("--first-replicate", type=click.IntRange(0), default=0, show_default=True)
@_output
@_seed
@_set
@_force
@_threads
@_checkpoint
def ensemble(
    file: Path,
    replicates: int,
    first_replicate: int,
    output: Path | None,
    seed: int | None,
    overrides: tuple[str, ...],
    force: bool,
    threads: int,
    checkpoint: str | None,
) -> None:
    """Run many replicates of one scenario into one file."""
    from mst_abm.scenario import load_scenario

    scenario = load_scenario(file, overrides=(*overrides, *_every(checkpoint)))
    path = output or Path(f"{scenario.name}.h5")
    _check_record(path, force)
    _record(
        scenario,
        path,
        force=force,
        seed=seed,
        threads=threads,
        replicates=replicates,
        first_replicate=first_replicate,
    )
    _show(path)


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
    _check_figure(figure, force, record=out)
    _draw(out, figure)


@main.command()
@_file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@click.option("--patients", type=click.IntRange(1), help="How many, instead of the trial's.")
@click.option("--arm", "arms", multiple=True, help="Only this arm. Repeatable.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@_engine
def trial(
    file: Path,
    output: Path | None,
    patients: int | None,
    arms: tuple[str, ...],
    workers: int,
    engine: Engine,
) -> None:
    """Send the same virtual patients through every arm and compare with what was observed.

    Writes one record per patient and arm and a table endpoints.csv. Run again, it does only what is
    missing.
    """
    from mst_abm.report.targets import targets_text
    from mst_abm.runs.trial import TABLE, run_trial
    from mst_abm.scenario.trial import load_trial

    plan = load_trial(file)
    known = [arm.name for arm in plan.arms]
    for name in arms:
        if name not in known:
            raise click.BadParameter(
                f"expected one of {', '.join(known)}, got {name}", param_hint="--arm"
            )
    folder = output or Path(plan.name)
    with _Count(plan.name, "patient") as progress:
        found = run_trial(
            plan,
            folder,
            patients=patients,
            arms=arms,
            workers=workers,
            progress=progress,
            engine=engine,
        )
    click.echo(targets_text(plan, found), nl=False)
    click.echo(f"table: {folder / TABLE}")
    click.echo("A research instrument; nothing here is advice on treating patients.")


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


def _check_figure(path: Path, force: bool, *, record: Path) -> None:
    """Refuse before any work what could not be written afterwards."""
    from mst_abm.errors import RecordError

    if path == record:
        raise RecordError(
            f"{path}: expected different names for the record and its figure; end the record's in .h5."
        )
    if not path.parent.is_dir():
        raise RecordError(f"{path}: expected an existing folder for the figure; make it first.")
    if path.exists() and not force:
        raise RecordError(
            f"{path}: this figure exists and is never overwritten unasked; choose another name, "
            "or use --force."
        )
    if path.exists():
        from mst_abm.report.figure import is_figure

        if not is_figure(path):
            raise RecordError(
                f"{path}: this is no figure of mst_abm and is not replaced even with --force; choose "
                "another name or move it away."
            )


def _draw(path: Path, output: Path) -> None:
    from mst_abm.records.reader import open_run
    from mst_abm.report.figure import draw

    with open_run(path) as record:
        draw(record, output)
    click.echo(f"figure: {output}")


if __name__ == "__main__":
    main()
