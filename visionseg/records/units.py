"""Statements on units of work: leased by claims, fenced by attempts.

Order of locks, everywhere: the prediction's row, then its units, then its turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    any_,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import OPEN
from visionseg.records.tables import NOW, from_now, predictions, units

OPEN_STATES = ("blocked", "ready", "leased")


@dataclass(frozen=True, slots=True)
class NewUnit:
    """A unit of work; it becomes ready when every unit whose `seq` stands in `after` is done."""

    seq: int
    kind: str
    lane: str
    payload: Mapping[str, Any] = field(default_factory=dict)
    after: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a unit: every write of the holder names unit, attempt and owner.

    `attempt` is the fencing token. It grows with each claim, so an older holder writes nothing.
    Who claims is told `engine`, the model's name, and the `losses` of the unit: how often a worker
    died of it.
    """

    unit_id: int
    prediction_id: PredictionId
    seq: int
    kind: str
    lane: str
    attempt: int
    owner: str
    payload: Mapping[str, Any]
    engine: str = field(default="", compare=False)
    losses: int = field(default=0, compare=False)


def add(connection: Connection, prediction_id: PredictionId, new: Sequence[NewUnit]) -> None:
    """Writes units; those that wait for nothing are ready. The caller refreshes the turns."""
    rows = [
        {
            "prediction_id": prediction_id,
            "seq": unit.seq,
            "kind": unit.kind,
            "lane": unit.lane,
            "payload": dict(unit.payload),
            "after": list(unit.after),
            "waits_for": len(unit.after),
            "state": "blocked" if unit.after else "ready",
        }
        for unit in new
    ]
    if rows:
        connection.execute(_ADD, rows)


_ADD = insert(units)


def lease(
    connection: Connection, prediction_id: PredictionId, lane: str, owner: str, lease_s: float
) -> Claim | None:
    """Leases the job's first ready unit in the lane to `owner`; the caller holds the lock."""
    asked = {"of": prediction_id, "in_lane": lane, "by": owner, "lease_s": lease_s}
    row = connection.execute(_LEASE, asked).one_or_none()
    if row is None:
        return None
    return Claim(
        row.id,
        prediction_id,
        row.seq,
        row.kind,
        lane,
        row.attempt,
        row.owner,
        row.payload,
        row.engine,
        row.losses,
    )


