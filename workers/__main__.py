"""`python -m workers`: one worker in the foreground."""

from __future__ import annotations

import sys

import click

from visionseg.artifacts.weights import WeightsError
from visionseg.config import read_settings
from visionseg.queue.lanes import GPU_LANES, Lane
from workers.app import run_worker
from workers.media.jail.confine import Unconfined, insist_on_walls
from workers.segmenters.sam3.loading import check


@click.command()
@click.option("--lanes", required=True)
@click.option("--processes", default=1, type=click.IntRange(1, 256))
def main(lanes: str, processes: int) -> None:
    """Runs a worker that serves the lanes in their order."""
    try:
        wanted = [Lane(name) for name in lanes.split(",")]
    except ValueError as error:
        names = ", ".join(Lane)
        raise click.BadParameter(f"{error}; there are: {names}") from error
    settings = read_settings()
    try:
        if settings.limits.jail == "require":
            insist_on_walls()
        if settings.models.sam3_weights and set(wanted) & set(GPU_LANES):
            check(settings.models)
    except (Unconfined, WeightsError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(run_worker(settings, wanted, processes))


if __name__ == "__main__":
    main()
