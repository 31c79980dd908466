"""Sending a failed prediction again: a new prediction from the old one's input."""

from __future__ import annotations

from collections.abc import Sequence

from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import KeyId, OrganisationId, PredictionId, new_prediction_id
from visionseg.contract.inputs import ImageRender, Kind, VideoRender
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from visionseg.predictions.render import render
from visionseg.predictions.submit import first_units
from visionseg.queue.lanes import LANE_OF, UnitKind
from visionseg.records import files, predictions, turns, units
from visionseg.records.predictions import NewPrediction, Record


def dead_letters(installation: Installation, limit: int = 1000) -> Sequence[Record]:
    """The predictions that failed because their workers died too often, newest first."""
    with installation.database.connect() as connection:
        return predictions.failed_with(connection, ErrorCode.WORKER_LOST, limit)


def send_again(installation: Installation, prediction_id: PredictionId) -> PredictionId:
    """A new prediction that asks what a failed or canceled one asked; the old one stays as it is.

    Raises `Refusal`: not_found, gone (its input is no longer kept), invalid_input (not failed).
    """
    with installation.database.connect() as connection:
        old = predictions.get(connection, prediction_id)
    if old is None:
        raise Refusal(ErrorCode.NOT_FOUND)
    if old.status not in {Status.FAILED, Status.CANCELED}:
        raise Refusal(ErrorCode.INVALID_INPUT, f"{prediction_id} is {old.status}.")
    if old.rendered_from is not None:
        return _rendered_again(installation, old)
    with installation.database.begin() as connection:
        source = {
            name: old.source[name]
            for name in ("url", "store_key", "content_type", "echo")
            if name in old.source
        }
        fetched = "url" in source  # it is fetched anew: it may be what failed
        if old.deleted_at is not None:
            raise Refusal(ErrorCode.GONE)
        if not (fetched or files.is_kept(connection, source["store_key"])):
            raise Refusal(ErrorCode.GONE)
        new = _copy(old, source)
        planned = first_units(Kind(new.kind), fetch=fetched, dry_run=new.dry_run)
        predictions.add(connection, new)
        units.add(connection, new.id, planned)
        turns.refresh(connection, new.id)
    installation.hints.wake(LANE_OF[UnitKind(planned[0].kind)])
    return new.id


def _rendered_again(installation: Installation, old: Record) -> PredictionId:
    """A render of a render is what that one was to be."""
    caller = Caller(KeyId(old.key_id), OrganisationId(old.organisation_id), frozenset())
    model = ImageRender if old.kind == Kind.IMAGE else VideoRender
    asked = model.model_validate(
        {
            "input": {},
            "priority": old.priority,
            "deadline_s": _deadline_s(old),
            "webhook": old.webhook,
            "webhook_events_filter": old.webhook_events,
        }
    )
    return render(installation, caller, PredictionId(old.id), asked, old.base_url or "")


def _deadline_s(old: Record) -> float:
    return float((old.deadline - old.created_at).total_seconds())


def _copy(old: Record, source: dict[str, str]) -> NewPrediction:
    return NewPrediction(
        id=new_prediction_id(),
        organisation_id=OrganisationId(old.organisation_id),
        key_id=KeyId(old.key_id),
        kind=old.kind,
        provider=old.provider,
        model=old.model,
        engine=old.engine,
        input=old.input,
        params=old.params,
        source=source,
        priority=old.priority,
        deadline_s=_deadline_s(old),
        stage="queued",
        warnings=[f"Sent again from {old.id}."],
        frames_total=1 if old.kind == Kind.IMAGE else None,
        base_url=old.base_url or "",
        webhook=old.webhook,
        webhook_events=old.webhook_events,
        dry_run=old.dry_run,
        plan=old.plan,
    )