def _leasing() -> ReturningUpdate[Any]:
    first = (
        select(units.c.id)
        .where(
            units.c.prediction_id == bindparam("of"),
            units.c.lane == bindparam("in_lane"),
            units.c.state == "ready",
            units.c.not_before <= NOW,
        )
        .order_by(units.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    values = {
        "state": "leased",
        "owner": bindparam("by"),
        "attempt": units.c.attempt + 1,
        "lease_until": from_now(bindparam("lease_s", type_=Float)),
        "started_at": NOW,
        "frames_done": 0,
    }
    engine = select(predictions.c.engine).where(predictions.c.id == bindparam("of"))
    claimed = update(units).where(units.c.id == first).values(values)
    return claimed.returning(units, engine.scalar_subquery().label("engine"))


_LEASE = _leasing()


def held(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    """The guard of every write by a claim's holder: unit, attempt, owner and state."""
    return (
        units.c.id == claim.unit_id,
        units.c.attempt == claim.attempt,
        units.c.owner == claim.owner,
        units.c.state == "leased",
    )


def renew(connection: Connection, claim: Claim, lease_s: float, frames_done: int) -> bool:
    """Lengthens the lease and tells the progress; false if the claim is no longer held."""
    until = from_now(lease_s)
    statement = update(units).where(*held(claim))
    return (
        connection.execute(statement.values(lease_until=until, frames_done=frames_done)).rowcount
        == 1
    )


class Standing(StrEnum):
    """How a claim stands: `unwanted` means that its prediction is final."""

    WANTED = "wanted"
    UNWANTED = "unwanted"
    LOST = "lost"


def standing(connection: Connection, claim: Claim) -> Standing:
    """Whether the claim is still held, and its prediction still open."""
    statement = (
        select(predictions.c.status)
        .join_from(units, predictions, units.c.prediction_id == predictions.c.id)
        .where(*held(claim))
    )
    status = connection.execute(statement).scalar_one_or_none()
    if status is None:
        return Standing.LOST
    return Standing.WANTED if status in OPEN else Standing.UNWANTED


def result_of(
    connection: Connection, prediction_id: PredictionId, seq: int
) -> Mapping[str, Any] | None:
    """What a finished unit left for its successors; None while it is not done."""
    statement = select(units.c.result).where(
        units.c.prediction_id == prediction_id, units.c.seq == seq, units.c.state == "done"
    )
    return connection.execute(statement).scalar_one_or_none()


def keep_progress(connection: Connection, claim: Claim, progress: Mapping[str, Any]) -> bool:
    """Keeps how far the unit came for its next holder; false if the claim is not held.

    It stands where the result will.
    """
    statement = update(units).where(*held(claim)).values(result={"progress": dict(progress)})
    return connection.execute(statement).rowcount == 1


def progress_of(connection: Connection, claim: Claim) -> Mapping[str, Any] | None:
    """What `keep_progress` was last given for the unit, in this attempt or one before."""
    statement = select(units.c.result).where(units.c.id == claim.unit_id, units.c.state != "done")
    result = connection.execute(statement).scalar_one_or_none()
    return None if result is None else result["progress"]


def finish(
    connection: Connection, claim: Claim, result: Mapping[str, Any], frames_done: int
) -> float | None:
    """Marks the unit done and wakes those that waited for it.

    Returns the seconds since it was claimed; None if the claim is not held.
    """
    seconds = func.extract("epoch", NOW - units.c.started_at)
    done = update(units).where(*held(claim))
    values: dict[str, Any] = {
        "state": "done",
        "owner": None,
        "lease_until": None,
        "frames_done": frames_done,
    }
    values |= {"result": dict(result), "finished_at": NOW, "seconds": seconds}
    took = connection.execute(done.values(**values).returning(units.c.seconds)).one_or_none()
    if took is None:
        return None
    left = units.c.waits_for - 1
    waiting = update(units).where(
        units.c.prediction_id == claim.prediction_id,
        units.c.state == "blocked",
        literal(claim.seq) == any_(units.c.after),
    )
    state = case((left <= 0, "ready"), else_="blocked")
    connection.execute(waiting.values(waits_for=left, state=state, not_before=NOW))
    return float(took.seconds)


def is_done(connection: Connection, claim: Claim) -> bool:
    """Whether this very claim finished the unit; its holder may not have heard so."""
    statement = select(units.c.id).where(
        units.c.id == claim.unit_id, units.c.attempt == claim.attempt, units.c.state == "done"
    )
    return connection.execute(statement).one_or_none() is not None


def give_back(
    connection: Connection,
    claim: Claim,
    *,
    after_s: float,
    counts_attempt: bool,
    lost: bool = False,
) -> bool:
    """Makes a leased unit ready again after `after_s`; false if the claim is not held.

    A unit given back by a worker told to stop does not count as an attempt; a `lost` one adds to
    its losses, which start anew when it got further than the last time.
    """
    same_frame = units.c.lost_at_frame.is_not_distinct_from(units.c.frames_done)
    values: dict[str, Any] = {
        "state": "ready",
        "owner": None,
        "lease_until": None,
        "not_before": from_now(after_s),
    }
    if not counts_attempt:
        values["given_back"] = units.c.given_back + 1
    if lost:
        values["losses"] = case((same_frame, units.c.losses + 1), else_=1)
        values["lost_at_frame"] = units.c.frames_done
    return connection.execute(update(units).where(*held(claim)).values(**values)).rowcount == 1


def drop(connection: Connection, claim: Claim) -> bool:
    """Ends a leased unit whose prediction is final; false if the claim is not held."""
    values = {"state": "dropped", "owner": None, "lease_until": None, "finished_at": NOW}
    return connection.execute(update(units).where(*held(claim)).values(**values)).rowcount == 1


def drop_open(connection: Connection, prediction_id: PredictionId) -> None:
    """Ends the units nobody works on; leased ones end when their holder lets go."""
    statement = update(units).where(
        units.c.prediction_id == prediction_id, units.c.state.in_(("blocked", "ready"))
    )
    connection.execute(statement.values(state="dropped", finished_at=NOW))


def tries(connection: Connection, claim: Claim) -> tuple[int, int]:
    """How often the unit was tried, and how often its worker died at the same frame."""
    row = connection.execute(select(units).where(units.c.id == claim.unit_id)).one()
    return row.attempt - row.given_back, row.losses


def expired(connection: Connection, limit: int) -> list[Claim]:
    """Leases that ran out."""
    return _claims(connection, units.c.lease_until < NOW, limit)


def owned_by_host(connection: Connection, host: str, limit: int) -> list[Claim]:
    """Leases held by processes of one host; an owner is `host/parent pid/child pid`."""
    return _claims(connection, units.c.owner.startswith(f"{host}/", autoescape=True), limit)


def _claims(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[Claim]:
    statement = select(units).where(units.c.state == "leased", condition).limit(limit)
    return [
        Claim(
            row.id,
            PredictionId(row.prediction_id),
            row.seq,
            row.kind,
            row.lane,
            row.attempt,
            row.owner,
            row.payload,
        )
        for row in connection.execute(statement)
    ]


def done_results(
    connection: Connection, prediction_id: PredictionId, kind: str
) -> list[Mapping[str, Any]]:
    """The results of a job's finished units of one kind, in order."""
    statement = (
        select(units.c.result)
        .where(
            units.c.prediction_id == prediction_id, units.c.kind == kind, units.c.state == "done"
        )
        .order_by(units.c.seq)
    )
    return list(connection.execute(statement).scalars())


def frames_done(
    connection: Connection, prediction_ids: Sequence[PredictionId]
) -> Mapping[str, int]:
    """Frames segmented so far, by prediction; where none are, those that were rendered anew."""
    c = units.c
    done = func.sum(c.frames_done)
    segmented = done.filter(c.kind.in_(("image", "chunk")))
    rendered = done.filter(c.kind.in_(("render", "repaint")))
    joined = done.filter(c.kind == "assemble", c.state == "done")
    statement = (
        select(c.prediction_id, func.coalesce(segmented, rendered, joined, 0))
        .where(c.prediction_id.in_(prediction_ids))
        .group_by(c.prediction_id)
    )
    return {row[0]: int(row[1]) for row in connection.execute(statement)}


def payload_of(connection: Connection, prediction_id: PredictionId, kind: str) -> Mapping[str, Any]:
    """What the job's only unit of a kind was given."""
    statement = select(units.c.payload).where(
        units.c.prediction_id == prediction_id, units.c.kind == kind
    )
    found: Mapping[str, Any] = connection.execute(statement).scalar_one()
    return found
