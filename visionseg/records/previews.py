"""Statements on previews: who asked for one, and which pieces of a video have theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from visionseg.contract.ids import PredictionId
from visionseg.records.tables import NOW, from_now, predictions, units

WANTED_S = 30.0
"""A preview is made while somebody asked for it within so many seconds."""


def ask(connection: Connection, prediction_id: PredictionId) -> None:
    """Remembers that somebody asks for the preview now."""
    asked = update(predictions).where(predictions.c.id == prediction_id)
    connection.execute(asked.values(preview_asked_at=NOW))


def is_wanted(connection: Connection, prediction_id: PredictionId) -> bool:
    """Whether somebody asked for the preview of late."""
    c = predictions.c
    late = select(c.id).where(c.id == prediction_id, c.preview_asked_at > from_now(-WANTED_S))
    return connection.execute(late).one_or_none() is not None


@dataclass(frozen=True, slots=True)
class Step:
    """One unit that renders a piece, or makes its preview."""

    seq: int
    kind: str
    state: str
    piece: int
    result: Any


def steps(connection: Connection, prediction_id: PredictionId) -> Sequence[Step]:
    """The renders of a prediction and the previews of their pieces, by `piece`, in order."""
    c = units.c
    piece = func.coalesce(c.payload["render"].as_integer(), c.seq)
    statement = select(c.seq, c.kind, c.state, piece, c.result).where(
        c.prediction_id == prediction_id, c.kind.in_(("render", "preview"))
    )
    rows = connection.execute(statement.order_by(c.seq))
    return [Step(*row) for row in rows]


def next_seq(connection: Connection, prediction_id: PredictionId) -> int:
    """The number of the job's next unit; the caller holds the prediction's lock."""
    numbers = select(units.c.seq).where(units.c.prediction_id == prediction_id)
    last = connection.execute(numbers.order_by(units.c.seq.desc()).limit(1)).scalar_one()
    return int(last) + 1
