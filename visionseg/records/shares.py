"""Statements on shares: how many worker-seconds a key had of late, and what bounds it."""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import KeyId, PredictionId
from visionseg.contract.status import Status
from visionseg.records.tables import NOW, api_keys, predictions, shares, units

HALF_LIFE_S = 600.0
"""What a key used ten minutes ago counts half."""
RUNNING: ColumnElement[str] = literal_column(f"'{Status.PROCESSING}'")
"""Written out and not bound, so that every plan may use the index of what is worked on."""


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


def at_cap() -> ColumnElement[bool]:
    """Whether a key works on as many predictions as it may; null for a key without a cap."""
    running = (
        select(func.count())
        .where(
            predictions.c.key_id == shares.c.key_id,
            predictions.c.status == RUNNING,
            ~predictions.c.dry_run,
        )
        .correlate(shares)
        .scalar_subquery()
    )
    return running >= shares.c.max_running


def take_room(connection: Connection, prediction_id: PredictionId) -> bool:
    """Whether the key of a prediction may begin it; always, if it is a dry run.

    A capped key's row stays locked until the transaction ends, so that two claims do not both take
    the last place; false, too, while another transaction holds it.
    """
    asked = {"prediction_id": prediction_id}
    cap = connection.execute(_CAP, asked).scalar_one_or_none()
    if cap is None:
        return True
    taken = select(shares.c.key_id).where(_OWN).with_for_update(skip_locked=True)
    if connection.execute(taken, asked).one_or_none() is None:
        return False
    is_full = select(at_cap()).select_from(shares).where(_OWN)
    return not connection.execute(is_full, asked).scalar_one()


_OWN = shares.c.key_id == (
    select(predictions.c.key_id)
    .where(predictions.c.id == bindparam("prediction_id"), ~predictions.c.dry_run)
    .scalar_subquery()
)
_CAP = select(shares.c.max_running).where(_OWN)


def decayed_seconds() -> ColumnElement[float]:
    """What a key used, by the beginning of the statement: the same in every row of it."""
    age_s = func.extract("epoch", func.statement_timestamp() - shares.c.at)
    return shares.c.seconds * func.power(0.5, age_s / HALF_LIFE_S)


def charge(connection: Connection, key_id: str, unit_id: int, away_s: float = 0.0) -> None:
    """Adds the time since a unit was claimed, less `away_s` that went to others; the last statement
    of a transaction, since keys with many workers queue for this row.
    """
    started = select(units.c.started_at).where(units.c.id == unit_id).scalar_subquery()
    spent_s = func.greatest(func.extract("epoch", NOW - started) - away_s, 0)
    values = {"seconds": decayed_seconds() + func.coalesce(spent_s, 0), "at": NOW}
    connection.execute(update(shares).where(shares.c.key_id == key_id).values(**values))
