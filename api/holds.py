"""Answering a submission: at once, within a wait, or held until the prediction is final."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from api import answers
from api.preferences import Preference
from api.service import Service
from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL
from visionseg.predictions.wait import View, hold, wait


async def answer(service: Service, view: View, preference: Preference | None) -> Response:
    """The answer to a submission, as long after it as the client prefers."""
    location = {"Location": f"{view.base_url}/v1/vision-segment/predictions/{view.prediction_id}"}
    if preference is None:
        return await _until_final(service, view, location)
    record = await wait(service.hub, view, preference.wait_s)
    headers = {**location, "Preference-Applied": preference.applied, "Vary": "Prefer"}
    return answers.record(record, 200 if record.status in FINAL else 202, headers)


async def _until_final(service: Service, view: View, headers: dict[str, str]) -> Response:
    """An ordinary answer if it comes within one silence; else one that begins with spaces.

    JSON allows whitespace before a value, so proxies and clients that give up on a silent
    connection see it alive, and every JSON parser reads the answer as if there were none.
    """
    silence_s = service.installation.settings.http.heartbeat_after_s
    held = hold(service.hub, view, silence_s)
    record = await anext(held)
    if record is not None:
        return answers.record(record, headers=headers)
    no_buffer = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _spaces_then_json(held), headers={**headers, **no_buffer}, media_type="application/json"
    )


async def _spaces_then_json(held: AsyncIterator[Prediction | None]) -> AsyncIterator[str]:
    yield " "
    async for record in held:
        yield " " if record is None else answers.json_of(record)
