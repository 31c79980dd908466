"""The live preview of a video: an HLS playlist, and its segments."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.guards import LookingCaller
from api.routes.outputs import send
from api.routes.predictions import ONE, ONE_VIDEO
from api.views import view_of
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.predictions.preview import find_segment, playlist

router = APIRouter(tags=["predictions"])
PLAYLIST = "application/vnd.apple.mpegurl"
SEGMENT = re.compile(r"\d{6}-\d{3,6}\.ts")
LISTED: dict[int | str, dict[str, Any]] = {
    200: {"content": {PLAYLIST: {}}, "description": "The playlist"}
}
SENT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/mp2t": {}}, "description": "The segment"}
}


@router.get(
    f"{ONE_VIDEO}/preview.m3u8",
    response_model=None,
    responses=LISTED,
    operation_id="preview_video",
)
@router.get(f"{ONE}/preview.m3u8", response_model=None, responses=LISTED)
def preview_prediction(request: Request, caller: LookingCaller, prediction_id: str) -> Response:
    """An HLS playlist (EVENT) of what is finished of an MP4; asking for it has it made."""
    view = view_of(request, caller, prediction_id)
    text = playlist(view.installation, view.organisation_id, view.prediction_id)
    return Response(text, headers={"Cache-Control": "no-store"}, media_type=PLAYLIST)


@router.get(
    f"{ONE_VIDEO}/preview/{{name}}",
    response_model=None,
    responses=SENT,
    operation_id="read_video_segment",
)
@router.get(f"{ONE}/preview/{{name}}", response_model=None, responses=SENT)
def read_segment(
    request: Request, caller: LookingCaller, prediction_id: str, name: str
) -> Response:
    """A segment that the playlist names."""
    view = view_of(request, caller, prediction_id)
    if not SEGMENT.fullmatch(name):
        raise Refusal(ErrorCode.NOT_FOUND)
    row = find_segment(view.installation, view.organisation_id, view.prediction_id, name)
    return send(request, view.installation, row)
