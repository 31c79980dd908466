"""Records as answers: JSON, ETag, and when to ask again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from api.envelope import when_sent
from api.service import service_of
from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL
from visionseg.predictions.stored import WHOLE, sent

SOONEST_S, LATEST_S = 1, 30
MOVING = {"progress": {"fps", "eta_s"}, "queue": {"eta_s"}}
"""What changes with every look at a clock, and so counts for nothing in an ETag."""


def json_of(reply: BaseModel) -> str:
    """The reply as JSON; fields that were never set are left out."""
    return reply.model_dump_json(exclude_unset=True)


def as_json(reply: BaseModel, status: int = 200) -> Response:
    """An answer that nobody keeps."""
    headers = {"Cache-Control": "no-store"}
    return Response(json_of(reply), status, headers, media_type="application/json")


def record(
    request: Request,
    prediction: Prediction,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer with the record, and with `Retry-After` while the prediction is open."""
    spend(request, prediction)
    every = {"Cache-Control": "private, no-cache", "ETag": etag(prediction), **(headers or {})}
    if prediction.status not in FINAL:
        every["Retry-After"] = str(retry_after_s(prediction, datetime.now(UTC)))
    return Response(json_of(prediction), status, every, media_type="application/json")


def record_if_changed(request: Request, prediction: Prediction) -> Response:
    """`record`, or 304 where the client has it already."""
    response = record(request, prediction)
    if not is_known(request, response.headers["etag"]):
        return response
    kept = {name: value for name, value in response.headers.items() if name in KEPT_IN_304}
    return Response(status_code=304, headers=kept)


def spend(request: Request, prediction: Prediction) -> None:
    """Lets the file of zero retention go that the record holds, once the record was sent."""
    if prediction.inlined is not None:
        installation = service_of(request).installation
        when_sent(request.scope, partial(sent, installation, prediction.inlined, *WHOLE))


KEPT_IN_304 = ("cache-control", "content-disposition", "etag", "retry-after")


def etag(prediction: Prediction) -> str:
    """A weak ETag: equal as long as nothing but estimates changed."""
    basis = prediction.model_dump_json(exclude=MOVING)
    return f'W/"{hashlib.sha256(basis.encode()).hexdigest()[:32]}"'


def is_known(request: Request, current: str) -> bool:
    """Whether `If-None-Match` names the current ETag; weak comparison (RFC 9110, 8.8.3.2)."""
    known = request.headers.get("if-none-match", "")
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return known.strip() == "*" or current.removeprefix("W/") in tags


def retry_after_s(prediction: Prediction, now: datetime) -> int:
    """Whole seconds, 1 to 30: half of what is left of the work, or of the wait for it; a quarter of
    the age if that is unknown.
    """
    left_s = prediction.progress.eta_s
    if left_s is None:
        left_s = prediction.queue.eta_s
    guess = (now - prediction.created_at).total_seconds() / 4 if left_s is None else left_s / 2
    return min(LATEST_S, max(SOONEST_S, math.ceil(guess)))
