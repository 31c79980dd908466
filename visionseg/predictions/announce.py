"""What follows when a prediction moved: those who wait for it hear, its webhooks are sent."""

from __future__ import annotations

import structlog

from visionseg.contract.ids import PredictionId
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane
from visionseg.records import deliveries
from visionseg.records.engine import DATABASE_AWAY
from visionseg.records.predictions import Record

log = structlog.get_logger(__name__)


def announce(installation: Installation, prediction: Record) -> None:
    """Tells the API processes, and wakes a sender where there is something to send.

    Called after the commit; what is lost here the sweeper makes up for.
    """
    prediction_id = PredictionId(prediction.id)
    installation.notices.tell(prediction_id)
    if prediction.webhook is None:
        return
    try:
        with installation.database.connect() as connection:
            due = deliveries.is_due(connection, prediction_id)
    except DATABASE_AWAY as error:
        log.warning("deliveries_not_hinted", prediction_id=prediction_id, error=str(error))
        return
    if due:
        installation.hints.wake(Lane.DELIVERY)
