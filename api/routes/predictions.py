"""Routes of one prediction: read, cancel, follow."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import answers, preferences, streams
from api.audits import note
from api.guards import LookingCaller, SegmentCaller
from api.service import service_of
from api.views import VIDEO_RESOURCE, must_fit, view_of
from visionseg.contract.operating import Action
from visionseg.contract.reply import Prediction
from visionseg.predictions.cancel import cancel
from visionseg.predictions.delete import delete
from visionseg.predictions.read import RESOURCE
from visionseg.predictions.wait import wait

router = APIRouter(tags=["predictions"])
ONE = f"{RESOURCE}/{{prediction_id}}"
ONE_VIDEO = f"{VIDEO_RESOURCE}/{{prediction_id}}"
Answers = dict[int | str, dict[str, Any]]
RECORD: Answers = {
    200: {"model": Prediction, "description": "The record"},
    304: {"description": "Nothing changed since the ETag in `If-None-Match`"},
}
STREAM: Answers = {
    200: {"content": {"text/event-stream": {}}, "description": "The events"},
    204: {"description": "All was told before the event in `Last-Event-ID`"},
}
WaitS = Annotated[
    int, Query(alias="wait", ge=0, description="Seconds to wait for the end, at most 300")
]


@router.get(ONE_VIDEO, response_model=None, responses=RECORD, operation_id="read_video")
@router.get(ONE, response_model=None, responses=RECORD)
async def read_prediction(
    request: Request, caller: LookingCaller, prediction_id: str, wait_s: WaitS = 0
) -> Response:
    """The record of a prediction, with a weak ETag, and `Retry-After` while it is open."""
    view = view_of(request, caller, prediction_id)
    must_fit(request, await view.record())
    longest_s = min(wait_s, preferences.LONGEST_WAIT_S)
    record = await wait(service_of(request).hub, view, longest_s)
    return answers.record_if_changed(request, record)


@router.post(
    f"{ONE_VIDEO}/cancel",
    response_model=None,
    responses={200: RECORD[200]},
    operation_id="cancel_video",
)
@router.post(f"{ONE}/cancel", response_model=None, responses={200: RECORD[200]})
def cancel_prediction(request: Request, caller: LookingCaller, prediction_id: str) -> Response:
    """Cancels a prediction: final at once. Canceling again, or too late, changes nothing."""
    view = view_of(request, caller, prediction_id)
    must_fit(request, view.read(inline=False))
    note(request, caller, Action.PREDICTION_CANCELED, prediction_id)
    cancel(view.installation, view.prediction_id)
    return answers.record(request, view.read())


@router.delete(
    ONE_VIDEO, response_model=None, responses={200: RECORD[200]}, operation_id="delete_video"
)
@router.delete(ONE, response_model=None, responses={200: RECORD[200]})
def delete_prediction(request: Request, caller: SegmentCaller, prediction_id: str) -> Response:
    """Cancels a prediction if it is open, and removes its input and results; the record stays."""
    view = view_of(request, caller, prediction_id)
    must_fit(request, view.read(inline=False))
    note(request, caller, Action.PREDICTION_DELETED, prediction_id)
    delete(view.installation, view.prediction_id)
    return answers.record(request, view.read())


@router.get(
    f"{ONE_VIDEO}/events", response_model=None, responses=STREAM, operation_id="follow_video"
)
@router.get(f"{ONE}/events", response_model=None, responses=STREAM)
async def follow_prediction(
    request: Request, caller: LookingCaller, prediction_id: str
) -> Response:
    """Server-sent events: start, progress, logs, output, completed; `Last-Event-ID` replays."""
    view = view_of(request, caller, prediction_id)
    must_fit(request, await run_in_threadpool(view.read, inline=False))
    after = streams.last_number(request.headers.get("last-event-id"))
    if await run_in_threadpool(streams.is_over, view, after):
        return Response(status_code=204)
    return streams.stream(service_of(request), view, after)
