"""A plant without its Redis for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError

from tests.crews import until
from tests.lifecycle.faults.conftest import Plant


@contextmanager
def without_redis(plant: Plant) -> Iterator[None]:
    """Redis is killed, and started again, empty, when the block ends."""
    server = plant.servers.redis._server
    server.kill()
    try:
        yield
    finally:
        server.start()
        until(lambda: _answers(plant))


def _answers(plant: Plant) -> bool:
    try:
        with Redis.from_url(plant.servers.redis.url) as client:
            return bool(client.ping())
    except RedisError:
        return False
