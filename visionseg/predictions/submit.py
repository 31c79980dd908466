"""Accepting a prediction: everything is checked first, then one transaction writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from visionseg.access.keys import Caller
from visionseg.contract.ids import PredictionId, new_prediction_id
from visionseg.contract.inputs import AnySubmission, ImageSubmission, Kind, Terms, media_field
from visionseg.predictions import engines
from visionseg.predictions.admission import Queue
from visionseg.predictions.dry_run import told
from visionseg.predictions.installation import Installation
from visionseg.predictions.sources import Given, Source, refuse_bad_url, resolve
from visionseg.queue.lanes import LANE_OF, UnitKind
from visionseg.records import files, predictions, turns, units
from visionseg.records.engine import DATABASE_AWAY
from visionseg.records.predictions import NewPrediction
from visionseg.records.units import NewUnit

Also = Callable[[Connection, PredictionId], None]


def nothing_more(_connection: Connection, _made: PredictionId) -> None:
    """What most submissions write beside the prediction."""


def submit(
    installation: Installation,
    caller: Caller,
    submission: AnySubmission,
    given_input: Mapping[str, Any],
    base_url: str,
    also: Also = nothing_more,
) -> PredictionId:
    """Writes a prediction in `starting` and wakes its lane; `given_input` is echoed as sent.

    `also` runs in the transaction that writes it. Raises `Refusal` where the JSON alone shows that
    it cannot be done, and what `also` raises. Nothing is left behind then.
    """
    kind = Kind.IMAGE if isinstance(submission, ImageSubmission) else Kind.VIDEO
    choice = engines.choose(submission, installation.settings.models)
    admit(installation, caller, submission, dry_run=submission.dry_run)
    prediction_id = new_prediction_id()
    given = Given(getattr(submission.input, media_field(kind)), base_url)
    source = resolve(installation, caller.organisation_id, prediction_id, kind, given)
    new = NewPrediction(
        id=prediction_id,
        organisation_id=caller.organisation_id,
        key_id=caller.key_id,
        kind=kind,
        provider=submission.provider,
        model=submission.model,
        engine=choice.engine,
        input=_echoed(given_input, kind, source),
        params=submission.input.model_dump(mode="json", exclude={media_field(kind)}),
        source={**source.spec, "echo": source.echo},
        priority=submission.priority,
        deadline_s=submission.deadline_s,
        stage="queued",
        warnings=choice.warnings,
        frames_total=1 if kind is Kind.IMAGE and not submission.dry_run else None,
        base_url=base_url,
        webhook=submission.webhook,
        webhook_events=submission.webhook_events_filter,
        dry_run=submission.dry_run,
        plan=_begun_plan(installation, caller) if submission.dry_run else None,
    )
    planned = first_units(kind, fetch="url" in source.spec, dry_run=submission.dry_run)

    def name_input(connection: Connection, made: PredictionId) -> None:
        if source.stored is not None:
            files.add(connection, caller.organisation_id, made, [source.stored])
        also(connection, made)

    try:
        accept(installation, new, planned, name_input)
    except BaseException as error:
        if source.stored is not None and not _is_unsure(error):
            installation.store.delete(source.stored.store_key)
        raise
    return prediction_id


def admit(
    installation: Installation, caller: Caller, terms: Terms, *, dry_run: bool = False
) -> None:
    """Counts one more prediction of the caller in.

    Raises `Refusal`: for a webhook that could never be reached, rate_limited, queue_full,
    storage_quota.
    """
    limits = installation.settings.limits
    if terms.webhook is not None:
        refuse_bad_url(terms.webhook, limits, "/webhook")
    queue = Queue(caller.key_id, dry_runs=dry_run)
    installation.admission.admit(installation.database, limits, queue)
    quota_bytes = limits.store_quota_bytes
    installation.quota.insist(installation.database, quota_bytes, caller.organisation_id)


def accept(
    installation: Installation, new: NewPrediction, planned: Sequence[NewUnit], also: Also
) -> None:
    """Writes a prediction with its first units in one transaction, and wakes their lane.

    Raises what `also` raises, and what the database raises unless it was written all the same.
    """
    try:
        with installation.database.begin() as connection:
            predictions.add(connection, new)
            units.add(connection, new.id, planned)
            turns.refresh(connection, new.id)
            also(connection, new.id)
    except DBAPIError as error:
        if not (_is_unsure(error) and _is_written(installation, new.id)):
            raise
    installation.hints.wake(LANE_OF[UnitKind(planned[0].kind)])


def _is_unsure(error: BaseException) -> bool:
    """Whether the commit may have happened, its answer lost."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _begun_plan(installation: Installation, caller: Caller) -> dict[str, Any]:
    """What the caps would say to the same submission without `dry_run`."""
    limits, queue = installation.settings.limits, Queue(caller.key_id)
    refusal = installation.admission.refusal(installation.database, limits, queue)
    return {"refusal": None if refusal is None else told(refusal)}


def _is_written(installation: Installation, prediction_id: PredictionId) -> bool:
    """Whether it is known to be committed though the answer was lost.

    If not, or not yet, its stored input is left to the sweeper of orphans.
    """
    with suppress(*DATABASE_AWAY), installation.database.connect() as connection:
        return predictions.get(connection, prediction_id) is not None
    return False


def _echoed(given: Mapping[str, Any], kind: Kind, source: Source) -> dict[str, Any]:
    echoed = dict(given)
    if source.echo is not None:
        echoed[media_field(kind)] = None  # its URL depends on how the record is asked for
    return echoed


def first_units(kind: Kind, *, fetch: bool, dry_run: bool) -> list[NewUnit]:
    """The units a prediction begins with: fetch where there is a URL, then image or ingest; for a
    dry run, plan.
    """
    real = UnitKind.IMAGE if kind is Kind.IMAGE else UnitKind.INGEST
    kinds = [UnitKind.FETCH] if fetch else []
    kinds.append(UnitKind.PLAN if dry_run else real)
    return [
        NewUnit(seq, unit, LANE_OF[unit], after=[seq - 1] if seq else [])
        for seq, unit in enumerate(kinds)
    ]
