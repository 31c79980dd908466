"""Reading what happened to predictions, and where they stand: what waiters are told."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Connection, Row, Text, any_, func, literal, select

from visionseg.contract.ids import PredictionId
from visionseg.records import units
from visionseg.records.tables import events, predictions


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a prediction stands; it differs whenever a waiter has something new to hear.

    `frames_done` is -1 where progress was not asked for.
    """

    status: str
    stage: str
    log_characters: int
    frames_done: int = -1


def standings(
    connection: Connection,
    prediction_ids: Sequence[PredictionId],
    with_progress: Collection[PredictionId],
) -> Mapping[str, Standing]:
    """Where each of the predictions stands; those that do not exist are left out."""
    c = predictions.c
    wanted = c.id == any_(literal(list(prediction_ids), ARRAY(Text)))
    rows = connection.execute(select(c.id, c.status, c.stage, func.length(c.logs)).where(wanted))
    done = units.frames_done(connection, list(with_progress)) if with_progress else {}
    return {
        row[0]: Standing(*row[1:], done.get(row[0], 0 if row[0] in with_progress else -1))
        for row in rows
    }


def list_after(
    connection: Connection, prediction_id: PredictionId, number: int
) -> Sequence[Row[Any]]:
    """The events of a prediction with a number above `number`, in the order of their numbers."""
    statement = select(events).where(events.c.prediction_id == prediction_id, events.c.id > number)
    return connection.execute(statement.order_by(events.c.id)).all()
