"""Statements on organisations and API keys. Only digests of keys are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import KeyId, OrganisationId, new_organisation_id
from visionseg.records.tables import NOW, api_keys, from_now, organisations


def organisation(connection: Connection, name: str) -> OrganisationId:
    """The id of the organisation of that name, made when there is none."""
    new = upsert(organisations).values(id=new_organisation_id(), name=name)
    connection.execute(new.on_conflict_do_nothing(index_elements=["name"]))
    found = select(organisations.c.id).where(organisations.c.name == name)
    return OrganisationId(connection.execute(found).scalar_one())


def add(connection: Connection, expires_in_s: float | None = None, **values: object) -> None:
    """Writes a key."""
    until = None
    if expires_in_s is not None:
        until = from_now(expires_in_s)
    connection.execute(insert(api_keys).values(**values, expires_at=until))


def find_usable(connection: Connection, digest: str) -> Row[Any] | None:
    """The key with that digest, unless it is revoked or expired."""
    c = api_keys.c
    statement = select(api_keys).where(
        c.digest == digest, c.revoked_at.is_(None), or_(c.expires_at.is_(None), c.expires_at > NOW)
    )
    return connection.execute(statement).one_or_none()


def open_limit(connection: Connection, key_id: KeyId) -> int | None:
    """How many predictions of the key may be open at once; None: as the settings say."""
    statement = select(api_keys.c.max_open).where(api_keys.c.id == key_id)
    return connection.execute(statement).scalar_one_or_none()


def keep_s(connection: Connection, key_id: KeyId) -> float | None:
    """How long the key's files are kept; None: as the settings say."""
    statement = select(api_keys.c.keep_s).where(api_keys.c.id == key_id)
    return connection.execute(statement).scalar_one_or_none()


def touch(connection: Connection, key_id: KeyId) -> None:
    """Remembers that the key was used; at most once a minute, so that reads stay reads."""
    c = api_keys.c
    stale = or_(c.last_used_at.is_(None), c.last_used_at < from_now(-60))
    connection.execute(update(api_keys).where(c.id == key_id, stale).values(last_used_at=NOW))


def revoke(connection: Connection, key_id: KeyId) -> bool:
    """Ends a key at once; false if there is no such usable key."""
    c = api_keys.c
    statement = update(api_keys).where(c.id == key_id, c.revoked_at.is_(None))
    return connection.execute(statement.values(revoked_at=NOW)).rowcount == 1


def list_all(connection: Connection) -> Sequence[Row[Any]]:
    """Every key with its organisation's name, oldest first."""
    statement = select(api_keys, organisations.c.name.label("organisation")).join(organisations)
    return connection.execute(statement.order_by(api_keys.c.created_at)).all()
