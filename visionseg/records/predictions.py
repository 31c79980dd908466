"""Statements on predictions. `move` is the only writer of a status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Row,
    bindparam,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from visionseg.contract.events import WebhookEvent
from visionseg.contract.ids import KeyId, OrganisationId, PredictionId
from visionseg.contract.status import FINAL, OPEN, Status, sources
from visionseg.records import deliveries
from visionseg.records.tables import NOW, events, from_now, predictions, units

MAX_LOG_CHARACTERS = 64 * 1024
Record = Row[Any]


@dataclass(frozen=True, slots=True)
class NewPrediction:
    """What is known of a prediction when it is accepted."""

    id: PredictionId
    organisation_id: OrganisationId
    key_id: KeyId
    kind: str
    provider: str
    model: str
    engine: str
    input: Mapping[str, Any]
    params: Mapping[str, Any]
    source: Mapping[str, Any]
    priority: int
    deadline_s: float
    stage: str
    warnings: Sequence[str]
    frames_total: int | None
    base_url: str
    webhook: str | None
    webhook_events: Sequence[str]
    dry_run: bool = False
    plan: Mapping[str, Any] | None = None


_ADD = insert(predictions).values(
    {
        **{name: bindparam(name) for name in NewPrediction.__slots__ if name != "deadline_s"},
        "status": Status.STARTING,
        "deadline": from_now(bindparam("deadline_s", type_=Float)),
    }
)


def add(connection: Connection, new: NewPrediction) -> None:
    """Writes the row in `starting`."""
    values = {field: getattr(new, field) for field in new.__slots__}
    lists = {"warnings": list(new.warnings), "webhook_events": list(new.webhook_events)}
    connection.execute(_ADD, {**values, **lists})


def move(
    connection: Connection, prediction_id: PredictionId, target: Status, **values: object
) -> Record | None:
    """Moves a prediction to `target` if the table of moves allows it, and writes the event.

    Returns the row as it is now, or None: someone else moved it, and the caller stops quietly.
    """
    stamp = "completed_at" if target in FINAL else "started_at"
    given: dict[str, object] = {"prediction_id": prediction_id, "target": target}
    given["sources"] = sources(target)
    given |= {f"new_{name}": value for name, value in values.items()}
    row = connection.execute(_moving(stamp, *values), given).one_or_none()
    if row is not None:
        event = "completed" if target in FINAL else "start"
        add_event(connection, prediction_id, event, {"status": target})
        if row.webhook is not None:
            for told in TOLD[target]:
                deliveries.tell(connection, prediction_id, told)
    return row


@cache
def _moving(stamp: str, *names: str) -> ReturningUpdate[Any]:
    c = predictions.c
    values = {"status": bindparam("target"), stamp: NOW}
    values |= {name: bindparam(f"new_{name}") for name in names}
    return (
        update(predictions)
        .where(
            c.id == bindparam("prediction_id"),
            c.status.in_(bindparam("sources", expanding=True)),
        )
        .values(values)
        .returning(predictions)
    )


TOLD: Mapping[Status, Sequence[WebhookEvent]] = {
    Status.PROCESSING: (WebhookEvent.START,),
    Status.SUCCEEDED: (WebhookEvent.OUTPUT, WebhookEvent.COMPLETED),
    Status.FAILED: (WebhookEvent.COMPLETED,),
    Status.CANCELED: (WebhookEvent.COMPLETED,),
}
"""What the receiver of a prediction's webhooks may hear when it moves."""


def add_event(
    connection: Connection, prediction_id: PredictionId, kind: str, data: Mapping[str, Any]
) -> None:
    """Tells what happened, in the transaction in which it happens."""
    values = {"prediction_id": prediction_id, "kind": kind, "data": dict(data)}
    connection.execute(insert(events).values(**values))


def lock(connection: Connection, prediction_id: PredictionId) -> Record | None:
    """The row, locked until the transaction ends: every change of a job's units begins here."""
    statement = select(predictions).where(predictions.c.id == prediction_id).with_for_update()
    return connection.execute(statement).one_or_none()


def lock_if_open(connection: Connection, prediction_id: PredictionId) -> str | None:
    """The status of an open prediction, its row locked; None if it is final or locked."""
    asked = {"prediction_id": prediction_id}
    return connection.execute(_LOCK_IF_OPEN, asked).scalar_one_or_none()


_LOCK_IF_OPEN = (
    select(predictions.c.status)
    .where(predictions.c.id == bindparam("prediction_id"), predictions.c.status.in_(OPEN))
    .with_for_update(skip_locked=True)
)


def annotate(connection: Connection, prediction_id: PredictionId, **values: object) -> None:
    """Writes columns other than `status`; the caller holds the lock."""
    if values:
        statement = update(predictions).where(predictions.c.id == prediction_id)
        connection.execute(statement.values(**values))


