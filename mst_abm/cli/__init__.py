"""The command line: words typed by people become one library call each.

Everything but click is imported inside the commands, so that ``--help`` is quick. No decision about
a run is made here.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from mst_abm.cli import campaigns, one, questions
from mst_abm.cli.showing import FAILED
from mst_abm.version import __version__

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


for _room in (one, campaigns, questions):
    for _command in vars(_room).values():
        if isinstance(_command, click.Command):
            main.add_command(_command)
