"""The command line `visionseg`."""

from __future__ import annotations

import click

from visionseg.commands.jobs import jobs
from visionseg.commands.keys import keys
from visionseg.commands.programs import api, migrate, worker
from visionseg.commands.up import up
from visionseg.commands.weights import weights


@click.group()
@click.version_option(package_name="visionseg")
def main() -> None:
    """Vision segmentation on your own machines: a picture or video in, masks out."""


for command in (up, keys, jobs, weights, migrate, api, worker):
    main.add_command(command)


if __name__ == "__main__":
    main()
