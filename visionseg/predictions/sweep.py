"""The sweeper: puts right what crashes, lost messages and passing time leave behind.

It runs as a thread in every API process and worker parent; an advisory lock elects one of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import text

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.predictions.announce import announce
from visionseg.predictions.deliver import free_lost
from visionseg.predictions.finish import end_failed, lose
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane
from visionseg.records import (
    audit,
    deliveries,
    files,
    idempotency,
    predictions,
    shares,
    turns,
    units,
    workers,
)

log = structlog.get_logger(__name__)
LOCK = 0x76735F7377656570  # "vs_sweep"
BATCH = 200
HINTS_PER_LANE = 8
LONGEST_ROUND_S = 60


def sweep(installation: Installation) -> None:
    """One round, unless another process is at it: leases, deadlines, webhooks, files, hints."""
    with _elected(installation) as elected:
        if not elected:
            return
        free_expired_leases(installation)
        fail_overdue(installation)
        release_held(installation)
        free_lost(installation, BATCH)
        delete_expired_files(installation)
        with installation.database.begin() as connection:
            workers.forget_old(connection)
            shares.add_missing(connection)
            turns.name_keys(connection)
            audit.forget_old(connection, installation.settings.storage.audit_keep_s)
            idempotency.forget_all_old(connection, installation.settings.limits.idempotency_keep_s)
            turns.count_backlog(connection)
            ready = turns.ready_units(connection)
            backlog = {**ready, Lane.DELIVERY: deliveries.count_due(connection)}
    for lane, count in backlog.items():
        installation.hints.wake(Lane(lane), min(count, HINTS_PER_LANE))


@contextmanager
def _elected(installation: Installation) -> Iterator[bool]:
    """Held in a transaction, so that a process frozen in the middle does not stay elected."""
    with installation.database.begin() as connection:
        limit = f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_ROUND_S}s'"
        connection.execute(text(limit))
        lock = text("SELECT pg_try_advisory_xact_lock(:key)")
        yield bool(connection.execute(lock, {"key": LOCK}).scalar_one())


def free_expired_leases(installation: Installation) -> None:
    """Takes units away from holders that fell silent."""
    with installation.database.connect() as connection:
        claims = units.expired(connection, BATCH)
    for claim in claims:
        if lose(installation, claim):
            log.warning(
                "lease_expired",
                prediction_id=claim.prediction_id,
                unit=claim.kind,
                attempt=claim.attempt,
                owner=claim.owner,
            )


def fail_overdue(installation: Installation) -> None:
    """Fails the open predictions whose deadline has passed."""
    with installation.database.connect() as connection:
        overdue = predictions.overdue(connection, BATCH)
    for prediction_id in overdue:
        with installation.database.begin() as connection:
            refusal = Refusal(ErrorCode.DEADLINE_EXCEEDED)
            ended = end_failed(connection, installation, prediction_id, refusal)
        if ended is not None:
            announce(installation, ended)


def release_held(installation: Installation) -> None:
    """Closes final predictions that nobody works on any more."""
    with installation.database.connect() as connection:
        held = predictions.held(connection, BATCH)
    for prediction_id in held:
        with installation.database.begin() as connection:
            predictions.lock(connection, prediction_id)
            predictions.release(connection, prediction_id)


def delete_expired_files(installation: Installation) -> None:
    """Deletes files past their time; their rows stay, so that who asks hears that they are gone.

    One that another row names, whose time is not over, stays on the disk.
    """
    with installation.database.begin() as connection:
        for store_key in files.take_expired(connection, BATCH):
            installation.store.delete(store_key)


class Every:
    """Runs a step every `interval_s` in a thread until closed; a step that fails is told."""

    def __init__(self, step: Callable[[], None], interval_s: float, name: str) -> None:
        self._step = step
        self._interval_s = interval_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; the first step runs at once."""
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Stops after the step that runs."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - the next round tries again, whatever it was
                log.warning("step_failed", step=self._thread.name, error=str(error))
            if self._closing.wait(self._interval_s):
                return


def sweeper(installation: Installation) -> Every:
    """A sweeper thread, not yet started."""

    def step() -> None:
        sweep(installation)

    return Every(step, installation.settings.lease.sweep_s, "sweeper")
