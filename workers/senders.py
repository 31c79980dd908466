"""A worker process's senders of webhooks: threads, so that slow receivers wait beside others."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from visionseg.predictions.deliver import deliver_next, poster
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane
from visionseg.records import deliveries
from visionseg.records.engine import DATABASE_AWAY

log = structlog.get_logger(__name__)
SENDERS = 8


def send_for_a_turn(installation: Installation, owner: str, draining: Callable[[], bool]) -> None:
    """Sends what is due for about `turn_s`, or until nothing is; hints at what is left.

    A database that is away ends the turn; the sweeper's hints begin the next one.
    """
    settings = installation.settings
    until = time.monotonic() + settings.lease.turn_s
    post = poster(installation)

    def send() -> None:
        while time.monotonic() < until and not draining():
            if not deliver_next(installation, post, owner):
                return

    try:
        with installation.database.connect() as connection:
            threads = min(deliveries.count_due(connection), SENDERS, settings.services.pool_size)
        if threads:
            with ThreadPoolExecutor(threads, "sender") as pool:
                ends = [pool.submit(send) for _ in range(threads)]
            _tell_broken(ends)
            _hint_at_rest(installation)
    except DATABASE_AWAY as error:
        log.warning("turn_broken_off", error=str(error))


def _tell_broken(ends: list[Future[None]]) -> None:
    """A sender that broke leaves its delivery to the sweeper; the others went on."""
    for end in ends:
        if (error := end.exception()) is not None:
            log.error("sender_broke", exc_info=error)


def _hint_at_rest(installation: Installation) -> None:
    with installation.database.connect() as connection:
        left = deliveries.count_due(connection)
    if left:
        installation.hints.wake(Lane.DELIVERY)
