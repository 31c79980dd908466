"""Reading predictions: rows become records, with absolute links under the caller's base URL."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from visionseg.artifacts.names import PUBLIC_PATH
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import FileId, OrganisationId, PredictionId
from visionseg.contract.inputs import Kind, OutputFormat, media_field
from visionseg.contract.reply import (
    Artifact,
    Plan,
    Prediction,
    Progress,
    Provenance,
    QueueState,
    Urls,
)
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.forecast import Forecast
from visionseg.predictions.installation import Installation
from visionseg.predictions.preview import has_preview
from visionseg.queue.lanes import UnitKind
from visionseg.records import files, keys, predictions, turns, units
from visionseg.records.engine import clock
from visionseg.records.files import Role
from visionseg.records.predictions import Page, Record

RESOURCE = "/v1/vision-segment/predictions"
NOT_WAITING = QueueState(position=None, eta_s=None)


@dataclass(frozen=True, slots=True)
class _Extras:
    """What stands beside a prediction's row."""

    artifacts: Sequence[Row[Any]]
    frames_done: int
    now: datetime
    forecast: Forecast | None
    queue: QueueState = NOT_WAITING
    organisation: str | None = None


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
        if row.status == Status.STARTING:
            extras = _waiting(connection, installation, prediction_id)
        else:
            extras = _extras(connection, installation, [row])[row.id]
    return _record(installation, row, extras, base_url, inline=inline)


def list_page(installation: Installation, page: Page, base_url: str) -> list[Prediction]:
    """The records of a page; outputs are always URLs here. A page of all organisations says whose
    each is.
    """
    with installation.database.connect() as connection:
        rows = predictions.list_page(connection, page)
        extras = _extras(connection, installation, rows)
        if page.organisation_id is None:
            names = keys.organisations_by_id(connection)
            extras = {
                row.id: replace(extras[row.id], organisation=names[row.organisation_id])
                for row in rows
            }
    return [_record(installation, row, extras[row.id], base_url, inline=False) for row in rows]


def _waiting(
    connection: Connection, installation: Installation, prediction_id: PredictionId
) -> _Extras:
    """What stands beside a prediction that no worker has touched."""
    queue = NOT_WAITING
    if (place := turns.place(connection, prediction_id)) is not None:
        forecast = installation.forecasts.now(connection)
        first = forecast.goes_first(place, turns.ahead(connection, place))
        queue = QueueState(position=first, eta_s=forecast.wait_s(place, first))
    return _Extras((), 0, clock(connection), None, queue)


def _extras(
    connection: Connection, installation: Installation, rows: Sequence[Record]
) -> Mapping[str, _Extras]:
    ids = [PredictionId(row.id) for row in rows]
    artifacts: dict[str, list[Row[Any]]] = defaultdict(list)
    listed = [PredictionId(row.id) for row in rows if row.deleted_at is None]
    for file in files.of_predictions(connection, listed, Role.ARTIFACT):
        artifacts[file.prediction_id].append(file)
    done = units.frames_done(connection, ids)
    now = clock(connection)
    works = any(row.status == Status.PROCESSING for row in rows)
    forecast = installation.forecasts.now(connection) if works else None
    return {key: _Extras(artifacts[key], done.get(key, 0), now, forecast) for key in ids}


def _record(
    installation: Installation, row: Record, extras: _Extras, base_url: str, *, inline: bool
) -> Prediction:
    asked = {}
    if row.params.get("include_scores"):
        asked["scores"] = row.scores
    if row.params.get("include_boxes"):
        asked["boxes"] = row.boxes
    if extras.organisation is not None:
        asked["organisation"] = extras.organisation
    here = f"{base_url}{RESOURCE}/{row.id}"
    output = next((file for file in extras.artifacts if file.name == row.output_name), None)
    data = _data_uri(installation, output, extras.now) if output and inline else None
    record = Prediction(
        id=row.id,
        kind=Kind(row.kind),
        status=Status(row.status),
        provider=row.provider,
        model=row.model,
        version=row.version,
        input=_input(row, base_url),
        output=data or (f"{base_url}{PUBLIC_PATH}{output.name}" if output else None),
        error=row.error,
        error_code=row.error_code,
        logs=row.logs,
        metrics=_metrics(row, extras),
        plan=_plan(row),
        provenance=_provenance(row),
        rendered_from=row.rendered_from,
        warnings=row.warnings,
        progress=_progress(row, extras),
        queue=extras.queue,
        artifacts=[_artifact(file, base_url) for file in extras.artifacts],
        created_at=row.created_at,
        started_at=row.started_at,
        completed_at=row.completed_at,
        released_at=row.released_at,
        deadline=row.deadline,
        urls=_urls(row, here),
        **asked,
    )
    return record.inlining(FileId(output.id)) if data and output and output.once else record


def _urls(row: Record, here: str) -> Urls:
    preview = {"preview": f"{here}/preview.m3u8"} if has_preview(row) else {}
    return Urls(get=here, cancel=f"{here}/cancel", events=f"{here}/events", web=here, **preview)


def _input(row: Record, base_url: str) -> dict[str, Any]:
    shown = dict(row.input)
    if row.source.get("echo"):
        shown[media_field(Kind(row.kind))] = f"{base_url}{PUBLIC_PATH}{row.source['echo']}"
    return shown


def _data_uri(installation: Installation, file: Row[Any], now: datetime) -> str | None:
    """A small file that is still there as a data URI."""
    gone = file.deleted_at is not None or (file.expires_at is not None and file.expires_at <= now)
    if gone or file.size_bytes > installation.settings.storage.inline_bytes:
        return None
    try:
        data = installation.store.path(file.store_key).read_bytes()
    except FileNotFoundError:  # expired between the query and now
        return None
    return f"data:{file.content_type};base64,{base64.b64encode(data).decode()}"


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
    left_s = None
    if row.status == Status.PROCESSING and extras.forecast and row.frames_total:
        left_s = _left_s(row, done, seconds or 0.0, extras.forecast)
    return Progress(
        frames_done=done,
        frames_total=row.frames_total,
        fps=fps,
        eta_s=None if left_s is None else round(left_s, 1),
        stage=row.stage,
    )


def _left_s(row: Record, done: int, spent_s: float, forecast: Forecast) -> float | None:
    """Seconds of work left: at the prediction's own speed once it has one, else as expected."""
    if row.kind == Kind.IMAGE:
        expected = forecast.frame_s(row.engine, UnitKind.IMAGE)
        return None if expected is None else max(0.0, expected - spent_s)
    if not done:
        rendered = row.params.get("output_format") != OutputFormat.COCO_RLE
        anew = row.rendered_from is not None
        return forecast.video_s(row.engine, row.frames_total, rendered=rendered, followed=not anew)
    joining = forecast.frame_s(row.engine, UnitKind.ASSEMBLE) or 0.0
    left = max(0, row.frames_total - done)
    return float(left * spent_s / done + row.frames_total * joining)


def _provenance(row: Record) -> Provenance | None:
    if not row.provenance:
        return None
    return Provenance.model_validate({**row.provenance, "parameters": row.params})


def _plan(row: Record) -> Plan | None:
    if not row.plan or row.status != Status.SUCCEEDED:
        return None
    return Plan.model_validate(row.plan)
