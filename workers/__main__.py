"""`python -m workers`: one worker in the foreground."""

from __future__ import annotations

import sys

import click

from visionseg.artifacts.weights import WeightsError
from visionseg.config import read_settings
from visionseg.contract.models import LITE
from visionseg.predictions.engines import served
from visionseg.queue.lanes import GPU_LANES, Lane
from workers.app import run_worker
from workers.media.jail.confine import Unconfined, insist_on_walls
from workers.segmenters.sam3.loading import check


@click.command()
@click.option("--lanes", required=True)
@click.option("--processes", default=1, type=click.IntRange(1, 256))
@click.option("--models", default="")
def main(lanes: str, processes: int, models: str) -> None:
    """Runs a worker that serves the lanes in their order, with the models named or with all."""
    try:
        wanted = [Lane(name) for name in lanes.split(",")]
    except ValueError as error:
        names = ", ".join(Lane)
        raise click.BadParameter(f"{error}; there are: {names}") from error
    settings = read_settings()
    loaded = chosen(models, served(settings.models)) if set(wanted) & set(GPU_LANES) else ()
    try:
        if settings.limits.jail == "require":
            insist_on_walls()
        for name in set(loaded) - {LITE}:
            check(settings.models, name)
    except (Unconfined, WeightsError) as error:
        raise click.ClickException(str(error)) from error
    sys.exit(run_worker(settings, wanted, processes, loaded))


def chosen(models: str, here: tuple[str, ...]) -> tuple[str, ...]:
    """The models that the worker loads; raises where one is not served here."""
    names = tuple(name.strip() for name in models.split(",") if name.strip())
    for name in names:
        if name not in here:
            raise click.BadParameter(f"{name} is not served here; there are: {', '.join(here)}")
    return names or here


if __name__ == "__main__":
    main()
