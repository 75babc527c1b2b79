"""Commands that ask a question of many runs: trials, sweeps, calibrations and hypotheses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mst_abm.cli import options
from mst_abm.cli.campaigns import pool_of, tell_status, work_at
from mst_abm.cli.showing import Count

if TYPE_CHECKING:
    from mst_abm.runs.to_file import Engine


@click.command()
@options.file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@click.option("--patients", type=click.IntRange(1), help="How many, instead of the trial's.")
@click.option("--arm", "arms", multiple=True, help="Only this arm. Repeatable.")
@click.option(
    "--replicates-needed", "wanted", multiple=True, metavar="ENDPOINT=HALF",
    help="Say how many patients, or how large a patch, an interval of this half-width needs: "
    "remission=0.1, neutrophil_recovery='1 d'. Repeatable.",
)  # fmt: skip
@options.anywhere
@options.engine
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
        Count(plan.name, "patient") as progress,
        Signals() as signals,
        pool_of(folder, None, **where) as pool,
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


@click.command()
@options.file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@click.option("--replicates", type=click.IntRange(1), help="Of every point, not the file's.")
@click.option("--plan", "plans_only", is_flag=True, help="Plan it for `work`, run nothing.")
@options.anywhere
@options.again
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
        work_at(campaign, range(len(campaign.shards)), again, **where)
    tell_status(campaign)
    if plans_only:
        return
    found = outcomes(plan)
    click.echo(f"\n{sweep_text(plan, found)}", nl=False)
    click.echo(
        f"also: {', '.join(str(path) for path in write_sweep(plan, found, campaign.folder))}"
    )
    click.echo("A research instrument; nothing here is advice on treating patients.")


@click.command()
@options.file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@options.anywhere
def calibrate(file: Path, output: Path | None, where: dict[str, Any]) -> None:
    """Find parameter sets that agree with targets of a trial; targets that are not fitted are predicted.

    Writes all sets, the accepted ones (for `ensemble --over`), what they say of each number and target, and a figure.
    Run again, it goes on where it was stopped.
    """
    from mst_abm.report.calibration import calibration_text, write_calibration
    from mst_abm.runs.calibrate import calibrate as run
    from mst_abm.runs.keeping import Signals
    from mst_abm.scenario.calibration import load_calibration

    plan = load_calibration(file)
    folder = output or Path(plan.name)
    with ExitStack() as counts, Signals() as signals, pool_of(folder, None, **where) as pool:

        def progress(name: str) -> Callable[[int, int], None]:
            return counts.enter_context(Count(f"{plan.name}, {name}", "patient"))

        found = run(plan, folder, pool, signals=signals, progress=progress)
    files = write_calibration(found, folder)
    click.echo(calibration_text(found), nl=False)
    click.echo(f"also: {', '.join(str(path) for path in files)}")
    click.echo("A research instrument; nothing here is advice on treating patients.")


@click.command()
@options.file
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [NAME].")
@options.anywhere
def identify(file: Path, output: Path | None, where: dict[str, Any]) -> None:
    """Tell which mechanisms the targets of a trial need, and what to measure to tell the rest apart.

    Runs the trial under each hypothesis, a set of mechanisms that are on, and says which of them pass the targets, and which
    new measurement would best separate those that do. Run again, it does only what is missing.
    """
    from mst_abm.report.identification import identification_text, write_identification
    from mst_abm.runs.identify import identify as run
    from mst_abm.runs.keeping import Signals
    from mst_abm.scenario.identification import load_identification

    asked = load_identification(file)
    folder = output or Path(asked.name)
    with (
        Count(asked.name, "patient") as progress,
        Signals() as signals,
        pool_of(folder, None, **where) as pool,
    ):
        found = run(asked, folder, pool, signals=signals, progress=progress)
    files = write_identification(found, folder)
    click.echo(identification_text(found), nl=False)
    click.echo(f"also: {', '.join(str(path) for path in files)}")
    click.echo("A research instrument; nothing here is advice on treating patients.")
