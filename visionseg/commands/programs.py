"""`visionseg api`, `visionseg worker` and `visionseg migrate`: the parts of an installation."""

from __future__ import annotations

import os
import sys
from contextlib import closing

import click

from visionseg.commands.running import open_installation
from visionseg.queue.lanes import Lane
from visionseg.records.schema import current_revision
from visionseg.records.schema import migrate as bring_up_to_date

LANES = ",".join(Lane)


def _become(*command: str) -> None:
    """Replaces this process, so that signals reach the program itself."""
    os.execv(sys.executable, [sys.executable, "-m", *command])  # noqa: S606 - no shell is wanted


@click.command()
def api() -> None:
    """Runs the HTTP API in the foreground."""
    _become("api")


@click.command()
@click.option("--lanes", default=LANES, show_default=True, help="Served in this order.")
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256))
@click.option("--models", default="", help="Comma separated; all that are served, if not told.")
def worker(lanes: str, processes: int, models: str) -> None:
    """Runs a worker in the foreground; SIGTERM gives unfinished work back."""
    _become("workers", "--lanes", lanes, "--processes", str(processes), "--models", models)


@click.command()
def migrate() -> None:
    """Brings the database's schema to the newest revision."""
    with closing(open_installation()) as installation:
        bring_up_to_date(installation.database)
        with installation.database.connect() as connection:
            click.echo(f"the schema is at revision {current_revision(connection)}")
