"""Statements on the audit log: who did what, when, from where. Rows are only added and expire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from visionseg.records.tables import audit, from_now


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What happened to what; who did it is None for the command line."""

    action: str
    subject: str
    key_id: str | None = None
    organisation_id: str | None = None
    address: str | None = None
    request_id: str | None = None


def add(connection: Connection, entry: NewEntry) -> None:
    """Writes a line."""
    connection.execute(insert(audit), asdict(entry))


def list_before(connection: Connection, number: int | None, limit: int) -> Sequence[Row[Any]]:
    """At most `limit` lines older than that of a number, newest first."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if number is not None:
        statement = statement.where(audit.c.id < number)
    return connection.execute(statement).all()


def forget_old(connection: Connection, keep_s: float) -> None:
    """Takes away the lines that are older than that."""
    connection.execute(delete(audit).where(audit.c.at < from_now(-keep_s)))
