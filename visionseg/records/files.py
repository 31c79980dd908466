"""Statements on files: inputs, results, work. A file exists once its row does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    false,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from visionseg.contract.ids import FileId, OrganisationId, PredictionId, new_file_id
from visionseg.contract.status import OPEN
from visionseg.records.tables import NOW, files, from_now, predictions


class Role(StrEnum):
    """What a file is for. Clients can fetch uploads, inputs and artifacts.

    Shards and parts are what finished chunks left; they become artifacts where a video ends early.
    """

    UPLOAD = "upload"
    INPUT = "input"
    ARTIFACT = "artifact"
    SHARD = "shard"
    PART = "part"
    WORK = "work"


PUBLIC = (Role.UPLOAD, Role.INPUT, Role.ARTIFACT)
ONCE_KEEP_S = 3600.0
"""With zero retention a file that nobody downloads whole is kept so long."""


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
    prediction_id: PredictionId,
    new: Sequence[NewFile],
) -> None:
    """Names the files of a prediction."""
    owner = {"organisation_id": organisation_id, "prediction_id": prediction_id}
    rows = [{"id": new_file_id(), **_columns(file), **owner} for file in new]
    if rows:
        connection.execute(_ADD, rows)


_ADD = insert(files)


def add_upload(
    connection: Connection,
    organisation_id: OrganisationId,
    file_id: FileId,
    new: NewFile,
    keep_s: float,
) -> None:
    """Names a file that belongs to no prediction and expires in `keep_s`."""
    values = {"id": file_id, "organisation_id": organisation_id, "expires_at": from_now(keep_s)}
    connection.execute(insert(files).values(**_columns(new), **values))


def _columns(new: NewFile) -> dict[str, Any]:
    return {field: getattr(new, field) for field in NewFile.__slots__}


def find_public(
    connection: Connection, name: str, organisation_id: OrganisationId
) -> Row[Any] | None:
    """A file that clients may fetch, of one organisation; `gone` tells that it is past its time."""
    return _find(connection, organisation_id, files.c.name == name)


def find_by_id(
    connection: Connection, file_id: FileId, organisation_id: OrganisationId
) -> Row[Any] | None:
    """`find_public`, by the file's id."""
    return _find(connection, organisation_id, files.c.id == file_id)


def _find(
    connection: Connection, organisation_id: OrganisationId, named: ColumnElement[bool]
) -> Row[Any] | None:
    gone = or_(files.c.deleted_at.is_not(None), files.c.expires_at <= NOW)
    statement = select(files, func.coalesce(gone, false()).label("gone")).where(
        named, files.c.organisation_id == organisation_id, files.c.role.in_(PUBLIC)
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


def expire_with(
    connection: Connection, prediction_id: PredictionId, keep_s: float, *, succeeded: bool
) -> None:
    """Gives the files of a prediction that is now final their time.

    What was only work goes at once, the rest after `keep_s`. Where the prediction did not succeed,
    what its finished chunks left becomes artifacts. With a `keep_s` of 0 only artifacts stay, each
    until it was downloaded whole, at most an hour.
    """
    own = (files.c.prediction_id == prediction_id, files.c.deleted_at.is_(None))
    left = (Role.SHARD, Role.PART)
    if not succeeded:
        kept = update(files).where(*own, files.c.role.in_(left))
        connection.execute(kept.values(role=Role.ARTIFACT))
    once = keep_s == 0
    spent = files.c.role != Role.ARTIFACT if once else files.c.role.in_((Role.WORK, Role.PART))
    until = case((spent, NOW), else_=from_now(ONCE_KEEP_S if once else keep_s))
    connection.execute(update(files).where(*own).values(expires_at=until, once=once))


def expire_all(connection: Connection, prediction_id: PredictionId) -> None:
    """Lets every file of a prediction go now."""
    own = (files.c.prediction_id == prediction_id, files.c.deleted_at.is_(None))
    connection.execute(update(files).where(*own).values(expires_at=NOW))


def expire_one(connection: Connection, file_id: FileId) -> None:
    """Lets one file go now."""
    connection.execute(update(files).where(files.c.id == file_id).values(expires_at=NOW))


def sent_part(connection: Connection, file_id: FileId, first: int, end: int) -> None:
    """Remembers that the bytes `[first, end)` were sent; one who sent them all lets the file go.

    Only for a file that goes with its first complete download.
    """
    c = files.c
    part = func.int8multirange(func.int8range(first, end))
    sent = func.coalesce(c.sent, text("'{}'::int8multirange")).op("+")(part)
    whole = sent.op("@>", is_comparison=True)(func.int8range(0, c.size_bytes))
    values = {"sent": sent, "expires_at": case((whole, NOW), else_=c.expires_at)}
    kept = update(files).where(c.id == file_id, c.expires_at > NOW)
    connection.execute(kept.values(**values))


def expired(connection: Connection, limit: int) -> list[Row[Any]]:
    """Files past their time, not yet deleted, that no open prediction reads."""
    reading = select(predictions.c.id).where(
        predictions.c.status.in_(OPEN),
        predictions.c.source["store_key"].astext == files.c.store_key,
    )
    statement = select(files).where(
        files.c.expires_at < NOW, files.c.deleted_at.is_(None), ~reading.exists()
    )
    return list(connection.execute(statement.limit(limit)).all())


def named(connection: Connection, store_keys: Sequence[str]) -> set[str]:
    """Those of the stored files that a row names."""
    statement = select(files.c.store_key).where(files.c.store_key.in_(store_keys))
    return set(connection.execute(statement).scalars())


def mark_deleted(connection: Connection, file_ids: Sequence[FileId]) -> None:
    """The rows stay: a client that asks again hears that the file is gone."""
    connection.execute(update(files).where(files.c.id.in_(file_ids)).values(deleted_at=NOW))


def is_kept(connection: Connection, store_key: str) -> bool:
    """Whether a stored file is there and not past its time."""
    c = files.c
    alive = (c.store_key == store_key, c.deleted_at.is_(None))
    statement = select(c.id).where(*alive, or_(c.expires_at.is_(None), c.expires_at > NOW))
    return connection.execute(statement.limit(1)).one_or_none() is not None
