"""`visionseg jobs`: what died, and sending it again."""

from __future__ import annotations

from contextlib import closing

import click

from visionseg.commands.running import open_installation
from visionseg.contract.errors import Refusal
from visionseg.contract.ids import PredictionId
from visionseg.predictions.again import dead_letters, send_again


@click.group()
def jobs() -> None:
    """Lists dead letters and sends them again."""


@jobs.command()
def dead() -> None:
    """Lists the predictions whose workers died too often."""
    with closing(open_installation()) as installation:
        for row in dead_letters(installation):
            click.echo(f"{row.id}  {row.kind}  {row.completed_at:%Y-%m-%d %H:%M}  {row.error}")


@jobs.command()
@click.argument("prediction_id")
def retry(prediction_id: str) -> None:
    """Makes a new prediction from a failed or canceled one and prints its id."""
    with closing(open_installation()) as installation:
        try:
            click.echo(send_again(installation, PredictionId(prediction_id)))
        except Refusal as refusal:
            raise click.ClickException(f"{prediction_id}: {refusal.detail}") from refusal
