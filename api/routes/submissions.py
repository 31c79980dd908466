"""The two routes that accept work."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.acceptance import ANSWERS, Offer, accepted
from api.asks import Asked
from api.examples import IMAGE_BODY, VIDEO_BODY
from api.guards import SegmentCaller
from api.views import VIDEO_RESOURCE
from visionseg.access.keys import Caller
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import AnySubmission, ImageSubmission, VideoSubmission
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import RESOURCE
from visionseg.predictions.submit import Also, submit

router = APIRouter(tags=["predictions"])


@router.post(RESOURCE, response_model=None, responses=ANSWERS, openapi_extra=IMAGE_BODY)
async def segment_image(request: Request, caller: SegmentCaller) -> Response:
    """Segments a picture. Without `Prefer` the answer comes when the prediction is final."""
    return await accepted(request, caller, PICTURES)


@router.post(VIDEO_RESOURCE, response_model=None, responses=ANSWERS, openapi_extra=VIDEO_BODY)
async def segment_video(request: Request, caller: SegmentCaller) -> Response:
    """Segments a video. Without `Prefer` the answer comes when the prediction is final."""
    return await accepted(request, caller, VIDEOS)


def _make(
    installation: Installation,
    caller: Caller,
    asked: Asked[AnySubmission],
    base_url: str,
    also: Also,
) -> PredictionId:
    return submit(installation, caller, asked.submission, asked.given_input, base_url, also)


PICTURES = Offer(ImageSubmission, _make)
VIDEOS = Offer(VideoSubmission, _make)
