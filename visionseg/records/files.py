"""Statements on files: inputs, results, work. A file exists once its row does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    A basis is what a result can be rendered anew from: the plan, an input that was fetched. A
    preview is a segment of a video that is still in the making.
    """

    UPLOAD = "upload"
    INPUT = "input"
    ARTIFACT = "artifact"
    SHARD = "shard"
    PART = "part"
    BASIS = "basis"
    PREVIEW = "preview"
    WORK = "work"


PUBLIC = (Role.UPLOAD, Role.INPUT, Role.ARTIFACT)
HIDDEN = (Role.BASIS, Role.WORK)
"""What no client ever sees; it is called by its unit and attempt."""
ONCE_KEEP_S = 3600.0
"""With zero retention a file that nobody downloads whole is kept so long."""
PREVIEW_KEEP_S = 3600.0
"""Who follows a preview may play it to its end, after the prediction's."""


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
    return _find(connection, organisation_id, files.c.name == name, PUBLIC)


def find_preview(
    connection: Connection, name: str, organisation_id: OrganisationId
) -> Row[Any] | None:
    """`find_public`, for a segment of a preview."""
    return _find(connection, organisation_id, files.c.name == name, (Role.PREVIEW,))


def owner_of(connection: Connection, name: str) -> OrganisationId | None:
    """The organisation of a file that clients may fetch."""
    statement = select(files.c.organisation_id).where(files.c.name == name)
    found = connection.execute(statement).scalar_one_or_none()
    return None if found is None else OrganisationId(found)


def find_by_id(
    connection: Connection,
    file_id: FileId,
    organisation_id: OrganisationId,
    roles: Sequence[Role] = PUBLIC,
) -> Row[Any] | None:
    """`find_public`, by the file's id, or a file in one of the `roles`."""
    return _find(connection, organisation_id, files.c.id == file_id, roles)


