"""Following a prediction: what happened so far, then what happens, until it is final."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL
from visionseg.delivery.hub import Hub
from visionseg.predictions.wait import RETRY_S, View
from visionseg.records import events
from visionseg.records.engine import DATABASE_AWAY

log = structlog.get_logger(__name__)
COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell. `number` is None for what is not kept and so cannot be replayed."""

    kind: str
    data: Mapping[str, Any]
    number: int | None = None


class Telling:
    """What one follower has been told, so that each thing is told once.

    `after` is the number of the last kept event that the follower knows.
    """

    def __init__(self, view: View, after: int) -> None:
        self._view = view
        self._number = after
        self._logs = ""
        self._progress: tuple[object, ...] = ()
        self.over = False

    def news(self) -> list[Event]:
        """What the follower does not know yet, in the order of a life; ends with `completed`."""
        record = self._view.read(inline=False)
        kept = self._kept()
        if any(event.kind == COMPLETED for event in kept) and record.status not in FINAL:
            record = self._view.read(inline=False)  # it became final between the two reads
        happened = [event for event in kept if event.kind != COMPLETED]
        ends = [event for event in kept if event.kind == COMPLETED]
        told = [*happened, *self._progressed(record), *self._logged(record)]
        return told + [ended for event in ends for ended in self._ended(record, event)]

    def _kept(self) -> list[Event]:
        with self._view.installation.database.connect() as connection:
            rows = events.list_after(connection, self._view.prediction_id, self._number)
        self._number = max([self._number, *(row.id for row in rows)])
        return [Event(row.kind, {**row.data, "at": row.at.isoformat()}, row.id) for row in rows]

    def _progressed(self, record: Prediction) -> list[Event]:
        progress = record.progress
        now = (progress.stage, progress.frames_done, progress.frames_total)
        if now == self._progress:
            return []
        self._progress = now
        return [Event("progress", progress.model_dump(mode="json"))]

    def _logged(self, record: Prediction) -> list[Event]:
        """New text and its place; place 0 says that it replaces all text told before."""
        known, self._logs = self._logs, record.logs
        if record.logs == known:
            return []
        place = len(known) if record.logs.startswith(known) else 0
        return [Event("logs", {"place": place, "text": record.logs[place:]})]

    def _ended(self, record: Prediction, event: Event) -> list[Event]:
        self.over = True
        final = Event(COMPLETED, record.model_dump(mode="json", exclude_unset=True), event.number)
        if record.output is None:
            return [final]
        return [Event("output", {"output": record.output}), final]


async def follow(hub: Hub, view: View, after: int, silence_s: float) -> AsyncIterator[Event | None]:
    """Events above the number `after`, then live ones until `completed`; None after a silence.

    Ends early when the process stops; a follower that returns with the last number misses nothing.
    """
    telling, missed = Telling(view, after), False
    with hub.watch(view.prediction_id, progress=True) as watch:
        while not (telling.over or hub.closing):
            changed = await watch.change(RETRY_S if missed else silence_s)
            if not (changed or missed):
                yield None
                continue
            try:
                news = await asyncio.to_thread(telling.news)
                missed = False
            except DATABASE_AWAY as error:
                log.warning("cannot_follow", prediction_id=view.prediction_id, error=str(error))
                news, missed = [], True
            for event in news:
                yield event
