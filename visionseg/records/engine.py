"""The pool of connections to PostgreSQL; its timeouts keep a frozen client from stalling all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, create_engine, func, select
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


def connect(database_url: str, pool_size: int, application: str) -> Engine:
    """A pool of at most `pool_size` connections, opened when first used and checked before use."""
    return create_engine(
        database_url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={
            "options": " ".join(f"-c {name}={value}" for name, value in SERVER_SETTINGS.items()),
            "application_name": application,
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )


def clock(connection: Connection) -> datetime:
    """The time by the database's clock, which every stored time is by."""
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now
