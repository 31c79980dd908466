"""Statements on idempotency keys."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import KeyId, PredictionId
from visionseg.records.tables import from_now, idempotency_keys


def find(connection: Connection, key_id: KeyId, name: str) -> Row[Any] | None:
    """What was submitted under that name by that API key."""
    c = idempotency_keys.c
    statement = select(idempotency_keys).where(c.key_id == key_id, c.name == name)
    return connection.execute(statement).one_or_none()


def take(
    connection: Connection, key_id: KeyId, name: str, digest: str, prediction_id: PredictionId
) -> bool:
    """Takes the name for a prediction; false if it is taken. Waits for whoever is taking it."""
    new = upsert(idempotency_keys).values(
        key_id=key_id, name=name, digest=digest, prediction_id=prediction_id
    )
    taken = new.on_conflict_do_nothing().returning(idempotency_keys.c.name)
    return connection.execute(taken).one_or_none() is not None


def forget_old(connection: Connection, key_id: KeyId, name: str, keep_s: float) -> None:
    """Frees the name if it was taken longer ago than `keep_s`."""
    c = idempotency_keys.c
    old = (c.key_id == key_id, c.name == name, c.created_at < from_now(-keep_s))
    connection.execute(delete(idempotency_keys).where(*old))


def forget_all_old(connection: Connection, keep_s: float) -> None:
    """Frees every name that was taken longer ago than `keep_s`."""
    old = idempotency_keys.c.created_at < from_now(-keep_s)
    connection.execute(delete(idempotency_keys).where(old))
