"""Waking a lane: a hint that may be lost, doubled or late without harm."""

from __future__ import annotations

import queue
import threading
from collections import Counter

import structlog
from celery import Celery

from visionseg.queue.app import LOOK
from visionseg.queue.lanes import Lane

log = structlog.get_logger(__name__)
BACKLOG = 1000
MOST_WAITING = 200
"""Of one lane in the broker: a look finds all there is, so more would only fill its memory."""
UNASKED = 20
"""So many are sent before the broker is asked again how many wait."""


class Hints:
    """Publishes hints from a thread of its own, so that a frozen broker delays nobody."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._waiting: queue.SimpleQueue[Lane | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._room: Counter[Lane] = Counter()

    def wake(self, lane: Lane, times: int = 1) -> None:
        """Hints at a lane; returns at once.

        Hints beyond a thousand unsent ones are dropped, and those at a lane in whose queue two
        hundred wait already.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="hints", daemon=True)
                self._thread.start()
        for _ in range(times):
            if self._waiting.qsize() < BACKLOG:
                self._waiting.put(lane)

    def close(self, timeout_s: float = 2.0) -> None:
        """Sends what waits, for at most `timeout_s`."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(timeout_s)
            self._thread = None

    def _send(self) -> None:
        while (lane := self._waiting.get()) is not None:
            try:
                self._publish(lane)
            except Exception as error:  # noqa: BLE001 - kombu raises many kinds; the sweeper hints again
                log.warning("hint_not_sent", lane=lane, error=str(error))

    def _publish(self, lane: Lane) -> None:
        with self._app.producer_or_acquire() as producer:
            if not self._room[lane]:
                waiting = producer.channel.queue_declare(queue=lane.value).message_count
                self._room[lane] = min(UNASKED, max(0, MOST_WAITING - waiting))
            if self._room[lane]:
                self._room[lane] -= 1
                how = {"producer": producer, "retry": False, "ignore_result": True}
                self._app.send_task(LOOK, queue=lane.value, **how)
