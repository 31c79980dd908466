"""Which prediction a request names."""

from __future__ import annotations

from starlette.requests import Request

from api.cursors import IDENTIFIER
from api.service import service_of
from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import Kind
from visionseg.contract.reply import Prediction
from visionseg.predictions.wait import View

VIDEO_RESOURCE = "/v1/vision-segment/video"


def view_of(request: Request, caller: Caller, prediction_id: str) -> View:
    """The caller's view of a prediction, which need not exist.

    Raises `Refusal` (not_found) for what cannot be an id.
    """
    if not IDENTIFIER.fullmatch(prediction_id):
        raise _unknown()
    service = service_of(request)
    return View(
        service.installation,
        caller.organisation_id,
        PredictionId(prediction_id),
        service.base_url(request),
    )


def must_fit(request: Request, record: Prediction) -> None:
    """Raises `Refusal` (not_found) for a picture under an address that is for videos alone."""
    under_video = request.url.path.startswith(f"{VIDEO_RESOURCE}/")
    if under_video and record.kind is not Kind.VIDEO:
        raise _unknown()


def _unknown() -> Refusal:
    return Refusal(
        ErrorCode.NOT_FOUND,
        "There is no prediction of yours with that id.",
        detail_zh="您没有该编号的任务。",
    )
