"""Webhooks as a client reads of them: the states of a delivery, and the ledger."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from visionseg.contract.events import WebhookEvent
from visionseg.contract.reply import Moment


class DeliveryState(StrEnum):
    """Where a delivery stands: `pending` is tried again, `gone` means the receiver said 410."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class DeliveryAttempt(_Reply):
    """One try: the receiver's status, or why there was none."""

    number: int
    at: Moment
    status_code: int | None
    error: str | None
    seconds: float


class Delivery(_Reply):
    """One message to a receiver, and every attempt at it."""

    number: int = Field(description="Counts the deliveries of the prediction, from 1")
    id: str = Field(description="The header `webhook-id`, the same at each attempt")
    event: WebhookEvent
    url: str
    state: DeliveryState
    created_at: Moment
    next_at: Moment | None = Field(description="When it is tried next; null unless it is pending")
    finished_at: Moment | None
    attempts: list[DeliveryAttempt]


class DeliveryList(_Reply):
    """The deliveries of a prediction, oldest first."""

    results: list[Delivery]


class RedeliverRange(BaseModel):
    """Which deliveries to send again: those made from `since` on and before `until`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime
    until: AwareDatetime
    include_delivered: bool = Field(
        default=False, description="Also those that the receiver has taken"
    )

    def bounds(self) -> tuple[datetime, datetime]:
        """The range: its first moment, and the one after its last."""
        return self.since, self.until


class Redelivered(_Reply):
    """How many deliveries will be sent again."""

    redelivered: int