def say(
    connection: Connection,
    prediction_id: PredictionId,
    log_lines: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> None:
    """Appends log lines and the warnings that are not yet there."""
    if log_lines:
        added = "".join(f"{line}\n" for line in log_lines)
        kept = func.right(predictions.c.logs + added, MAX_LOG_CHARACTERS)
        wrote = update(predictions).where(predictions.c.id == prediction_id).values(logs=kept)
        told = connection.execute(wrote.returning(predictions.c.webhook)).scalar_one_or_none()
        if told is not None:
            deliveries.tell_logs(connection, prediction_id)
    for warning in warnings:
        statement = update(predictions).where(
            predictions.c.id == prediction_id, ~predictions.c.warnings.contains([warning])
        )
        connection.execute(
            statement.values(warnings=predictions.c.warnings + func.jsonb_build_array(warning))
        )


def release(connection: Connection, prediction_id: PredictionId) -> bool:
    """Sets `released_at` once a final prediction has no leased unit left."""
    leased = select(units.c.id).where(
        units.c.prediction_id == prediction_id, units.c.state == "leased"
    )
    statement = (
        update(predictions)
        .where(
            predictions.c.id == prediction_id,
            predictions.c.status.in_(FINAL),
            predictions.c.released_at.is_(None),
            ~leased.exists(),
        )
        .values(released_at=NOW)
    )
    return connection.execute(statement).rowcount == 1


def get(connection: Connection, prediction_id: PredictionId) -> Record | None:
    """The row, for a worker that holds a claim on it."""
    statement = select(predictions).where(predictions.c.id == prediction_id)
    return connection.execute(statement).one_or_none()


def find(
    connection: Connection,
    prediction_id: PredictionId,
    organisation_id: OrganisationId,
) -> Record | None:
    """The row, if it belongs to the organisation."""
    statement = select(predictions).where(
        predictions.c.id == prediction_id, predictions.c.organisation_id == organisation_id
    )
    return connection.execute(statement).one_or_none()


@dataclass(frozen=True, slots=True)
class Page:
    """Which predictions of an organisation to list: newest first, `limit` of them."""

    organisation_id: OrganisationId
    limit: int
    after: tuple[datetime, str] | None = None
    before: tuple[datetime, str] | None = None
    status: Status | None = None
    kind: str | None = None
    model: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


def list_page(connection: Connection, page: Page) -> list[Record]:
    """At most `limit` rows, newest first; with `before`, the ones just newer than it."""
    statement = select(predictions).where(*_wanted(page)).limit(page.limit)
    place = tuple_(predictions.c.created_at, predictions.c.id)
    if page.before is not None:
        statement = statement.where(place > tuple_(*map(literal, page.before)))
        newest_last = statement.order_by(predictions.c.created_at, predictions.c.id)
        return list(reversed(connection.execute(newest_last).all()))
    if page.after is not None:
        statement = statement.where(place < tuple_(*map(literal, page.after)))
    newest_first = (predictions.c.created_at.desc(), predictions.c.id.desc())
    return list(connection.execute(statement.order_by(*newest_first)).all())


def _wanted(page: Page) -> list[ColumnElement[bool]]:
    c = predictions.c
    equal = {"status": page.status, "kind": page.kind, "model": page.model}
    conditions = [c.organisation_id == page.organisation_id]
    conditions += [c[name] == value for name, value in equal.items() if value is not None]
    if page.created_after is not None:
        conditions.append(c.created_at > page.created_after)
    if page.created_before is not None:
        conditions.append(c.created_at < page.created_before)
    return conditions


def count_open(
    connection: Connection, key_id: KeyId | None = None, *, dry_runs: bool = False
) -> int:
    """How many predictions are not final, over all keys or of one; or how many dry runs."""
    statement = select(func.count()).where(
        predictions.c.status.in_(OPEN), predictions.c.dry_run.is_(dry_runs)
    )
    if key_id is not None:
        statement = statement.where(predictions.c.key_id == key_id)
    return connection.execute(statement).scalar_one()


def overdue(connection: Connection, limit: int) -> list[PredictionId]:
    """Open predictions whose deadline has passed."""
    c = predictions.c
    statement = select(c.id).where(c.status.in_(OPEN), c.deadline < NOW).limit(limit)
    return [PredictionId(found) for found in connection.execute(statement).scalars()]


def held(connection: Connection, limit: int) -> list[PredictionId]:
    """Final predictions, not yet released, that no worker holds."""
    c = predictions.c
    leased = select(units.c.id).where(units.c.prediction_id == c.id, units.c.state == "leased")
    statement = select(c.id).where(
        c.completed_at.is_not(None), c.released_at.is_(None), ~leased.exists()
    )
    return [PredictionId(found) for found in connection.execute(statement.limit(limit)).scalars()]


def failed_with(connection: Connection, error_code: str, limit: int) -> list[Record]:
    """The predictions that failed with a code, newest first."""
    c = predictions.c
    statement = select(predictions).where(c.error_code == error_code)
    return list(connection.execute(statement.order_by(c.completed_at.desc()).limit(limit)).all())
