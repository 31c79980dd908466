"""Rendering a finished prediction anew."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api.acceptance import ANSWERS, Offer, accepted
from api.asks import Asked
from api.examples import RENDER_BODY
from api.guards import SegmentCaller
from api.routes.predictions import ONE, ONE_VIDEO
from api.views import must_fit, view_of
from visionseg.access.keys import Caller
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import AnyRender, ImageRender, Kind, VideoRender
from visionseg.predictions.installation import Installation
from visionseg.predictions.render import render
from visionseg.predictions.submit import Also

router = APIRouter(tags=["predictions"])


@router.post(
    f"{ONE_VIDEO}/render",
    response_model=None,
    responses=ANSWERS,
    openapi_extra=RENDER_BODY,
    operation_id="render_video",
)
@router.post(f"{ONE}/render", response_model=None, responses=ANSWERS, openapi_extra=RENDER_BODY)
async def render_prediction(
    request: Request, caller: SegmentCaller, prediction_id: str
) -> Response:
    """Writes the masks of a final prediction in another form: a new prediction, without the model.

    Its `input` holds what changes; the rest stays as it was. Answered as the other submissions.
    """
    view = view_of(request, caller, prediction_id)
    record = await run_in_threadpool(view.read, inline=False)
    must_fit(request, record)
    also = (prediction_id,)
    if record.kind is Kind.IMAGE:
        return await accepted(request, caller, Offer(ImageRender, _of(view.prediction_id), also))
    return await accepted(request, caller, Offer(VideoRender, _of(view.prediction_id), also))


def _of(
    source_id: PredictionId,
) -> Callable[[Installation, Caller, Asked[AnyRender], str, Also], PredictionId]:
    def make(
        installation: Installation,
        caller: Caller,
        asked: Asked[AnyRender],
        base_url: str,
        also: Also,
    ) -> PredictionId:
        return render(installation, caller, source_id, asked.submission, base_url, also)

    return make
