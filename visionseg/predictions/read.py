"""Reading predictions: rows become records, with absolute links under the caller's base URL."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from visionseg.artifacts.names import PUBLIC_PATH
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.inputs import Kind, media_field
from visionseg.contract.reply import Artifact, Prediction, Progress, QueueState, Urls
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation
from visionseg.records import files, predictions, turns, units
from visionseg.records.engine import clock
from visionseg.records.files import Role
from visionseg.records.predictions import Page, Record

RESOURCE = "/v1/vision-segment/predictions"


@dataclass(frozen=True, slots=True)
class _Extras:
    """What stands beside a prediction's row."""

    artifacts: Sequence[Row[Any]]
    frames_done: int
    position: int | None
    now: datetime


def read(
    installation: Installation,
    organisation_id: OrganisationId,
    prediction_id: PredictionId,
    base_url: str,
    *,
    inline: bool = True,
) -> Prediction:
    """The record of one prediction. Raises `Refusal` (not_found) if there is none such.

    A small output is a data URI; without `inline` it is a URL always.
    """
    with installation.database.connect() as connection:
        row = predictions.find(connection, prediction_id, organisation_id)
        if row is None:
            raise Refusal(ErrorCode.NOT_FOUND, "There is no prediction of yours with that id.")
        position = None
        if row.status == Status.STARTING:
            position = turns.queue_position(connection, prediction_id)
        extras = _extras(connection, [row], position)[row.id]
    return _record(installation, row, extras, base_url, inline=inline)


def list_page(installation: Installation, page: Page, base_url: str) -> list[Prediction]:
    """The records of a page; outputs are always URLs here."""
    with installation.database.connect() as connection:
        rows = predictions.list_page(connection, page)
        extras = _extras(connection, rows, None)
    return [_record(installation, row, extras[row.id], base_url, inline=False) for row in rows]


def _extras(
    connection: Connection, rows: Sequence[Record], position: int | None
) -> Mapping[str, _Extras]:
    ids = [PredictionId(row.id) for row in rows]
    artifacts: dict[str, list[Row[Any]]] = defaultdict(list)
    listed = [PredictionId(row.id) for row in rows if row.deleted_at is None]
    for file in files.of_predictions(connection, listed, Role.ARTIFACT):
        artifacts[file.prediction_id].append(file)
    done = units.frames_done(connection, ids)
    now = clock(connection)
    return {key: _Extras(artifacts[key], done.get(key, 0), position, now) for key in ids}


def _record(
    installation: Installation, row: Record, extras: _Extras, base_url: str, *, inline: bool
) -> Prediction:
    asked = {}
    if row.params.get("include_scores"):
        asked["scores"] = row.scores
    if row.params.get("include_boxes"):
        asked["boxes"] = row.boxes
    here = f"{base_url}{RESOURCE}/{row.id}"
    return Prediction(
        id=row.id,
        kind=Kind(row.kind),
        status=Status(row.status),
        provider=row.provider,
        model=row.model,
        version=row.version,
        input=_input(row, base_url),
        output=_output(installation, row, extras, base_url, inline=inline),
        error=row.error,
        error_code=row.error_code,
        logs=row.logs,
        metrics=_metrics(row, extras),
        warnings=row.warnings,
        progress=_progress(row, extras),
        queue=QueueState(position=extras.position, eta_s=None),
        artifacts=[_artifact(file, base_url) for file in extras.artifacts],
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        released_at=row.released_at,
        deadline=row.deadline,
        urls=Urls(get=here, cancel=f"{here}/cancel", events=f"{here}/events", web=here),
        **asked,
    )


def _input(row: Record, base_url: str) -> dict[str, Any]:
    shown = dict(row.input)
    if row.source.get("echo"):
        shown[media_field(Kind(row.kind))] = f"{base_url}{PUBLIC_PATH}{row.source['echo']}"
    return shown


def _output(
    installation: Installation, row: Record, extras: _Extras, base_url: str, *, inline: bool
) -> str | None:
    file = next((file for file in extras.artifacts if file.name == row.output_name), None)
    if file is None:
        return None
    small = file.size_bytes <= installation.settings.storage.inline_bytes
    if inline and small and file.deleted_at is None:
        try:
            data = installation.store.path(file.store_key).read_bytes()
        except FileNotFoundError:  # expired between the query and now
            return f"{base_url}{PUBLIC_PATH}{file.name}"
        return f"data:{file.content_type};base64,{base64.b64encode(data).decode()}"
    return f"{base_url}{PUBLIC_PATH}{file.name}"


def _artifact(file: Row[Any], base_url: str) -> Artifact:
    return Artifact(
        name=file.name.removeprefix(f"{file.prediction_id}_"),
        url=f"{base_url}{PUBLIC_PATH}{file.name}",
        content_type=file.content_type,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        expires_at=file.expires_at,
    )


def _working_s(row: Record, now: datetime) -> float | None:
    if row.started_at is None:
        return None
    return float(((row.completed_at or now) - row.started_at).total_seconds())


def _metrics(row: Record, extras: _Extras) -> dict[str, Any]:
    measured = dict(row.metrics)
    if row.status in FINAL and (seconds := _working_s(row, extras.now)) is not None:
        measured["predict_time"] = round(seconds, 3)
        measured["total_time"] = round((row.completed_at - row.created_at).total_seconds(), 3)
    return measured


def _progress(row: Record, extras: _Extras) -> Progress:
    seconds, done = _working_s(row, extras.now), extras.frames_done
    fps = round(done / seconds, 3) if seconds and done else None
    left = None
    if fps and row.frames_total and row.status not in FINAL:
        left = round(max(0, row.frames_total - done) / fps, 1)
    return Progress(
        frames_done=done, frames_total=row.frames_total, fps=fps, eta_s=left, stage=row.stage
    )
