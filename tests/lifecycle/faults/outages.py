"""What befalls Redis, its messages and PostgreSQL; false where there was nothing to befall."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis import Redis
from redis.exceptions import RedisError

from tests.crews import until
from tests.lifecycle.faults.conftest import Plant
from visionseg.queue.lanes import Lane
from visionseg.records.engine import DATABASE_AWAY

REDIS_AWAY_S = 1.0
REDIS_FROZEN_S = 2.0
COPIES = 20


def _redis(plant: Plant) -> Redis:
    return Redis.from_url(plant.servers.redis.url)


def empty_redis(plant: Plant) -> bool:
    with _redis(plant) as client:
        return bool(client.flushall())


@contextmanager
def without_redis(plant: Plant) -> Iterator[None]:
    """Redis is killed, and started again, empty, when the block ends."""
    server = plant.servers.redis._server
    server.kill()
    try:
        yield
    finally:
        server.start()
        until(lambda: _redis_answers(plant))


def restart_redis(plant: Plant) -> bool:
    with without_redis(plant):
        time.sleep(REDIS_AWAY_S)
    return True


def _redis_answers(plant: Plant) -> bool:
    try:
        with _redis(plant) as client:
            return bool(client.ping())
    except RedisError:
        return False


def freeze_redis(plant: Plant) -> bool:
    pid = plant.servers.redis.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(REDIS_FROZEN_S)
    os.kill(pid, signal.SIGCONT)
    return True


def drop_messages(plant: Plant) -> bool:
    """Half of the messages of each lane, and what the broker takes for being worked on."""
    with _redis(plant) as client:
        waiting = {lane: int(client.llen(lane)) for lane in Lane}
        for lane, messages in waiting.items():
            client.ltrim(lane, (messages + 1) // 2, -1)
        return bool(client.delete("unacked", "unacked_index") + sum(waiting.values()))


def double_messages(plant: Plant) -> bool:
    """Copies of a message of each lane; where none waits, as many hints."""
    with _redis(plant) as client:
        for lane in Lane:
            if waiting := client.lrange(lane, 0, 0):
                client.lpush(lane, *(COPIES * waiting))
            else:
                plant.installation.hints.wake(lane, times=COPIES)
    return True


def restart_postgres(plant: Plant) -> bool:
    return _stop_postgres(plant, signal.SIGINT)


def crash_postgres(plant: Plant) -> bool:
    return _stop_postgres(plant, signal.SIGQUIT)


def _stop_postgres(plant: Plant, number: signal.Signals) -> bool:
    """SIGINT writes everything down first; after SIGQUIT the log of writes is played again."""
    server = plant.servers.postgres._server
    assert server.pid is not None
    os.kill(server.pid, number)
    assert server.wait(60)
    server.kill()
    server.start()
    until(lambda: _postgres_answers(plant))
    return True


def _postgres_answers(plant: Plant) -> bool:
    try:
        return bool(plant.rows("SELECT 1"))
    except DATABASE_AWAY:
        return False
