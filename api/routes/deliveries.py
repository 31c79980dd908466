"""Routes of webhooks: what was sent, and sending it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api import answers
from api.guards import LookingCaller, SegmentCaller
from api.routes.predictions import ONE, ONE_VIDEO
from api.service import service_of
from api.views import must_fit, view_of
from visionseg.access.keys import Caller
from visionseg.contract.ids import PredictionId
from visionseg.contract.webhooks import Delivery, DeliveryList, Redelivered, RedeliverRange
from visionseg.predictions.redeliver import list_deliveries, redeliver, redeliver_range

router = APIRouter(tags=["webhooks"])
LEDGER: dict[int | str, dict[str, Any]] = {
    200: {"model": DeliveryList, "description": "The deliveries, oldest first"}
}
AGAIN: dict[int | str, dict[str, Any]] = {
    202: {"model": Delivery, "description": "The delivery, due now"}
}
AGAIN_IN_RANGE: dict[int | str, dict[str, Any]] = {
    202: {"model": Redelivered, "description": "How many are due now"}
}
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.get(
    f"{ONE_VIDEO}/deliveries",
    response_model=None,
    responses=LEDGER,
    operation_id="list_video_deliveries",
)
@router.get(f"{ONE}/deliveries", response_model=None, responses=LEDGER)
def list_prediction_deliveries(
    request: Request, caller: LookingCaller, prediction_id: str
) -> Response:
    """The webhooks of a prediction and every attempt to deliver them."""
    found = _existing(request, caller, prediction_id)
    shown = list_deliveries(service_of(request).installation, found)
    return answers.as_json(DeliveryList(results=shown))


@router.post(
    f"{ONE_VIDEO}/deliveries/{{number}}/redeliver",
    response_model=None,
    status_code=202,
    responses=AGAIN,
    operation_id="redeliver_of_video",
)
@router.post(
    f"{ONE}/deliveries/{{number}}/redeliver",
    response_model=None,
    status_code=202,
    responses=AGAIN,
)
def redeliver_one(
    request: Request, caller: SegmentCaller, prediction_id: str, number: Number
) -> Response:
    """Sends a webhook again, under the same `webhook-id`."""
    found = _existing(request, caller, prediction_id)
    return answers.as_json(redeliver(service_of(request).installation, found, number), 202)


@router.post(
    "/v1/vision-segment/deliveries/redeliver",
    response_model=None,
    status_code=202,
    responses=AGAIN_IN_RANGE,
)
def redeliver_many(request: Request, caller: SegmentCaller, wanted: RedeliverRange) -> Response:
    """Sends the webhooks of a range of time again, those of your organisation."""
    installation = service_of(request).installation
    again = redeliver_range(installation, caller.organisation_id, wanted)
    return answers.as_json(Redelivered(redelivered=again), 202)


def _existing(request: Request, caller: Caller, prediction_id: str) -> PredictionId:
    """The id, if it is that of a prediction of the caller's organisation."""
    view = view_of(request, caller, prediction_id)
    must_fit(request, view.read(inline=False))
    return view.prediction_id