def _find(
    connection: Connection,
    organisation_id: OrganisationId,
    named: ColumnElement[bool],
    roles: Sequence[Role],
) -> Row[Any] | None:
    gone = or_(files.c.deleted_at.is_not(None), files.c.expires_at <= NOW)
    statement = select(files, func.coalesce(gone, false()).label("gone")).where(
        named, files.c.organisation_id == organisation_id, files.c.role.in_(roles)
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

    What was only work goes at once, a preview after an hour, the rest after `keep_s`. Where the
    prediction did not succeed, what its finished chunks left becomes artifacts. With a `keep_s` of
    0 only artifacts stay, each until it was downloaded whole, at most an hour.
    """
    own = (files.c.prediction_id == prediction_id, files.c.deleted_at.is_(None))
    left = (Role.SHARD, Role.PART)
    if not succeeded:
        kept = update(files).where(*own, files.c.role.in_(left))
        connection.execute(kept.values(role=Role.ARTIFACT))
    once = keep_s == 0
    spent = files.c.role != Role.ARTIFACT if once else files.c.role.in_((Role.WORK, Role.PART))
    until = case(
        (spent, NOW),
        (files.c.role == Role.PREVIEW, from_now(min(keep_s, PREVIEW_KEEP_S))),
        else_=from_now(ONCE_KEEP_S if once else keep_s),
    )
    connection.execute(update(files).where(*own).values(expires_at=until, once=once))


def expire_all(connection: Connection, prediction_id: PredictionId) -> None:
    """Lets every file of a prediction go now."""
    own = update(files).where(files.c.prediction_id == prediction_id, *_kept())
    connection.execute(own.values(expires_at=NOW))


def expire_one(connection: Connection, file_id: FileId) -> None:
    """Lets one file go now."""
    connection.execute(update(files).where(files.c.id == file_id).values(expires_at=NOW))


def expire_stored(
    connection: Connection, prediction_id: PredictionId, store_keys: Sequence[str]
) -> None:
    """Lets some stored files of a prediction go now."""
    own = (files.c.prediction_id == prediction_id, files.c.store_key.in_(store_keys))
    if store_keys:
        connection.execute(update(files).where(*own).values(expires_at=NOW))


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


def take_expired(connection: Connection, limit: int) -> list[str]:
    """Marks files past their time as deleted, and returns what no row names any more.

    Files that an open prediction reads wait. The caller deletes what is returned before it
    commits; a rollback only leaves it to the next time.
    """
    c = files.c
    reading = select(predictions.c.id).where(
        predictions.c.status.in_(OPEN), predictions.c.source["store_key"].astext == c.store_key
    )
    due = select(c.id).where(c.expires_at < NOW, c.deleted_at.is_(None), ~reading.exists())
    locked = due.limit(limit).with_for_update(of=files, skip_locked=True)
    ids = connection.execute(locked).scalars().all()
    # A statement of its own: it sees who began to read before the locks were taken.
    mark = update(files).where(c.id.in_(ids), ~reading.exists()).values(deleted_at=NOW)
    keys = set(connection.execute(mark.returning(c.store_key)).scalars())
    shared = select(c.store_key).where(c.store_key.in_(keys), c.deleted_at.is_(None))
    return sorted(keys.difference(connection.execute(shared).scalars()))


def named(connection: Connection, store_keys: Sequence[str]) -> set[str]:
    """Those of the stored files that a row names."""
    statement = select(files.c.store_key).where(files.c.store_key.in_(store_keys))
    return set(connection.execute(statement).scalars())


def kept_bytes(connection: Connection, organisation_id: OrganisationId) -> int:
    """How many bytes the files of an organisation have that are not deleted yet."""
    own = (files.c.organisation_id == organisation_id, files.c.deleted_at.is_(None))
    total = select(func.coalesce(func.sum(files.c.size_bytes), 0)).where(*own)
    return int(connection.execute(total).scalar_one())


def made_bytes(connection: Connection, prediction_id: PredictionId, role: Role) -> int:
    """How many bytes a prediction's files in that role have."""
    own = (files.c.prediction_id == prediction_id, files.c.role == role)
    total = select(func.coalesce(func.sum(files.c.size_bytes), 0)).where(*own)
    return int(connection.execute(total).scalar_one())


def standing_for(connection: Connection, store_key: str) -> Row[Any]:
    """A row that names a stored file; all that do tell the same of its bytes."""
    statement = select(files).where(files.c.store_key == store_key).order_by(files.c.created_at)
    return connection.execute(statement.limit(1)).one()


def is_kept(connection: Connection, store_key: str) -> bool:
    """Whether a stored file is there and not past its time."""
    statement = select(files.c.id).where(files.c.store_key == store_key, *_kept()).limit(1)
    return connection.execute(statement).one_or_none() is not None


def share(
    connection: Connection,
    organisation_id: OrganisationId,
    prediction_id: PredictionId,
    wanted: Mapping[str, Role],
) -> Mapping[str, str]:
    """Names stored files of an organisation once more, for another prediction, in given roles.

    Returns the public name of each by its key; a file that is not kept is left out, and an upload
    keeps the one name that it has. None of them is deleted before the transaction has ended.
    """
    c = files.c
    own = (c.organisation_id == organisation_id, c.store_key.in_(wanted), *_kept())
    locked = select(files).where(*own).order_by(c.id).with_for_update(read=True)
    rows = {row.store_key: row for row in connection.execute(locked)}
    new = {key: _shared(row, prediction_id, wanted[key]) for key, row in rows.items()}
    add(connection, organisation_id, prediction_id, [file for file in new.values() if file])
    return {key: file.name if file else rows[key].name for key, file in new.items()}


def _shared(row: Row[Any], prediction_id: PredictionId, role: Role) -> NewFile | None:
    if row.prediction_id is None:
        return None
    role = Role.INPUT if row.role == Role.INPUT else role
    shown = f"_{row.id}" if role in HIDDEN else row.name.removeprefix(row.prediction_id)
    values = {field: getattr(row, field) for field in NewFile.__slots__}
    return NewFile(**{**values, "name": f"{prediction_id}{shown}", "role": role})


def _kept() -> tuple[ColumnElement[bool], ...]:
    return files.c.deleted_at.is_(None), or_(files.c.expires_at.is_(None), files.c.expires_at > NOW)
