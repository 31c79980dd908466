"""Statements on the secrets that sign webhooks, a list for each API key."""

from __future__ import annotations

from sqlalchemy import Connection, insert, or_, select, update

from visionseg.contract.ids import KeyId
from visionseg.records.tables import NOW, api_keys, from_now, webhook_secrets


def usable(connection: Connection, key_id: KeyId) -> list[str]:
    """The secrets of a key that are not retired, newest first."""
    c = webhook_secrets.c
    live = or_(c.retires_at.is_(None), c.retires_at > NOW)
    statement = select(c.secret).where(c.key_id == key_id, live).order_by(c.id.desc())
    return list(connection.execute(statement).scalars())


def lock_key(connection: Connection, key_id: KeyId) -> bool:
    """Locks a key, so that two callers do not both make its secret; false if there is no such key.

    Weak enough that predictions can go on naming the key meanwhile.
    """
    statement = select(api_keys.c.id).where(api_keys.c.id == key_id)
    return connection.execute(statement.with_for_update(key_share=True)).first() is not None


def add(connection: Connection, key_id: KeyId, secret: str) -> None:
    """Writes a secret that signs from now on."""
    connection.execute(insert(webhook_secrets).values(key_id=key_id, secret=secret))


def retire_others(connection: Connection, key_id: KeyId, secret: str, after_s: float) -> None:
    """Lets a key's other secrets retire that many seconds from now, unless they do so earlier."""
    c = webhook_secrets.c
    lasting = or_(c.retires_at.is_(None), c.retires_at > from_now(after_s))
    statement = update(webhook_secrets).where(c.key_id == key_id, c.secret != secret, lasting)
    connection.execute(statement.values(retires_at=from_now(after_s)))
