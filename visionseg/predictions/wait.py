"""Waiting for a prediction's record, for as long as the client wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL
from visionseg.delivery.hub import Hub
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import read
from visionseg.records.engine import DATABASE_AWAY

log = structlog.get_logger(__name__)
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class View:
    """One prediction as one client sees it."""

    installation: Installation
    organisation_id: OrganisationId
    prediction_id: PredictionId
    base_url: str

    def read(self, *, inline: bool = True) -> Prediction:
        """The record now. Raises `Refusal` (not_found) if the client has no such prediction."""
        return read(
            self.installation,
            self.organisation_id,
            self.prediction_id,
            self.base_url,
            inline=inline,
        )

    async def record(self) -> Prediction:
        """`read`, in a thread."""
        return await asyncio.to_thread(self.read)


async def wait(hub: Hub, view: View, longest_s: float) -> Prediction:
    """The record once it is final, or as it is after `longest_s`. Raises as `View.read` does."""
    record = await view.record()
    if longest_s <= 0 or record.status in FINAL:
        return record
    del record  # thousands may wait
    await hub.until_final(view.prediction_id, longest_s)
    return await view.record()


async def hold(hub: Hub, view: View, silence_s: float) -> AsyncIterator[Prediction | None]:
    """None after each `silence_s` without an end, then the final record.

    When the process stops meanwhile, the record is the current one. A database that is away only
    makes the hold longer; if it is away as the process stops, its error is raised.
    """
    while True:
        if await hub.until_final(view.prediction_id, silence_s):
            try:
                record = await view.record()
            except DATABASE_AWAY as error:
                if hub.closing:
                    raise
                log.warning("hold_cannot_read", prediction_id=view.prediction_id, error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                yield record
                return
        yield None
