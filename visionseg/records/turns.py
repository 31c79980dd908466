"""Statements on turns: which job is next in a lane. A turn counts a job's ready units there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    false,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.selectable import LateralFromClause

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.records.shares import at_cap, decayed_seconds
from visionseg.records.tables import NOW, backlog, predictions, shares, turns, units

MOST_COUNTED = 1000


def _refreshing() -> Insert:
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
            p.created_at.label("last_served_at"),
            or_(p.status == Status.PROCESSING, p.dry_run),
            ready,
            ready_at,
        )
        .join_from(units, predictions, units.c.prediction_id == p.id)
        .where(p.id == bindparam("prediction_id"))
        .group_by(p.id, units.c.lane)
    )
    job = ("prediction_id", "lane", "key_id", "engine", "priority", "created_at")
    names = (*job, "last_served_at", "begun", "ready", "ready_at")
    statement = upsert(turns).from_select(names, counted)
    return statement.on_conflict_do_update(
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


_REFRESH = _refreshing()


def refresh(connection: Connection, prediction_id: PredictionId) -> None:
    """Counts the job's ready units anew, a row a lane; derived each time, so it cannot drift.

    A job that was never served counts as served when it was made, or newcomers without end would
    go before one that is tried again. A job that has begun goes on whatever the cap of its key; a
    dry run counts as begun. The caller holds the prediction's lock.
    """
    connection.execute(_REFRESH, {"prediction_id": prediction_id})


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
    statement = _next_jobs(limit, of_engines=engines is not None)
    asked = {"lane": lane, "engines": list(engines or ())}
    return list(connection.execute(statement, asked).scalars())


@cache
def _next_jobs(limit: int, *, of_engines: bool) -> Select[Any]:
    most: ColumnElement[int] = literal_column(str(limit))
    own = _of_one_key(most, of_engines=of_engines)
    used = decayed_seconds() / shares.c.weight
    of_key = func.row_number().over(partition_by=shares.c.key_id, order_by=_order(own.c))
    return (
        select(own.c.prediction_id)
        .select_from(shares)
        .join(own, true())
        .order_by(used, of_key, own.c.last_served_at.asc().nulls_first(), own.c.created_at)
        .limit(most)
    )


_NONE: ColumnElement[int] = literal_column("0")
"""Constants are written out and not bound, so that one plan serves every claim: planning takes
several times as long as the look-ups."""


def _of_one_key(most: ColumnElement[int], *, of_engines: bool) -> LateralFromClause:
    """A key's next jobs: of all, or of those begun, where it may begin no more."""
    c = turns.c
    of_all = (
        select(c.prediction_id, c.priority, c.last_served_at, c.created_at)
        .where(
            c.lane == bindparam("lane"),
            c.key_id == shares.c.key_id,
            c.ready > _NONE,
            c.ready_at <= NOW,
        )
        .order_by(*_order(c))
        .limit(most)
        .correlate(shares)
    )
    if of_engines:
        of_all = of_all.where(c.engine.in_(bindparam("engines", expanding=True)))
    is_full = case((shares.c.max_running.is_(None), false()), else_=at_cap())
    return union_all(of_all.where(~is_full), of_all.where(c.begun, is_full)).lateral("own")


def _order(c: ReadOnlyColumnCollection[str, Any]) -> tuple[ColumnElement[Any], ...]:
    return c.priority.desc(), c.last_served_at.asc().nulls_first(), c.created_at


def ready_lanes(connection: Connection, prediction_id: PredictionId) -> list[str]:
    """The lanes in which a job has units ready."""
    statement = select(turns.c.lane).where(
        turns.c.prediction_id == prediction_id, turns.c.ready > 0
    )
    return list(connection.execute(statement).scalars())


def count_backlog(connection: Connection) -> None:
    """Counts what waits, by lane and key, so that readers need not; the sweeper does it."""
    c = turns.c
    connection.execute(delete(backlog))
    waiting = select(c.lane, c.key_id, func.count(), func.sum(c.ready)).where(
        c.ready > 0, c.ready_at <= NOW, c.key_id.is_not(None)
    )
    counted = waiting.group_by(c.lane, c.key_id)
    names = ["lane", "key_id", "jobs", "ready"]
    connection.execute(insert(backlog).from_select(names, counted))


def ready_units(connection: Connection) -> Mapping[str, int]:
    """Ready units by lane, as they were last counted."""
    statement = select(backlog.c.lane, func.sum(backlog.c.ready)).group_by(backlog.c.lane)
    return {row[0]: int(row[1]) for row in connection.execute(statement)}


def serve(connection: Connection, prediction_id: PredictionId, lane: str) -> None:
    """The job had its turn: others that wait go first now."""
    own = (turns.c.prediction_id == prediction_id, turns.c.lane == lane)
    connection.execute(update(turns).where(*own).values(last_served_at=NOW))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands, or would stand, among those of its key that wait in a lane."""

    lane: str
    key_id: str
    engine: str
    priority: int
    created_at: datetime | ColumnElement[datetime] = NOW


def place(connection: Connection, prediction_id: PredictionId) -> Place | None:
    """Where a job waits; None when it does not wait."""
    c = turns.c
    columns = (c.lane, c.key_id, c.engine, c.priority, c.created_at)
    statement = select(*columns).where(c.prediction_id == prediction_id, c.ready > 0).limit(1)
    row = connection.execute(statement).one_or_none()
    return None if row is None or row.key_id is None else Place(*row)


@dataclass(frozen=True, slots=True)
class Ahead:
    """How many jobs of the same key go first, and the key's share of the workers.

    `used_s` is its decayed worker-seconds.
    """

    jobs: int
    weight: float
    used_s: float


def ahead(connection: Connection, place: Place) -> Ahead:
    """What goes before a job that was not yet served, within its key.

    It counts to 1,000 and no further, by the order of an index: it reads no more rows than that.
    """
    c = turns.c
    own = (c.lane == place.lane, c.key_id == place.key_id, c.ready > 0)
    higher = select(literal(1)).where(*own, c.priority > place.priority).limit(MOST_COUNTED)
    earlier = select(literal(1)).where(
        *own, c.priority == place.priority, c.last_served_at < place.created_at
    )
    found = union_all(higher, earlier.limit(MOST_COUNTED)).limit(MOST_COUNTED).subquery()
    jobs = select(func.count()).select_from(found).scalar_subquery()
    statement = select(jobs, shares.c.weight, decayed_seconds())
    row = connection.execute(statement.where(shares.c.key_id == place.key_id)).one()
    return Ahead(*row)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The jobs of a key that wait in a lane, when last counted, and the key's share.

    `used_s` is its decayed worker-seconds.
    """

    lane: str
    key_id: str
    jobs: int
    ready: int
    weight: float
    used_s: float


def waiting(connection: Connection) -> list[Waiting]:
    """What waits by lane and key, when last counted."""
    c = backlog.c
    columns = (c.lane, c.key_id, c.jobs, c.ready, shares.c.weight, decayed_seconds())
    joined = select(*columns).join_from(backlog, shares, shares.c.key_id == c.key_id)
    return [Waiting(*row) for row in connection.execute(joined)]
