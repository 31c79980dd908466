"""The one Celery task, and what a pool process sets up before its first claim."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import structlog
from celery import shared_task
from celery.signals import worker_process_init, worker_process_shutdown

from visionseg.config import Settings, read_settings
from visionseg.predictions.installation import assemble
from visionseg.queue.app import LOOK
from visionseg.queue.lanes import Lane
from visionseg.telemetry.logs import set_up_logs
from workers.bench import Bench
from workers.hosts import owner_name
from workers.media import reading
from workers.media.limits import JailMode
from workers.pulse import is_to_stop, show_pulse
from workers.segmenters.base import Segmenter
from workers.segmenters.registry import ENGINES
from workers.senders import send_for_a_turn

log = structlog.get_logger(__name__)
LANES_VARIABLE = "VISIONSEG_WORKER_LANES"
MODELS_VARIABLE = "VISIONSEG_WORKER_MODELS"
PULSES_VARIABLE = "VISIONSEG_WORKER_PULSES"
_bench: list[Bench] = []


def _worker_lanes() -> list[Lane]:
    return [Lane(name) for name in os.environ[LANES_VARIABLE].split(",")]


def load_segmenters(settings: Settings) -> dict[str, Segmenter]:
    """The models that this process was told to load; none for the CPU lanes."""
    names = os.environ[MODELS_VARIABLE].split(",")
    return {name: ENGINES[name].load(settings.models) for name in names if name}


def open_bench(settings: Settings) -> Bench:
    """What this process works with, as its environment says; the model is loaded here."""
    lanes = _worker_lanes()
    if set(lanes) - {Lane.FETCH, Lane.DELIVERY}:
        reading.warm_up(JailMode(settings.limits.jail))
    installation = assemble(settings, "visionseg worker")
    parent = Path(os.environ[PULSES_VARIABLE])
    return Bench(
        installation=installation,
        lanes=lanes,
        owner=owner_name(),
        segmenters=load_segmenters(settings),
        draining=lambda: is_to_stop(parent),
    )


@worker_process_init.connect
def _start(**_: Any) -> None:  # noqa: ANN401 - Celery's signal
    set_up_logs()
    _bench.append(open_bench(read_settings()))
    show_pulse(Path(os.environ[PULSES_VARIABLE]))
    log.info("worker_process_ready", lanes=_bench[0].lanes, owner=_bench[0].owner)


@worker_process_shutdown.connect
def _stop(**_: Any) -> None:  # noqa: ANN401 - Celery's signal
    for bench in _bench:
        bench.warm.drop()
        bench.installation.close()
    _bench.clear()


@shared_task(name=LOOK, ignore_result=True)
def look() -> None:
    """Looks for work in this worker's lanes; the message that brings it here carries no id."""
    bench = _bench[0]
    bench.take_a_turn()
    if Lane.DELIVERY in bench.lanes:
        send_for_a_turn(bench.installation, bench.owner, bench.draining)
