"""A worker: a Celery parent that keeps its children, tells that it lives, and sweeps."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery
from celery.apps.worker import Worker as WorkController
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from visionseg.config import Settings, installed_version
from visionseg.contract.ids import WorkerId, new_worker_id
from visionseg.predictions.finish import lose
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.orphans import delete_orphans
from visionseg.predictions.sweep import Every, sweeper
from visionseg.queue.app import make_app
from visionseg.queue.lanes import Lane
from visionseg.records import units, workers
from visionseg.telemetry.logs import set_up_logs
from workers.hosts import owner_is_alive, this_host
from workers.pulse import Pulses
from workers.tasks import LANES_VARIABLE, MODELS_VARIABLE, PULSES_VARIABLE

log = structlog.get_logger(__name__)
BEAT_EVERY_S = 5.0
REAP_EVERY_S = 0.5
SILENT_PART = 2 / 3
"""A child that shows no pulse for this part of a lease is ended before the lease is."""
ORPHANS_EVERY_S = 600.0
OWNERS_AT_ONCE = 100


class Parent:
    """The threads of a worker's parent process, from before its children start to its end."""

    def __init__(
        self,
        installation: Installation,
        lanes: Sequence[Lane],
        processes: int = 1,
        models: Sequence[str] = (),
    ) -> None:
        self._installation = installation
        self._lanes = lanes
        self._models = models
        self._processes = processes
        self._host = this_host()
        self.id: WorkerId = new_worker_id()
        self.pulses = Pulses()
        self._threads = (
            sweeper(installation),
            Every(self.beat, BEAT_EVERY_S, "beat"),
            Every(self.reap, REAP_EVERY_S, "reaper"),
            Every(self.end_stalled, REAP_EVERY_S, "stall watch"),
            Every(self.delete_orphans, ORPHANS_EVERY_S, "orphans"),
        )

    def start(self) -> None:
        """Begins to sweep, to tell that this worker lives, and to free dead children's units."""
        self.beat()
        for thread in self._threads:
            thread.start()

    def beat(self) -> None:
        """Writes the worker's row anew; whoever set its `draining` has it stop."""
        with self._installation.database.begin() as connection:
            draining = workers.beat(
                connection,
                self.id,
                host=self._host,
                pid=os.getpid(),
                lanes=[lane.value for lane in self._lanes],
                engines=list(self._models),
                version=installed_version(),
                processes=self._processes,
            )
        if draining:
            self.pulses.stop()

    def reap(self) -> None:
        """Frees the units of processes of this host that died, without waiting for the lease."""
        with self._installation.database.connect() as connection:
            claims = units.owned_by_host(connection, self._host, OWNERS_AT_ONCE)
        for claim in claims:
            if not owner_is_alive(claim.owner) and lose(self._installation, claim):
                log.warning("dead_owner_reaped", prediction_id=claim.prediction_id, unit=claim.kind)

    def delete_orphans(self) -> None:
        """Deletes stored files that no row names and that are too old to be named yet."""
        delete_orphans(self._installation)

    def end_stalled(self) -> None:
        """Kills the children in which nothing can run any more: frozen, or their lock kept."""
        for pid in self.pulses.silent(self._installation.settings.lease.lease_s * SILENT_PART):
            log.error("stalled_child_killed", pid=pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def drain(self) -> None:
        """Tells the children to give their units back and take no more, and all who look."""
        self.pulses.stop()
        with self._installation.database.begin() as connection:
            workers.drain(connection, self.id)

    def close(self) -> None:
        """Ends the threads and takes the worker's row away."""
        for thread in self._threads:
            thread.close()
        self.pulses.close()
        with self._installation.database.begin() as connection:
            workers.leave(connection, self.id)
        self._installation.close()


def run_worker(
    settings: Settings, lanes: Sequence[Lane], processes: int, models: Sequence[str]
) -> int:
    """Runs a worker of so many processes in the foreground until SIGTERM or SIGINT.

    Each process loads all of the models. SIGTERM gives unfinished units back; they count as no
    attempt. Returns the exit status.
    """
    set_up_logs()
    parent = Parent(assemble(settings, "visionseg worker parent"), lanes, processes, models)
    os.environ[LANES_VARIABLE] = ",".join(lanes)
    os.environ[MODELS_VARIABLE] = ",".join(models)
    os.environ[PULSES_VARIABLE] = str(parent.pulses.folder)
    app = make_app(settings.services.broker_url, publisher=False, include=("workers.tasks",))
    parent.start()
    _connect_signals(parent)
    worker = _celery_worker(app, lanes, processes)
    worker.start()
    return int(worker.exitcode or 0)


def _celery_worker(app: Celery, lanes: Sequence[Lane], processes: int) -> WorkController:
    worker: WorkController = app.Worker(
        hostname=f"{'-'.join(lanes)}-{os.getpid()}@visionseg",
        queues=[lane.value for lane in lanes],
        pool="prefork",
        concurrency=processes,
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        optimization="fair",
        quiet=True,
    )
    return worker


def _connect_signals(parent: Parent) -> None:
    def ready(**_: Any) -> None:  # noqa: ANN401 - Celery's signal
        log.info("worker_ready", worker_id=parent.id)

    def shutting_down(**_: Any) -> None:  # noqa: ANN401 - Celery's signal
        parent.drain()

    def shut_down(**_: Any) -> None:  # noqa: ANN401 - Celery's signal
        parent.close()

    worker_ready.connect(ready, weak=False)
    worker_shutting_down.connect(shutting_down, weak=False)
    worker_shutdown.connect(shut_down, weak=False)
