"""What commands say while they work and afterwards, and what they refuse before."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mst_abm.runs.to_file import Progress

#: Exit code of what is refused, fails or is found wrong.
FAILED = 2


def notice(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def goes_on_later(path: Path) -> Iterator[None]:
    """Say after an interruption how the run is gone on with."""
    try:
        yield
    except KeyboardInterrupt:
        if path.exists():
            click.echo(f"{path}: holds everything up to the interruption.", err=True)
            click.echo(f"Go on with: mst-abm resume {path}", err=True)
        raise


class Bar:
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


class Count:
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


def show_record(path: Path) -> None:
    from mst_abm.records.reader import open_run
    from mst_abm.report.summary import summary

    with open_run(path) as record:
        click.echo(summary(record), nl=False)


def refuse_record(path: Path, force: bool) -> None:
    """Refuse before any work, compiling among it, what could not be written."""
    from mst_abm.records.writer import refuse_place

    refuse_place(path, force=force)


def refuse_file(path: Path, force: bool, *, record: Path, what: str = "figure") -> None:
    """Refuse before any work what could not be written afterwards."""
    from mst_abm.records.places import refuse_output

    refuse_output(path, force=force, record=record, what=what)


def draw_record(path: Path, output: Path) -> None:
    from mst_abm.records.reader import open_run
    from mst_abm.report.figure import draw

    with open_run(path) as record:
        draw(record, output)
    click.echo(f"figure: {output}")
