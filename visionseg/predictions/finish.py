"""The ends of a unit of work: done, failed, given back or let go. Each is one transaction.

A holder whose lease was lost meanwhile changes nothing: every function returns whether it held.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from visionseg.contract.errors import ERRORS, ErrorCode, Refusal
from visionseg.contract.ids import KeyId, PredictionId
from visionseg.contract.status import FINAL, OPEN, Status
from visionseg.predictions.announce import announce
from visionseg.predictions.dry_run import TOLD_IN_PLAN, told
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import OPTIONAL_LANES, Lane
from visionseg.records import files, keys, predictions, shares, speeds, turns, units
from visionseg.records.files import NewFile
from visionseg.records.predictions import Record
from visionseg.records.units import Claim, NewUnit

LONGEST_BACK_OFF_S = 60.0


@dataclass(frozen=True, slots=True)
class Success:
    """What a prediction ends with: the name of the output file, and what stands in its record.

    A dry run has no output; its plan is one of the outcome's columns.
    """

    output_name: str | None
    scores: Sequence[float] | None = None
    boxes: Sequence[Sequence[float]] | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a unit of work leaves behind; all of it becomes visible together, or none of it.

    `spent` names stored files that nobody needs any more. `away_s` seconds of its time went to
    other units, which it let go first or worked beside.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    frames_done: int = 0
    files: Sequence[NewFile] = ()
    new_units: Sequence[NewUnit] = ()
    log_lines: Sequence[str] = ()
    warnings: Sequence[str] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    success: Success | None = None
    spent: Sequence[str] = ()
    away_s: float = 0.0


def complete(installation: Installation, claim: Claim, outcome: Outcome) -> bool:
    """Makes the outcome of a unit visible, if its claim is held and its prediction still open.

    It may be called again where the database's answer was lost: what was done is not done twice.
    """
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if units.is_done(connection, claim):
            return True
        if row is None or row.status not in OPEN:
            return False
        took_s = units.finish(connection, claim, outcome.result, outcome.frames_done)
        if took_s is None:
            return False
        files.add(connection, row.organisation_id, claim.prediction_id, outcome.files)
        files.expire_stored(connection, claim.prediction_id, outcome.spent)
        units.add(connection, claim.prediction_id, outcome.new_units)
        predictions.say(connection, claim.prediction_id, outcome.log_lines, outcome.warnings)
        predictions.annotate(connection, claim.prediction_id, **outcome.columns)
        if outcome.success is not None:
            _succeed(connection, installation, claim, outcome.success, row.metrics)
        turns.refresh(connection, claim.prediction_id)
        own_s = max(0.0, took_s - outcome.away_s)
        speeds.measure(connection, row.engine, claim.kind, own_s, outcome.frames_done)
        shares.charge(connection, row.key_id, claim.unit_id, outcome.away_s)
    wake_ready(installation, claim)
    announce(installation, row)
    return True


def _succeed(
    connection: Connection,
    installation: Installation,
    claim: Claim,
    success: Success,
    metrics: Mapping[str, Any],
) -> None:
    moved = predictions.move(
        connection,
        claim.prediction_id,
        Status.SUCCEEDED,
        stage="succeeded",
        output_name=success.output_name,
        scores=success.scores,
        boxes=success.boxes,
        metrics={**metrics, **success.metrics},
    )
    if moved is not None:
        close_job(connection, installation, moved)


def close_job(connection: Connection, installation: Installation, moved: Record) -> None:
    """What follows every final move: open units end, files get their time, workers are let go."""
    prediction_id = PredictionId(moved.id)
    units.drop_open(connection, prediction_id)
    turns.refresh(connection, prediction_id)
    if moved.dry_run:
        files.expire_all(connection, prediction_id)
    else:
        keep_s = kept_s(connection, installation, KeyId(moved.key_id))
        succeeded = moved.status == Status.SUCCEEDED
        files.expire_with(connection, prediction_id, keep_s, succeeded=succeeded)
    predictions.release(connection, prediction_id)


def kept_s(connection: Connection, installation: Installation, key_id: KeyId) -> float:
    """How long the files of a key are kept, in seconds; 0 is zero retention."""
    own = keys.keep_s(connection, key_id)
    return installation.settings.storage.outputs_keep_s if own is None else own


def wake_ready(installation: Installation, claim: Claim) -> None:
    """Hints at the lanes in which the claim's job has ready units."""
    with installation.database.connect() as connection:
        lanes = turns.ready_lanes(connection, claim.prediction_id)
    for lane in lanes:
        installation.hints.wake(Lane(lane))


