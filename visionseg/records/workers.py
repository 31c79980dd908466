"""Statements on workers: a worker lives as long as its row is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import WorkerId
from visionseg.records.tables import NOW, from_now, workers

SEEN_WITHIN_S = 30
FORGOTTEN_AFTER_S = 24 * 3600


def beat(connection: Connection, worker_id: WorkerId, **values: object) -> bool:
    """Says that the worker lives. Returns whether it was told to stop."""
    statement = upsert(workers).values(id=worker_id, **values)
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": NOW})
    return bool(connection.execute(statement.returning(workers.c.draining)).scalar_one())


def drain(connection: Connection, worker_id: WorkerId) -> None:
    """Tells a worker to give its units back and take no more; it hears it at its next beat."""
    connection.execute(update(workers).where(workers.c.id == worker_id).values(draining=True))


def leave(connection: Connection, worker_id: WorkerId) -> None:
    """Takes the row of a worker that stops away."""
    connection.execute(delete(workers).where(workers.c.id == worker_id))


def alive(connection: Connection) -> Sequence[Row[Any]]:
    """The workers seen of late."""
    statement = select(workers).where(workers.c.seen_at > from_now(-SEEN_WITHIN_S))
    return connection.execute(statement.order_by(workers.c.started_at)).all()


def forget_old(connection: Connection) -> None:
    """Takes the rows of workers away that died long ago."""
    connection.execute(delete(workers).where(workers.c.seen_at < from_now(-FORGOTTEN_AFTER_S)))
