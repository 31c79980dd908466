"""Statements on organisations and API keys. Only digests of keys are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import KeyId, OrganisationId, new_organisation_id
from visionseg.records.tables import NOW, api_keys, from_now, organisations, shares


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
    retired = and_(c.retired_digest == digest, c.retires_at > NOW)
    statement = select(api_keys).where(
        or_(c.digest == digest, retired),
        c.revoked_at.is_(None),
        or_(c.expires_at.is_(None), c.expires_at > NOW),
    )
    return connection.execute(statement).one_or_none()


def is_known(connection: Connection, digest: str) -> bool:
    """Whether some key has, or had last, that digest, also one that is revoked."""
    c = api_keys.c
    found = select(c.id).where(or_(c.digest == digest, c.retired_digest == digest))
    return connection.execute(found.limit(1)).one_or_none() is not None


def rotate(connection: Connection, key_id: KeyId, digest: str, hint: str, overlap_s: float) -> bool:
    """Gives a key a new digest; the one before counts for `overlap_s` more.

    False if there is no such usable key.
    """
    c = api_keys.c
    values = {"digest": digest, "hint": hint, "retired_digest": c.digest}
    statement = update(api_keys).where(
        c.id == key_id, c.revoked_at.is_(None), or_(c.expires_at.is_(None), c.expires_at > NOW)
    )
    return (
        connection.execute(statement.values(**values, retires_at=from_now(overlap_s))).rowcount == 1
    )


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


def _told() -> Select[Any]:
    names = organisations.c.name.label("organisation")
    statement = select(api_keys, names, shares.c.max_running, shares.c.weight)
    return statement.join(organisations).outerjoin(shares, shares.c.key_id == api_keys.c.id)


def list_all(connection: Connection) -> Sequence[Row[Any]]:
    """Every key with its organisation's name and its share of the workers, oldest first."""
    return connection.execute(_told().order_by(api_keys.c.created_at, api_keys.c.id)).all()


def find(connection: Connection, key_id: KeyId) -> Row[Any] | None:
    """One key, as `list_all` tells it."""
    return connection.execute(_told().where(api_keys.c.id == key_id)).one_or_none()


def organisation_named(connection: Connection, name: str) -> OrganisationId | None:
    """The id of an organisation, if there is one of that name."""
    found = select(organisations.c.id).where(organisations.c.name == name)
    return connection.execute(found).scalar_one_or_none()


def organisations_by_id(connection: Connection) -> Mapping[str, str]:
    """The names of all organisations."""
    rows = connection.execute(select(organisations.c.id, organisations.c.name))
    return {row.id: row.name for row in rows}


def name_of(connection: Connection, organisation_id: OrganisationId) -> str:
    """The name of an organisation."""
    found = select(organisations.c.name).where(organisations.c.id == organisation_id)
    return str(connection.execute(found).scalar_one())
