"""The pool of connections to PostgreSQL; its timeouts keep a frozen client from stalling all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

DATABASE_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What the database raises when it cannot be reached, not in time, or has ended the session."""

SERVER_SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",  # a client frozen inside a transaction
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "timezone": "UTC",
}
ANSWER_S = 35.0
"""Longer than any statement may take, so that only silence is cut off."""
CONNECT_S = 5
DEAD_PEER_MS = 25_000


class Impatient(psycopg.Connection[Any]):
    """A connection that does not wait for ever on a server or a network that fell silent.

    After `answer_s` without the answer to a statement it is closed and raises `OperationalError`.
    TCP notices a peer that is gone, but not one that is frozen, or a relay that forwards nothing.
    """

    answer_s: float | None = ANSWER_S

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Waits for the answer. Raises `OperationalError` when there is none in time."""
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - `wait` documents it
            if timeout is not None:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.answer_s} s") from None


def connect(
    database_url: str, pool_size: int, application: str, answer_s: float = ANSWER_S
) -> Engine:
    """A pool of at most `pool_size` connections, opened when first used and checked before use.

    One that gives no answer for `answer_s` is closed, and raises what is in `DATABASE_AWAY`.
    """
    engine = create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items()),
            "application_name": application,
            "connect_timeout": min(CONNECT_S, math.ceil(answer_s)),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": DEAD_PEER_MS,
        },
    )

    def opened(
        _dialect: object, _record: object, args: tuple[Any, ...], options: dict[str, Any]
    ) -> Impatient:
        made = Impatient.connect(*args, **options)
        made.answer_s = answer_s
        return made

    event.listen(engine, "do_connect", opened)
    return engine


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Lets the statements of a connection take as long as they need, until the block ends."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, Impatient):
        yield
        return
    usual_s, driver.answer_s = driver.answer_s, None
    try:
        yield
    finally:
        driver.answer_s = usual_s


def clock(connection: Connection) -> datetime:
    """The time by the database's clock, which every stored time is by."""
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now
