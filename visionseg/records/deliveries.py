"""Statements on deliveries: the outbox of webhooks, leased by senders, fenced by attempts.

A delivery is written in the transaction of the event that it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    any_,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from visionseg.contract.events import WebhookEvent
from visionseg.contract.ids import KeyId, OrganisationId, PredictionId, new_message_id
from visionseg.contract.webhooks import DeliveryState
from visionseg.records.tables import NOW, deliveries, delivery_attempts, from_now, predictions

PENDING = deliveries.c.state == DeliveryState.PENDING
UNCLAIMED = deliveries.c.owner.is_(None)
DUE = (PENDING, UNCLAIMED, deliveries.c.next_at <= NOW)


def tell(connection: Connection, prediction_id: PredictionId, event: WebhookEvent) -> None:
    """Writes a delivery, if the client asked to be told of such events.

    The caller holds the prediction's lock, so that the numbers of its deliveries have no gaps.
    """
    last = select(func.coalesce(func.max(deliveries.c.number), 0)).where(
        deliveries.c.prediction_id == prediction_id
    )
    p = predictions.c
    asked = literal(event.value) == any_(p.webhook_events)
    wanted = select(
        literal(new_message_id()),
        p.organisation_id,
        p.id,
        last.scalar_subquery() + 1,
        literal(event.value),
        p.webhook,
        literal(DeliveryState.PENDING.value),
    ).where(p.id == prediction_id, p.webhook.is_not(None), asked)
    names = ["message_id", "organisation_id", "prediction_id", "number", "event", "url", "state"]
    connection.execute(insert(deliveries).from_select(names, wanted))


def tell_logs(connection: Connection, prediction_id: PredictionId) -> None:
    """Writes a delivery of new log lines, unless one waits to be sent: that will tell them too."""
    c = deliveries.c
    waiting = select(c.id).where(
        c.prediction_id == prediction_id, c.event == WebhookEvent.LOGS, PENDING, UNCLAIMED
    )
    if connection.execute(waiting.limit(1)).first() is None:
        tell(connection, prediction_id, WebhookEvent.LOGS)


@dataclass(frozen=True, slots=True)
class Sending:
    """The right to make one attempt; `attempt` is the fencing token, `failures` the earlier ones.

    `base_url` is the base under which the prediction was submitted.
    """

    id: int
    message_id: str
    organisation_id: OrganisationId
    prediction_id: PredictionId
    key_id: KeyId
    url: str
    base_url: str
    attempt: int
    failures: int
    owner: str


def claim(connection: Connection, owner: str, lease_s: float) -> Sending | None:
    """Leases a delivery that is due; None if none is.

    First those of organisations with the fewest attempts under way, so that nobody's slow receiver
    holds up others, then those with the fewest failures. Senders at work at once get different
    ones and do not wait for each other.
    """
    c = deliveries.c
    under_way = (
        select(c.organisation_id, func.count().label("attempts"))
        .where(c.owner.is_not(None))
        .group_by(c.organisation_id)
        .subquery()
    )
    joined = deliveries.outerjoin(under_way, under_way.c.organisation_id == c.organisation_id)
    order = (func.coalesce(under_way.c.attempts, 0), c.failures, c.next_at)
    due = select(c.id).select_from(joined).where(*DUE).order_by(*order).limit(1)
    locked = due.with_for_update(of=deliveries, skip_locked=True)
    found = connection.execute(locked).scalar_one_or_none()
    if found is None:
        return None
    values = {"owner": owner, "lease_until": from_now(lease_s), "attempt": c.attempt + 1}
    connection.execute(update(deliveries).where(c.id == found).values(**values))
    return _sendings(connection, c.id == found)[0]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How an attempt ended: the receiver's status, or why there is none."""

    status_code: int | None
    error: str | None
    seconds: float


