"""Rendering: the masks of a final prediction in another form, without the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId, PredictionId, new_prediction_id
from visionseg.contract.inputs import AnyRender
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from visionseg.predictions.masks import Masks, finished_masks
from visionseg.predictions.submit import Also, accept, admit, nothing_more
from visionseg.records import files, predictions
from visionseg.records.files import Role
from visionseg.records.predictions import NewPrediction, Record

KEPT_OF_SOURCE = ("store_key", "content_type", "echo", "plan")


@dataclass(frozen=True, slots=True)
class _Source:
    """What is rendered."""

    row: Record
    masks: Masks

    def warnings(self) -> Sequence[str]:
        """Those of the source, and that it is not whole, if it is not."""
        told: list[str] = list(self.row.warnings)
        if self.row.status != Status.SUCCEEDED:
            part = f"{self.masks.frames} of {self.row.frames_total} frames"
            told.append(f"{self.row.id} is {self.row.status}; its finished {part} were rendered.")
        return told


def render(
    installation: Installation,
    caller: Caller,
    source_id: PredictionId,
    asked: AnyRender,
    base_url: str,
    also: Also = nothing_more,
) -> PredictionId:
    """A new prediction that writes the masks of a final one as `asked` says; no model is needed.

    It holds the files it needs by itself, so that the source may be deleted at once. Raises
    `Refusal`: not_found, gone, not_renderable, rate_limited, queue_full, and for the webhook.
    """
    source = _read(installation, caller.organisation_id, source_id, asked)
    admit(installation, caller, asked)
    new = _new(caller, source, asked, base_url)

    def hold(connection: Connection, made: PredictionId) -> None:
        predictions.lock(connection, source_id)  # whoever deletes it waits
        _hold(connection, source, new)
        also(connection, made)

    accept(installation, new, source.masks.units, hold)
    return new.id


def _read(
    installation: Installation,
    organisation_id: OrganisationId,
    source_id: PredictionId,
    asked: AnyRender,
) -> _Source:
    with installation.database.connect() as connection:
        row = predictions.find(connection, source_id, organisation_id)
        if row is None:
            raise Refusal(ErrorCode.NOT_FOUND, "There is no prediction of yours with that id.")
        params = {**row.params, **asked.input.changed()}
        return _Source(row, finished_masks(connection, row, params))


def _new(caller: Caller, source: _Source, asked: AnyRender, base_url: str) -> NewPrediction:
    row, changed = source.row, asked.input.changed()
    return NewPrediction(
        id=new_prediction_id(),
        organisation_id=caller.organisation_id,
        key_id=caller.key_id,
        kind=row.kind,
        provider=row.provider,
        model=row.model,
        engine=row.engine,
        input={**row.input, **changed},
        params={**row.params, **changed},
        source={name: row.source[name] for name in KEPT_OF_SOURCE if name in row.source},
        priority=asked.priority,
        deadline_s=asked.deadline_s,
        stage="queued",
        warnings=source.warnings(),
        frames_total=source.masks.frames,
        base_url=base_url,
        webhook=asked.webhook,
        webhook_events=asked.webhook_events_filter,
        version=row.version,
        rendered_from=PredictionId(row.id),
    )


def _hold(connection: Connection, source: _Source, new: NewPrediction) -> None:
    """Names the source's files for the new prediction too. Raises `Refusal` (gone)."""
    needed, media = source.masks.files, source.row.source["store_key"]
    names = files.share(connection, new.organisation_id, new.id, {media: Role.BASIS, **needed})
    if needed.keys() - names.keys():
        raise Refusal(
            ErrorCode.GONE,
            "The input or the masks of the prediction have expired or were deleted.",
            detail_zh="该任务的输入或掩码已过期或已被删除。",
        )
    if new.source.get("echo") and media in names:
        echo = {**new.source, "echo": names[media]}
        predictions.annotate(connection, new.id, source=echo)
