"""Waiting for predictions: one subscription and one query a second for all waiters together."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from sqlalchemy import Engine

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import FINAL
from visionseg.delivery.notices import CHANNEL
from visionseg.records import events
from visionseg.records.events import Standing

log = structlog.get_logger(__name__)
ROUND_S = 1.0
ROUND_WITHOUT_REDIS_S = 0.2
SILENCE_S = 2.0
LONGEST_PAUSE_S = 2.0


class Watch:
    """One waiter's view of a prediction, registered while it is entered.

    `standing` is None until it was first read. Thousands may be open, so it is small.
    """

    __slots__ = ("_changed", "_hub", "_waiter", "prediction_id", "progress", "standing")

    def __init__(self, hub: Hub, prediction_id: PredictionId, *, progress: bool) -> None:
        self._hub = hub
        self.prediction_id = prediction_id
        self.progress = progress
        self.standing: Standing | None = None
        self._changed = False
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Watch:
        self._hub.register(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.forget(self)

    @property
    def final(self) -> bool:
        """Whether the prediction is known to be final."""
        return self.standing is not None and self.standing.status in FINAL

    def tell(self, standing: Standing | None) -> None:
        """Wakes the waiter; None only says that waiting ends."""
        if standing is None or standing != self.standing:
            self.standing = standing or self.standing
            self._changed = True
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    async def change(self, timeout_s: float | None) -> bool:
        """Whether something changed since the last call, within `timeout_s`."""
        if not self._changed:
            self._waiter = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._waiter
            self._waiter = None
        changed, self._changed = self._changed, False
        return changed


class Hub:
    """Tells the waiters of one process and event loop when their predictions change.

    A waiter costs no thread, no connection and no query of its own. It hears of a change at once
    through Redis, and within a second (0.2 s while Redis is away) through the database.
    """

    def __init__(self, database: Engine, redis_url: str) -> None:
        self._database = database
        self._redis_url = redis_url
        self._watches: dict[PredictionId, set[Watch]] = defaultdict(set)
        self._told: set[PredictionId] = set()
        self._hurry = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.subscribed = False
        self.closing = False

    async def open(self) -> None:
        """Begins to listen and to look; call it on the loop that will wait."""
        self._tasks = [
            asyncio.create_task(self._look_on(), name="hub looks"),
            asyncio.create_task(self._listen_on(), name="hub listens"),
        ]

    def end_waits(self) -> None:
        """Ends every wait now, and each later one at once: the process is about to stop."""
        self.closing = True
        self._hurry.set()
        for watches in self._watches.values():
            for watch in watches:
                watch.tell(None)

    async def close(self) -> None:
        """Ends the waits, then lets go of Redis and of the database."""
        self.end_waits()
        if self._tasks:
            look, listen = self._tasks
            listen.cancel()
            await asyncio.wait([look, listen])

    def watch(self, prediction_id: PredictionId, *, progress: bool = False) -> Watch:
        """A waiter to enter; its first change is what the database says after that.

        With `progress` a change of the number of frames done counts too.
        """
        return Watch(self, prediction_id, progress=progress)

    def register(self, watch: Watch) -> None:
        """Tells a waiter from now on."""
        self._watches[watch.prediction_id].add(watch)
        self._look_soon(watch.prediction_id)

    def forget(self, watch: Watch) -> None:
        """Tells it no more."""
        watches = self._watches[watch.prediction_id]
        watches.discard(watch)
        if not watches:
            del self._watches[watch.prediction_id]

    async def until_final(self, prediction_id: PredictionId, timeout_s: float) -> bool:
        """Waits until the prediction is final or waits end; false if `timeout_s` went by."""
        with self.watch(prediction_id) as watch, suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (watch.final or self.closing):
                    await watch.change(None)
                return True
        return False

    def _look_soon(self, prediction_id: PredictionId) -> None:
        self._told.add(prediction_id)
        self._hurry.set()

    async def _look_on(self) -> None:
        last_round = float("-inf")
        while not self.closing:
            every_s = ROUND_S if self.subscribed else ROUND_WITHOUT_REDIS_S
            await self._pause(last_round + every_s - time.monotonic())
            everyone = time.monotonic() >= last_round + every_s
            if everyone:
                last_round = time.monotonic()
            wanted = set(self._watches) if everyone else self._told & set(self._watches)
            self._told.clear()
            if wanted and not self.closing:
                await self._look(wanted)

    async def _pause(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, longest_s)):
                await self._hurry.wait()
        self._hurry.clear()

    async def _look(self, wanted: Collection[PredictionId]) -> None:
        progress = [key for key in wanted if any(w.progress for w in self._watches[key])]
        try:
            found = await asyncio.to_thread(self._read, list(wanted), frozenset(progress))
        except Exception as error:  # noqa: BLE001 - whatever it was, the next round tries again
            log.warning("hub_cannot_read", error=str(error))
            return
        for prediction_id, standing in found.items():
            for watch in self._watches.get(PredictionId(prediction_id), ()):
                watch.tell(standing)

    def _read(
        self, wanted: list[PredictionId], progress: frozenset[PredictionId]
    ) -> Mapping[str, Standing]:
        with self._database.connect() as connection:
            return events.standings(connection, wanted, progress)

    async def _listen_on(self) -> None:
        pause_s = 0.1
        while not self.closing:  # redis-py can turn a cancellation into its own time-out
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                pause_s = 0.1 if self.subscribed else min(2 * pause_s, LONGEST_PAUSE_S)
                log.warning("hub_without_redis", error=str(error), retry_s=pause_s)
            finally:
                self.subscribed = False
            await asyncio.sleep(pause_s)

    async def _listen(self) -> None:
        client = Redis.from_url(
            self._redis_url, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
        )
        async with client, client.pubsub() as subscription:
            await subscription.subscribe(CHANNEL)
            await self._hear(subscription)

    async def _hear(self, subscription: PubSub) -> None:
        """Takes messages; a Redis that does not even answer a ping counts as away."""
        pinged = False
        while not self.closing:
            message = await subscription.get_message(timeout=SILENCE_S)
            if message is not None:
                self.subscribed, pinged = True, False
                if message["type"] == "message":
                    self._take(message["data"])
            elif pinged:
                raise TimeoutError("no answer to a ping")
            else:
                await subscription.ping()
                pinged = True

    def _take(self, data: bytes) -> None:
        prediction_id = PredictionId(data.decode("ascii", "replace"))
        if prediction_id in self._watches:
            self._look_soon(prediction_id)
