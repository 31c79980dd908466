"""Accepting work: the body read, the prediction made once, and the answer as the client prefers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from api import asks, holds, preferences
from api.asks import Asked, Body
from api.service import service_of
from api.views import view_of
from visionseg.access.keys import Caller
from visionseg.contract.ids import PredictionId
from visionseg.contract.reply import Prediction
from visionseg.predictions.idempotency import Submitted, Told, once
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import Also

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": Prediction, "description": "The record; final, unless the service is stopping"},
    202: {"model": Prediction, "description": "With `Prefer`: the record of an open prediction"},
}


@dataclass(frozen=True, slots=True)
class Offer(Generic[Body]):
    """What a route takes: its body, and what makes a prediction of it, asked under a base URL.

    `also` is what an idempotency key binds beside the body.
    """

    body: type[Body]
    make: Callable[[Installation, Caller, Asked[Body], str, Also], PredictionId]
    also: tuple[str, ...] = ()


async def accepted(request: Request, caller: Caller, offer: Offer[Body]) -> Response:
    """The answer to a submission. Raises the `Refusal` of what is wrong with it."""
    preference = preferences.parse(request.headers.getlist("prefer"))
    made = await _submitted(request, caller, offer)
    view = view_of(request, caller, made.prediction_id)
    response = await holds.answer(request, view, preference)
    if made.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


async def _submitted(request: Request, caller: Caller, offer: Offer[Body]) -> Submitted:
    """Submits; returning frees the body, which would otherwise stay in memory for a whole hold."""
    service = service_of(request)
    installation, base_url = service.installation, service.base_url(request)
    body = await asks.submission(request, installation.settings.limits.body_bytes, offer.body)
    deadline_s = preferences.cancel_after_s(request.headers.get("cancel-after"))
    asked = replace(body, submission=body.submission.due_within(deadline_s))
    key = request.headers.get("idempotency-key")
    told = Told(key, asked.submission, asked.given_input, offer.also)

    def make(also: Also) -> PredictionId:
        return offer.make(installation, caller, asked, base_url, also)

    return await run_in_threadpool(once, installation, caller.key_id, told, make)
