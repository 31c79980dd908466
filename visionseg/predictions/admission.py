"""Whether there is room for one more prediction: of its key, and in the whole queue."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from sqlalchemy import Engine

from visionseg.config import Limits
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId
from visionseg.records import keys, predictions

COUNT_LASTS_S = 0.2
MARGIN = 200
"""More than the other API processes accept while a count lasts. Nearer to a cap, each submission
counts anew."""
MOST_COUNTS = 1000


@dataclass(slots=True)
class _Count:
    """The open predictions when they were counted, and those admitted here since."""

    open: int
    limit: int
    at: float

    def leaves_room(self) -> bool:
        fresh = time.monotonic() - self.at < COUNT_LASTS_S
        return fresh and self.open + MARGIN < self.limit


@dataclass(frozen=True, slots=True)
class Queue:
    """What is counted together: the predictions of a key, or its dry runs; those of all keys
    without one.
    """

    key_id: KeyId | None
    dry_runs: bool = False


class Admission:
    """Keeps the caps on open predictions; far from a cap this costs no query.

    Several threads may ask at once. A prediction that was admitted and then refused for another
    reason is counted until the next count.
    """

    def __init__(self) -> None:
        self._counts: dict[Queue, _Count] = {}

    def admit(self, database: Engine, limits: Limits, own: Queue) -> None:
        """Counts one more in. Raises the refusal, if there is one."""
        if (refusal := self.refusal(database, limits, own)) is not None:
            raise refusal
        for queue in (own, replace(own, key_id=None)):
            if queue in self._counts:
                self._counts[queue].open += 1

    def refusal(self, database: Engine, limits: Limits, own: Queue) -> Refusal | None:
        """Why one more would be too many: queue_full over all keys, rate_limited for this one."""
        everyones = self._count(database, limits, replace(own, key_id=None))
        if everyones.open >= everyones.limit:
            return Refusal(ErrorCode.QUEUE_FULL, headers={"Retry-After": "60"})
        count = self._count(database, limits, own)
        if count.open >= count.limit:
            return Refusal(
                ErrorCode.RATE_LIMITED,
                f"This API key has {count.open} predictions that are not final; "
                f"it may have {count.limit}.",
                detail_zh=f"该 API 密钥有 {count.open} 个未完成的任务；上限为 {count.limit} 个。",
                headers={"Retry-After": "30"},
            )
        return None

    def _count(self, database: Engine, limits: Limits, queue: Queue) -> _Count:
        known = self._counts.get(queue)
        if known is not None and known.leaves_room():
            return known
        with database.connect() as connection:
            found = predictions.count_open(connection, queue.key_id, dry_runs=queue.dry_runs)
            limit = limits.queued_predictions
            if queue.key_id is not None:
                limit = keys.open_limit(connection, queue.key_id) or limits.open_per_key
        if len(self._counts) > MOST_COUNTS:
            self._counts = {}
        made = self._counts[queue] = _Count(found, limit, time.monotonic())
        return made
