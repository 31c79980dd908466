"""Events of a prediction as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from starlette.responses import Response

from api.service import Service
from api.trickle import Trickle
from visionseg.contract.status import FINAL
from visionseg.predictions.follow import Event, follow
from visionseg.predictions.wait import View
from visionseg.records import events

SILENCE_S = 15.0
RECONNECT_MS = 1000


def last_number(header: str | None) -> int:
    """The event number in `Last-Event-ID`; 0, from the beginning, where there is none."""
    text = header or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def is_over(view: View, after: int) -> bool:
    """Whether a follower that knows event `after` knows all there will be.

    Raises `Refusal` (not_found) as `View.read` does.
    """
    record = view.read(inline=False)
    with view.installation.database.connect() as connection:
        left = events.list_after(connection, view.prediction_id, after)
    return record.status in FINAL and not left


def stream(service: Service, view: View, after: int) -> Response:
    """The events above number `after` and those to come; a comment keeps a silent line open."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    followed = follow(service.hub, view, after, SILENCE_S)
    return Trickle(_written(followed), headers=headers, media_type="text/event-stream")


async def _written(followed: AsyncIterator[Event | None]) -> AsyncIterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    async for event in followed:
        yield ": still here\n\n" if event is None else _frame(event)


def _frame(event: Event) -> str:
    number = "" if event.number is None else f"id: {event.number}\n"
    data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event.kind}\n{number}data: {data}\n\n"
