"""Hints on a real broker."""

from __future__ import annotations

from redis import Redis

from tests.conftest import Servers
from visionseg.predictions.installation import Installation
from visionseg.queue.hints import MOST_WAITING
from visionseg.queue.lanes import Lane


def test_hints_that_nobody_takes_do_not_pile_up(
    installation: Installation, servers: Servers
) -> None:
    installation.hints.wake(Lane.DELIVERY, times=MOST_WAITING + 50)
    installation.hints.close(timeout_s=60)
    with Redis.from_url(servers.redis.url) as client:
        assert client.llen(Lane.DELIVERY) == MOST_WAITING
