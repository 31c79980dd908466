"""Whether there is room for one more prediction: of its key, and in the whole queue."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Engine

from visionseg.config import Limits
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId
from visionseg.records import keys, predictions

COUNT_LASTS_S = 0.2
MARGIN = 200
"""More than the other API processes accept while a count lasts. Nearer to a cap, each submission
counts anew."""
MOST_KEYS = 1000


@dataclass(slots=True)
class _Count:
    """The open predictions when they were counted, and those admitted here since."""

    open: int
    limit: int
    at: float

    def leaves_room(self) -> bool:
        fresh = time.monotonic() - self.at < COUNT_LASTS_S
        return fresh and self.open + MARGIN < self.limit


class Admission:
    """Keeps the caps on open predictions; far from a cap this costs no query.

    Several threads may ask at once. A prediction that was admitted and then refused for another
    reason is counted until the next count.
    """

    def __init__(self) -> None:
        self._counts: dict[KeyId | None, _Count] = {}

    def admit(self, database: Engine, limits: Limits, key_id: KeyId) -> None:
        """Raises `Refusal` when too many are open: queue_full over all keys, rate_limited for
        this one.
        """
        everyone = self._count(database, limits, None)
        if everyone.open >= everyone.limit:
            raise Refusal(ErrorCode.QUEUE_FULL, headers={"Retry-After": "60"})
        own = self._count(database, limits, key_id)
        if own.open >= own.limit:
            raise Refusal(
                ErrorCode.RATE_LIMITED,
                f"This API key has {own.open} predictions that are not final; "
                f"it may have {own.limit}.",
                detail_zh=f"该 API 密钥有 {own.open} 个未完成的任务；上限为 {own.limit} 个。",
                headers={"Retry-After": "30"},
            )
        everyone.open += 1
        own.open += 1

    def _count(self, database: Engine, limits: Limits, key_id: KeyId | None) -> _Count:
        known = self._counts.get(key_id)
        if known is not None and known.leaves_room():
            return known
        with database.connect() as connection:
            found = predictions.count_open(connection, key_id)
            limit = limits.queued_predictions
            if key_id is not None:
                limit = keys.open_limit(connection, key_id) or limits.open_per_key
        if len(self._counts) > MOST_KEYS:
            self._counts = {}
        made = self._counts[key_id] = _Count(found, limit, time.monotonic())
        return made