def fail(installation: Installation, claim: Claim, refusal: Refusal) -> bool:
    """Ends a unit that went wrong: tried again with back-off if its code allows, else final."""
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if row is None or row.status not in OPEN:
            return False
        tries, _ = units.tries(connection, claim)
        again = refusal.kind.retryable and tries < installation.settings.lease.max_transient
        again &= not _is_optional(claim)
        if again:
            held = units.give_back(
                connection, claim, after_s=back_off_s(tries), counts_attempt=True
            )
        else:
            held = units.drop(connection, claim)
        if not held:
            return False
        if again:
            line = f"{claim.kind}: try {tries} failed ({refusal.code}), trying again"
            predictions.say(connection, claim.prediction_id, [line])
            turns.refresh(connection, claim.prediction_id)
        elif not _is_optional(claim):
            _fail_for_good(connection, installation, claim, row, refusal)
        shares.charge(connection, row.key_id, claim.unit_id)
    announce(installation, row)
    return True


def _is_optional(claim: Claim) -> bool:
    """Whether the prediction goes on without the unit, however that ended."""
    return claim.lane in OPTIONAL_LANES


def _fail_for_good(
    connection: Connection,
    installation: Installation,
    claim: Claim,
    row: predictions.Record,
    refusal: Refusal,
) -> None:
    """A failure that stays; what a dry run was asked for is to tell it."""
    if not row.dry_run or refusal.code not in TOLD_IN_PLAN:
        end_failed(connection, installation, claim.prediction_id, refusal)
        return
    predictions.annotate(connection, claim.prediction_id, plan={"refusal": told(refusal)})
    _succeed(connection, installation, claim, Success(None), row.metrics)


def end_failed(
    connection: Connection,
    installation: Installation,
    prediction_id: PredictionId,
    refusal: Refusal,
) -> Record | None:
    """Moves a prediction to `failed` with the refusal's code and sentence.

    Returns its row, or None if someone else moved it.
    """
    moved = predictions.move(
        connection,
        prediction_id,
        Status.FAILED,
        stage="failed",
        error=refusal.detail,
        error_code=refusal.code,
    )
    if moved is not None:
        close_job(connection, installation, moved)
    return moved


def back_off_s(tries: int) -> float:
    """Seconds before the next try: 1, 2, 4 … up to 60, each with up to half of it as jitter."""
    base = min(LONGEST_BACK_OFF_S, 2.0 ** max(0, tries - 1))
    return base * (1 + random.random() / 2)  # noqa: S311 - jitter is no secret


def give_back(installation: Installation, claim: Claim) -> bool:
    """Returns a unit unfinished because the worker stops; this counts as no attempt."""
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if row is None or row.status in FINAL:
            return False
        held = units.give_back(connection, claim, after_s=0, counts_attempt=False)
        turns.refresh(connection, claim.prediction_id)
    if held:
        installation.hints.wake(Lane(claim.lane))
    return held


def let_go(installation: Installation, claim: Claim) -> None:
    """Ends a unit whose prediction is final; the last one to let go sets `released_at`."""
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if row is not None and row.status in FINAL:
            units.drop(connection, claim)
            predictions.release(connection, claim.prediction_id)


def lose(installation: Installation, claim: Claim) -> bool:
    """Takes a unit away from a holder that died or froze; ends the job if the unit is poison."""
    lease = installation.settings.lease
    with installation.database.begin() as connection:
        row = predictions.lock(connection, claim.prediction_id)
        if row is None:
            return False
        if row.status in FINAL or _is_optional(claim):
            held = units.drop(connection, claim)
            predictions.release(connection, claim.prediction_id)
            return held
        held = units.give_back(connection, claim, after_s=0.1, counts_attempt=True, lost=True)
        if not held:
            return False
        tries, losses = units.tries(connection, claim)
        line = f"{claim.kind}: worker lost on try {tries}"
        predictions.say(connection, claim.prediction_id, [line])
        if losses >= lease.max_losses or tries >= lease.max_attempts:
            refusal = Refusal(ErrorCode.WORKER_LOST, ERRORS[ErrorCode.WORKER_LOST].sentence)
            end_failed(connection, installation, claim.prediction_id, refusal)
        turns.refresh(connection, claim.prediction_id)
    announce(installation, row)
    installation.hints.wake(Lane(claim.lane))
    return True
