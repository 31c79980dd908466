"""The two routes that accept work."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import asks, holds, preferences
from api.examples import IMAGE_BODY, VIDEO_BODY
from api.guards import SegmentCaller
from api.service import service_of
from api.views import VIDEO_RESOURCE, view_of
from visionseg.access.keys import Caller
from visionseg.contract.inputs import AnySubmission, ImageSubmission, VideoSubmission
from visionseg.contract.reply import Prediction
from visionseg.predictions.idempotency import Submitted, submit_once
from visionseg.predictions.read import RESOURCE

router = APIRouter(tags=["predictions"])
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Prediction, "description": "The record; final, unless the service is stopping"},
    202: {"model": Prediction, "description": "With `Prefer`: the record of an open prediction"},
}


@router.post(RESOURCE, response_model=None, responses=ANSWERS, openapi_extra=IMAGE_BODY)
async def segment_image(request: Request, caller: SegmentCaller) -> Response:
    """Segments a picture. Without `Prefer` the answer comes when the prediction is final."""
    return await _submitted(request, caller, ImageSubmission)


@router.post(VIDEO_RESOURCE, response_model=None, responses=ANSWERS, openapi_extra=VIDEO_BODY)
async def segment_video(request: Request, caller: SegmentCaller) -> Response:
    """Segments a video. Without `Prefer` the answer comes when the prediction is final."""
    return await _submitted(request, caller, VideoSubmission)


async def _submitted(request: Request, caller: Caller, model: type[AnySubmission]) -> Response:
    preference = preferences.parse(request.headers.getlist("prefer"))
    made = await _accepted(request, caller, model)
    view = view_of(request, caller, made.prediction_id)
    response = await holds.answer(request, view, preference)
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def _accepted(request: Request, caller: Caller, model: type[AnySubmission]) -> Submitted:
    """Submits; returning frees the body, which would otherwise stay in memory for a whole hold."""
    service = service_of(request)
    limit_bytes = service.installation.settings.limits.body_bytes
    asked = await asks.submission(request, limit_bytes, model)
    deadline_s = preferences.cancel_after_s(request.headers.get("cancel-after"))
    return await run_in_threadpool(
        submit_once,
        service.installation,
        caller,
        asked.submission.due_within(deadline_s),
        asked.given_input,
        service.base_url(request),
        request.headers.get("idempotency-key"),
    )
