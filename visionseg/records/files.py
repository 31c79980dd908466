"""Statements on files: inputs, results, work. A file exists once its row does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from visionseg.contract.ids import FileId, OrganisationId, PredictionId, new_file_id
from visionseg.records.tables import NOW, files, from_now


class Role(StrEnum):
    """What a file is for. Clients can fetch inputs and artifacts."""

    INPUT = "input"
    ARTIFACT = "artifact"
    SHARD = "shard"
    WORK = "work"


PUBLIC = (Role.INPUT, Role.ARTIFACT)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that stands in the store under `store_key`, to be named by a row.

    `name` is the last part of its public address, unique over everything.
    """

    role: Role
    name: str
    store_key: str
    content_type: str
    size_bytes: int
    sha256: str
    position: int = 0

    def at(self, position: int) -> NewFile:
        """The same file at a place in the list of artifacts."""
        return replace(self, position=position)


def add(
    connection: Connection,
    organisation_id: OrganisationId,
    prediction_id: PredictionId | None,
    new: Sequence[NewFile],
    keep_s: float | None = None,
) -> list[FileId]:
    """Names files; with `keep_s` they expire that many seconds from now."""
    until = None if keep_s is None else from_now(keep_s)
    ids = [new_file_id() for _ in new]
    for file_id, file in zip(ids, new, strict=True):
        values: dict[str, Any] = {field: getattr(file, field) for field in NewFile.__slots__}
        values |= {"id": file_id, "organisation_id": organisation_id, "expires_at": until}
        connection.execute(insert(files).values(**values, prediction_id=prediction_id))
    return ids


def find_public(
    connection: Connection, name: str, organisation_id: OrganisationId
) -> Row[Any] | None:
    """A file that clients may fetch, of one organisation, also one that is deleted by now."""
    statement = select(files).where(
        files.c.name == name,
        files.c.organisation_id == organisation_id,
        files.c.role.in_(PUBLIC),
    )
    return connection.execute(statement).one_or_none()


def find_upload(
    connection: Connection, file_id: FileId, organisation_id: OrganisationId
) -> Row[Any] | None:
    """A file by its id, of one organisation."""
    statement = select(files).where(
        files.c.id == file_id,
        files.c.organisation_id == organisation_id,
        files.c.role.in_(PUBLIC),
    )
    return connection.execute(statement).one_or_none()


def of_predictions(
    connection: Connection, prediction_ids: Sequence[PredictionId], role: Role
) -> list[Row[Any]]:
    """The files of some predictions in one role, in order."""
    statement = (
        select(files)
        .where(files.c.prediction_id.in_(prediction_ids), files.c.role == role)
        .order_by(files.c.prediction_id, files.c.position, files.c.name)
    )
    return list(connection.execute(statement).all())


def expire_with(connection: Connection, prediction_id: PredictionId, keep_s: float) -> None:
    """Lets the files of a prediction that is now final expire: work at once, the rest later."""
    own = (files.c.prediction_id == prediction_id, files.c.deleted_at.is_(None))
    later = from_now(keep_s)
    connection.execute(update(files).where(*own, files.c.role == Role.WORK).values(expires_at=NOW))
    connection.execute(
        update(files).where(*own, files.c.role != Role.WORK).values(expires_at=later)
    )


def expired(connection: Connection, limit: int) -> list[Row[Any]]:
    """Files past their time and not yet deleted."""
    condition: ColumnElement[bool] = files.c.expires_at < NOW
    statement = select(files).where(condition, files.c.deleted_at.is_(None)).limit(limit)
    return list(connection.execute(statement).all())


def mark_deleted(connection: Connection, file_ids: Sequence[FileId]) -> None:
    """The rows stay: a client that asks again hears that the file is gone."""
    connection.execute(update(files).where(files.c.id.in_(file_ids)).values(deleted_at=NOW))
