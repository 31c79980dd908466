"""Statements on turns: which job is next in a lane. A turn counts a job's ready units there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.selectable import LateralFromClause

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.records.shares import decayed_seconds
from visionseg.records.tables import NOW, predictions, shares, turns, units


def refresh(connection: Connection, prediction_id: PredictionId) -> None:
    """Counts the job's ready units anew, a row a lane; derived each time, so it cannot drift.

    The caller holds the prediction's lock.
    """
    ready = func.count().filter(units.c.state == "ready")
    ready_at = func.min(units.c.not_before).filter(units.c.state == "ready")
    p = predictions.c
    counted = (
        select(
            p.id,
            units.c.lane,
            p.key_id,
            p.engine,
            p.priority,
            p.created_at,
            p.status == Status.PROCESSING,
            ready,
            ready_at,
        )
        .join_from(units, predictions, units.c.prediction_id == p.id)
        .where(p.id == prediction_id)
        .group_by(p.id, units.c.lane)
    )
    names = ("prediction_id", "lane", "key_id", "engine", "priority", "created_at", "begun")
    statement = upsert(turns).from_select([*names, "ready", "ready_at"], counted)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["prediction_id", "lane"],
            set_={
                "ready": statement.excluded.ready,
                "ready_at": statement.excluded.ready_at,
                "begun": statement.excluded.begun,
            },
            where=or_(
                turns.c.ready != statement.excluded.ready,
                turns.c.begun != statement.excluded.begun,
                turns.c.ready_at.is_distinct_from(statement.excluded.ready_at),
            ),
        )
    )


def name_keys(connection: Connection) -> None:
    """Gives turns their key that a release without shares wrote, while it still ran beside."""
    statement = update(turns).where(
        turns.c.prediction_id == predictions.c.id,
        turns.c.key_id.is_(None),
        turns.c.ready > 0,
    )
    connection.execute(statement.values(key_id=predictions.c.key_id))


def next_jobs(
    connection: Connection, lane: str, engines: Collection[str] | None, limit: int
) -> list[PredictionId]:
    """The jobs whose turn it is in a lane, best first.

    First the key that had the fewest worker-seconds of late for its weight; within a key by
    priority, longest not served, oldest. A key at its cap of running jobs begins no new ones. It
    costs an index look-up a key, however many jobs wait.
    """
    own = _of_one_key(lane, engines, limit)
    used = decayed_seconds() / shares.c.weight
    statement = (
        select(own.c.prediction_id)
        .select_from(shares)
        .join(own, true())
        .order_by(used, own.c.rank, own.c.last_served_at.asc().nulls_first(), own.c.created_at)
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def _of_one_key(lane: str, engines: Collection[str] | None, limit: int) -> LateralFromClause:
    c = turns.c
    running = (
        select(func.count())
        .where(
            predictions.c.key_id == shares.c.key_id,
            predictions.c.status == Status.PROCESSING,
        )
        .correlate(shares)
        .scalar_subquery()
    )
    may_begin = or_(shares.c.max_running.is_(None), running < shares.c.max_running)
    ready = (c.lane == lane, c.key_id == shares.c.key_id, c.ready > 0, c.ready_at <= NOW)
    order = (c.priority.desc(), c.last_served_at.asc().nulls_first(), c.created_at)
    rank = func.row_number().over(order_by=order).label("rank")
    statement = select(c.prediction_id, c.last_served_at, c.created_at, rank).where(
        *ready, or_(c.begun, may_begin)
    )
    if engines is not None:
        statement = statement.where(c.engine.in_(engines))
    return statement.order_by(*order).limit(limit).lateral("own")


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
    """How many jobs wait in this one's lane since before it; None when it does not wait.

    Fewer or more may really go first: keys take turns.
    """
    mine = select(turns).where(turns.c.prediction_id == prediction_id, turns.c.ready > 0).subquery()
    ahead = (
        select(func.count())
        .select_from(turns)
        .where(
            turns.c.lane == mine.c.lane,
            turns.c.ready > 0,
            turns.c.created_at < mine.c.created_at,
        )
        .scalar_subquery()
    )
    return connection.execute(select(ahead).select_from(mine).limit(1)).scalar_one_or_none()
