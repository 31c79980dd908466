"""Where the services of an installation are: told by the environment, or by a running `up`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import click

from visionseg.config import Settings, Storage
from visionseg.predictions.installation import Installation, assemble

FILE_NAME = "services.json"


def write_services(home: Path, environment: Mapping[str, str]) -> Path:
    """Lets other commands on this machine find what `up` started; for the owner's eyes only."""
    path = home / FILE_NAME
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dict(environment), file)
    return path


def open_installation() -> Installation:
    """The installation that the environment names, or that `visionseg up` runs in its home.

    Raises `click.ClickException`, saying what to do, where there is neither.
    """
    path = Storage().home / FILE_NAME
    if not Settings().services.database_url and path.exists():
        told: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        for name, value in told.items():
            os.environ.setdefault(name, value)
    try:
        return assemble(Settings(), "visionseg command")
    except ValueError as error:
        raise click.ClickException(str(error)) from error
