"""Statements on turns: which job is next in a lane. A turn counts a job's ready units there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert

from visionseg.contract.ids import PredictionId
from visionseg.records.tables import NOW, predictions, turns, units


def refresh(connection: Connection, prediction_id: PredictionId) -> None:
    """Counts the job's ready units anew, a row a lane; derived each time, so it cannot drift.

    The caller holds the prediction's lock.
    """
    ready = func.count().filter(units.c.state == "ready")
    ready_at = func.min(units.c.not_before).filter(units.c.state == "ready")
    p = predictions.c
    counted = (
        select(p.id, units.c.lane, p.engine, p.priority, p.created_at, ready, ready_at)
        .join_from(units, predictions, units.c.prediction_id == p.id)
        .where(p.id == prediction_id)
        .group_by(p.id, units.c.lane)
    )
    names = ["prediction_id", "lane", "engine", "priority", "created_at", "ready", "ready_at"]
    statement = upsert(turns).from_select(names, counted)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["prediction_id", "lane"],
            set_={"ready": statement.excluded.ready, "ready_at": statement.excluded.ready_at},
            where=or_(
                turns.c.ready != statement.excluded.ready,
                turns.c.ready_at.is_distinct_from(statement.excluded.ready_at),
            ),
        )
    )


def next_jobs(
    connection: Connection, lane: str, engines: Collection[str] | None, limit: int
) -> list[PredictionId]:
    """The jobs whose turn it is in a lane, best first: priority, longest not served, oldest."""
    c = turns.c
    statement = select(c.prediction_id).where(c.lane == lane, c.ready > 0, c.ready_at <= NOW)
    if engines is not None:
        statement = statement.where(c.engine.in_(engines))
    order = (c.priority.desc(), c.last_served_at.asc().nulls_first(), c.created_at)
    return list(connection.execute(statement.order_by(*order).limit(limit)).scalars())


def ready_lanes(connection: Connection, prediction_id: PredictionId) -> list[str]:
    """The lanes in which a job has units ready."""
    statement = select(turns.c.lane).where(
        turns.c.prediction_id == prediction_id, turns.c.ready > 0
    )
    return list(connection.execute(statement).scalars())


def backlog(connection: Connection) -> Mapping[str, int]:
    """Ready units by lane."""
    statement = select(turns.c.lane, func.sum(turns.c.ready)).where(
        turns.c.ready > 0, turns.c.ready_at <= NOW
    )
    return {row[0]: int(row[1]) for row in connection.execute(statement.group_by(turns.c.lane))}


def serve(connection: Connection, prediction_id: PredictionId, lane: str) -> None:
    """The job had its turn: others that wait go first now."""
    own = (turns.c.prediction_id == prediction_id, turns.c.lane == lane)
    connection.execute(update(turns).where(*own).values(last_served_at=NOW))


def queue_position(connection: Connection, prediction_id: PredictionId) -> int | None:
    """How many jobs go before this one in its lane; None when it does not wait."""
    mine = select(turns).where(turns.c.prediction_id == prediction_id, turns.c.ready > 0).subquery()
    ahead = (
        select(func.count())
        .select_from(turns)
        .where(
            turns.c.lane == mine.c.lane,
            turns.c.ready > 0,
            tuple_(-turns.c.priority, turns.c.created_at)
            < tuple_(-mine.c.priority, mine.c.created_at),
        )
        .scalar_subquery()
    )
    return connection.execute(select(ahead).select_from(mine).limit(1)).scalar_one_or_none()
