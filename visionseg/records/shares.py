"""Statements on shares: how many worker-seconds a key had of late, and what bounds it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import KeyId
from visionseg.records.tables import NOW, api_keys, shares, units

HALF_LIFE_S = 600.0
"""What a key used ten minutes ago counts half."""


def add(
    connection: Connection, key_id: KeyId, weight: float = 1.0, max_running: int | None = None
) -> None:
    """Writes the share of a new key."""
    values = {"key_id": key_id, "weight": weight, "max_running": max_running}
    connection.execute(insert(shares).values(**values))


def add_missing(connection: Connection) -> None:
    """Writes the shares of keys that a release without shares made, while it still ran beside."""
    found = select(api_keys.c.id).where(~exists().where(shares.c.key_id == api_keys.c.id))
    statement = upsert(shares).from_select(["key_id"], found)
    connection.execute(statement.on_conflict_do_nothing(index_elements=["key_id"]))


def decayed_seconds() -> ColumnElement[float]:
    """What a key used, by the beginning of the statement: the same in every row of it."""
    age_s = func.extract("epoch", func.statement_timestamp() - shares.c.at)
    return shares.c.seconds * func.power(0.5, age_s / HALF_LIFE_S)


def charge(connection: Connection, key_id: str, unit_id: int) -> None:
    """Adds the time since a unit was claimed; the last statement of a transaction, since keys
    with many workers queue for this row.
    """
    started = select(units.c.started_at).where(units.c.id == unit_id).scalar_subquery()
    spent_s = func.extract("epoch", NOW - started)
    values = {"seconds": decayed_seconds() + func.coalesce(spent_s, 0), "at": NOW}
    connection.execute(update(shares).where(shares.c.key_id == key_id).values(**values))
