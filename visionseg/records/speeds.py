"""Statements on speeds: how long units of work took of late, by engine and kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Float, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from visionseg.records.tables import NOW, from_now, speeds

NEW_PART = 0.2
"""How much the newest measurement counts in the mean: what came five before it counts a third."""
AT_MOST_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Mean seconds of a unit from its claim to its end, and of a frame, where it counts frames."""

    unit_s: float
    frame_s: float | None = None


def measure(connection: Connection, engine: str, kind: str, seconds: float, frames: int) -> None:
    """Takes a finished unit into the mean of its engine and kind.

    At most one a second is taken, and none while another transaction writes the same row: units
    that end together never wait for each other here.
    """
    c = speeds.c
    frame_s = literal(seconds / frames if frames else None, Float)
    own = (c.engine == engine, c.kind == kind)
    due = select(c.engine, c.kind).where(*own, c.measured_at < from_now(-AT_MOST_EVERY_S))
    renewed = (
        update(speeds)
        .where(tuple_(c.engine, c.kind).in_(due.with_for_update(skip_locked=True)))
        .values(
            unit_s=c.unit_s + NEW_PART * (seconds - c.unit_s),
            frame_s=func.coalesce(c.frame_s + NEW_PART * (frame_s - c.frame_s), frame_s, c.frame_s),
            measured_at=NOW,
        )
        .cte("renewed")
    )
    names = ["engine", "kind", "unit_s", "frame_s"]
    first = select(literal(engine), literal(kind), literal(seconds, Float), frame_s).where(
        ~select(c.kind).where(*own).exists()
    )
    new = insert(speeds).from_select(names, first)
    connection.execute(new.on_conflict_do_nothing().add_cte(renewed))


def all_measured(connection: Connection) -> Mapping[tuple[str, str], Speed]:
    """Every speed by engine and kind of unit."""
    rows = connection.execute(select(speeds))
    return {(row.engine, row.kind): Speed(row.unit_s, row.frame_s) for row in rows}
