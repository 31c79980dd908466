"""Telling the API processes that a prediction moved. A lost notice costs a second, no more."""

from __future__ import annotations

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from visionseg.contract.ids import PredictionId

log = structlog.get_logger(__name__)
CHANNEL = "visionseg:moved"


class Notices:
    """Publishes the ids of predictions that moved; gives up on a socket after a second."""

    def __init__(self, redis_url: str) -> None:
        self._redis = Redis.from_url(
            redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )

    def tell(self, prediction_id: PredictionId) -> None:
        """Says that a prediction moved; a broker that is away is no error."""
        try:
            self._redis.publish(CHANNEL, prediction_id)
        except (RedisError, OSError) as error:
            log.warning("notice_not_sent", prediction_id=prediction_id, error=str(error))

    def reachable(self) -> bool:
        """Whether Redis answers."""
        try:
            return bool(self._redis.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Closes the connections."""
        self._redis.close()