def end(
    connection: Connection,
    sending: Sending,
    attempt: Attempt,
    state: DeliveryState,
    again_after_s: float = 0.0,
) -> bool:
    """Keeps an attempt and writes where the delivery stands; false if it is no longer held.

    With `pending` it is due again after `again_after_s`.
    """
    c = deliveries.c
    failed = int(state is not DeliveryState.DELIVERED)
    values: dict[str, Any] = {"state": state, "owner": None, "lease_until": None}
    values |= {"failures": c.failures + failed, "next_at": from_now(again_after_s)}
    if state is not DeliveryState.PENDING:
        values["finished_at"] = NOW
    if connection.execute(update(deliveries).where(*held(sending)).values(**values)).rowcount != 1:
        return False
    kept = {name: getattr(attempt, name) for name in Attempt.__slots__}
    kept |= {"delivery_id": sending.id, "number": sending.attempt, "at": from_now(-attempt.seconds)}
    connection.execute(insert(delivery_attempts).values(**kept))
    return True


def held(sending: Sending) -> tuple[ColumnElement[bool], ...]:
    """The guard of every write by a sender: delivery, attempt, owner and state."""
    c = deliveries.c
    return c.id == sending.id, c.attempt == sending.attempt, c.owner == sending.owner, PENDING


def expired(connection: Connection, limit: int) -> list[Sending]:
    """Attempts whose lease ran out."""
    return _sendings(connection, PENDING, deliveries.c.lease_until < NOW, limit=limit)


def _sendings(
    connection: Connection, *which: ColumnElement[bool], limit: int | None = None
) -> list[Sending]:
    c, p = deliveries.c, predictions.c
    names = (c.id, c.message_id, c.organisation_id, c.prediction_id, p.key_id, c.url)
    base_url = func.coalesce(p.base_url, "").label("base_url")
    statement = select(*names, base_url, c.attempt, c.failures, c.owner)
    joined = statement.join_from(deliveries, predictions, c.prediction_id == p.id)
    rows = connection.execute(joined.where(*which).limit(limit)).mappings()
    return [Sending(**row) for row in rows]


def count_due(connection: Connection) -> int:
    """How many deliveries wait for a sender now."""
    statement = select(func.count()).where(*DUE)
    return connection.execute(statement).scalar_one()


def is_due(connection: Connection, prediction_id: PredictionId) -> bool:
    """Whether a delivery of the prediction waits for a sender now."""
    c = deliveries.c
    due = select(c.id).where(c.prediction_id == prediction_id, *DUE)
    return connection.execute(due.limit(1)).first() is not None


def of_prediction(
    connection: Connection, prediction_id: PredictionId, number: int | None = None
) -> Sequence[Row[Any]]:
    """The deliveries of a prediction, oldest first, or the one of that number."""
    c = deliveries.c
    statement = select(deliveries).where(c.prediction_id == prediction_id)
    if number is not None:
        statement = statement.where(c.number == number)
    return connection.execute(statement.order_by(c.number)).all()


def attempts_at(connection: Connection, delivery_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Every attempt at some deliveries, in order."""
    c = delivery_attempts.c
    statement = select(delivery_attempts).where(c.delivery_id.in_(delivery_ids))
    return connection.execute(statement.order_by(c.delivery_id, c.number)).all()


def send_again(connection: Connection, *which: ColumnElement[bool]) -> int:
    """Makes deliveries due now, their schedule begun anew; returns how many.

    Those being sent at this moment are left alone.
    """
    values = {"state": DeliveryState.PENDING, "failures": 0, "next_at": NOW, "finished_at": None}
    statement = update(deliveries).where(*which, UNCLAIMED).values(**values)
    return connection.execute(statement).rowcount


def numbered(prediction_id: PredictionId, number: int) -> tuple[ColumnElement[bool], ...]:
    """The delivery of that number, for `send_again`."""
    return deliveries.c.prediction_id == prediction_id, deliveries.c.number == number


def made_between(
    organisation_id: OrganisationId, since: datetime, until: datetime, *, also_delivered: bool
) -> tuple[ColumnElement[bool], ...]:
    """An organisation's deliveries of a range of time, for `send_again`."""
    c = deliveries.c
    undelivered = c.state != DeliveryState.DELIVERED
    wanted = or_(undelivered, literal(also_delivered))
    return c.organisation_id == organisation_id, c.created_at >= since, c.created_at < until, wanted
