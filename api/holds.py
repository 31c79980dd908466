"""Answering a submission: at once, within a wait, or held until the prediction is final."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response

from api import answers
from api.preferences import Preference
from api.service import service_of
from api.trickle import Trickle
from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL
from visionseg.predictions.wait import View, hold, wait


async def answer(request: Request, view: View, preference: Preference | None) -> Response:
    """The answer to a submission, as long after it as the client prefers."""
    location = {"Location": f"{view.base_url}/v1/vision-segment/predictions/{view.prediction_id}"}
    if preference is None:
        return await _until_final(request, view, location)
    record = await wait(service_of(request).hub, view, preference.wait_s)
    headers = {**location, "Preference-Applied": preference.applied, "Vary": "Prefer"}
    return answers.record(request, record, 200 if record.status in FINAL else 202, headers)


async def _until_final(request: Request, view: View, headers: dict[str, str]) -> Response:
    """An ordinary answer if it comes within one silence; else one that begins with spaces.

    JSON allows whitespace before a value, so proxies and clients that give up on a silent
    connection see it alive, and every JSON parser reads the answer as if there were none.
    """
    service = service_of(request)
    silence_s = service.installation.settings.http.heartbeat_after_s
    held = hold(service.hub, view, silence_s)
    record = await anext(held)
    if record is not None:
        return answers.record(request, record, headers=headers)
    no_buffer = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Trickle(
        _spaces_then_json(request, held),
        headers={**headers, **no_buffer},
        media_type="application/json",
    )


async def _spaces_then_json(
    request: Request, held: AsyncIterator[Prediction | None]
) -> AsyncIterator[str]:
    yield " "
    async for record in held:
        if record is not None:
            answers.spend(request, record)
        yield " " if record is None else answers.json_of(record)
