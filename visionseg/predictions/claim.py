"""Claiming the next unit of work: the only way a worker gets anything to do."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, Engine

from visionseg.contract.status import Status
from visionseg.queue.lanes import GPU_LANES, Lane, UnitKind
from visionseg.records import predictions, shares, turns, units

CANDIDATES = 8
STAGES: Mapping[UnitKind, str] = {
    UnitKind.FETCH: "fetching",
    UnitKind.INGEST: "reading",
    UnitKind.PLAN: "reading",
    UnitKind.IMAGE: "segmenting",
    UnitKind.CHUNK: "segmenting",
    UnitKind.ASSEMBLE: "assembling",
}
"""What the record's progress says; rendering goes on beside segmenting and says nothing."""
RETRIES = 5
RETRY_AFTER_S = 0.02


def claim(
    database: Engine,
    lanes: Sequence[Lane],
    engines: Collection[str],
    owner: str,
    lease_s: float,
) -> units.Claim | None:
    """Leases the unit whose turn it is in the first of `lanes` that has one, or returns None.

    A job whose row another transaction holds is passed over; if only such jobs are left, the claim
    looks again, at most five times.
    """
    for _ in range(RETRIES):
        passed_over = False
        for lane in lanes:
            with database.begin() as connection:
                found, busy = _claim_in(connection, lane, engines, owner, lease_s)
            if found is not None:
                return found
            passed_over |= busy
        if not passed_over:
            return None
        time.sleep(RETRY_AFTER_S)
    return None


def _claim_in(
    connection: Connection, lane: Lane, engines: Collection[str], owner: str, lease_s: float
) -> tuple[units.Claim | None, bool]:
    able = engines if lane in GPU_LANES else None
    candidates = turns.next_jobs(connection, lane, able, CANDIDATES)
    for prediction_id in candidates:
        status = predictions.lock_if_open(connection, prediction_id)
        if status is None:
            continue
        if status == Status.STARTING and not shares.take_room(connection, prediction_id):
            continue
        claimed = units.lease(connection, prediction_id, lane, owner, lease_s)
        if claimed is None:
            continue
        stage = STAGES.get(UnitKind(claimed.kind))
        told = {} if stage is None else {"stage": stage}
        if status == Status.STARTING:
            predictions.move(connection, prediction_id, Status.PROCESSING, **told)
        else:
            predictions.annotate(connection, prediction_id, **told)
        turns.serve(connection, prediction_id, lane)
        turns.refresh(connection, prediction_id)
        return claimed, False
    return None, bool(candidates)
