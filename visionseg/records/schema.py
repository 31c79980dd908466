"""Bringing the database's schema to the newest revision, and telling which one it has."""

from __future__ import annotations

import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from visionseg.records.engine import unhurried

log = structlog.get_logger(__name__)
LOCK = 0x76735F6D69677261  # "vs_migra"
BUSY = (LockNotAvailable, DeadlockDetected)
LOCK_WITHIN = "1s"
"""While a migration waits for a table, everyone else waits behind it."""
RETRY_S = 1.0
PATIENCE_S = 600.0


def _config() -> Config:
    spec = find_spec("migrations")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package `migrations` is not installed beside visionseg")
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent))
    return config


def migrate(database: Engine, patience_s: float = PATIENCE_S) -> None:
    """Applies every missing migration, all or none; several processes may call it at once.

    The service may run meanwhile: a table in use is waited for briefly, then everything is undone
    and tried again. Raises `OperationalError` when that did not succeed within `patience_s`.
    """
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            return _upgrade(database)
        except OperationalError as error:
            if not isinstance(error.orig, BUSY) or time.monotonic() > give_up_at:
                raise
            log.warning("migration_waits", error=str(error.orig))
        time.sleep(RETRY_S)


def _upgrade(database: Engine) -> None:
    config = _config()
    with database.begin() as connection, unhurried(connection):
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WITHIN}'"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def newest_revision() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def current_revision(connection: Connection) -> str | None:
    """The revision that the database has; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def fits(found: str | None) -> bool:
    """Whether this code can work with a schema of that revision: its own, or a newer one.

    A newer release migrates first and replaces the processes after; its revision is unknown here.
    """
    if found is None:
        return False
    scripts = ScriptDirectory.from_config(_config())
    try:
        known = scripts.get_revision(found)
    except CommandError:
        return True
    return known is not None and known.revision == scripts.get_current_head()
