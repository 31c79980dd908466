"""The ledger of a prediction's webhooks, and sending them again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.events import WebhookEvent
from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.webhooks import (
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    RedeliverRange,
)
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane
from visionseg.records import deliveries


def list_deliveries(installation: Installation, prediction_id: PredictionId) -> list[Delivery]:
    """The deliveries of a prediction with every attempt, oldest first."""
    with installation.database.connect() as connection:
        return _shown(connection, deliveries.of_prediction(connection, prediction_id))


def redeliver(installation: Installation, prediction_id: PredictionId, number: int) -> Delivery:
    """Makes a delivery due now, whatever became of it before, with its schedule begun anew.

    One that is being sent at this moment is left alone. Raises `Refusal` (not_found).
    """
    with installation.database.begin() as connection:
        deliveries.send_again(connection, *deliveries.numbered(prediction_id, number))
        rows = deliveries.of_prediction(connection, prediction_id, number)
        if not rows:
            raise Refusal(
                ErrorCode.NOT_FOUND,
                "This prediction has no delivery of that number.",
                detail_zh="该任务没有此编号的投递。",
            )
        (shown,) = _shown(connection, rows)
    installation.hints.wake(Lane.DELIVERY)
    return shown


def redeliver_range(
    installation: Installation, organisation_id: OrganisationId, wanted: RedeliverRange
) -> int:
    """Makes an organisation's deliveries of a range of time due now; returns how many.

    Those that the receiver has taken only if asked for.
    """
    which = deliveries.made_between(
        organisation_id, *wanted.bounds(), also_delivered=wanted.include_delivered
    )
    with installation.database.begin() as connection:
        again = deliveries.send_again(connection, *which)
    if again:
        installation.hints.wake(Lane.DELIVERY)
    return again


def _shown(connection: Connection, rows: Sequence[Row[Any]]) -> list[Delivery]:
    attempts: dict[int, list[DeliveryAttempt]] = defaultdict(list)
    for row in deliveries.attempts_at(connection, [row.id for row in rows]):
        attempts[row.delivery_id].append(
            DeliveryAttempt(
                number=row.number,
                at=row.at,
                status_code=row.status_code,
                error=row.error,
                seconds=row.seconds,
            )
        )
    return [_delivery(row, attempts[row.id]) for row in rows]


def _delivery(row: Row[Any], attempts: list[DeliveryAttempt]) -> Delivery:
    return Delivery(
        number=row.number,
        id=row.message_id,
        event=WebhookEvent(row.event),
        url=row.url,
        state=DeliveryState(row.state),
        created_at=row.created_at,
        next_at=row.next_at if row.state == DeliveryState.PENDING else None,
        finished_at=row.finished_at,
        attempts=attempts,
    )
