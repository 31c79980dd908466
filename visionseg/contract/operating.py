"""What an operator says and gets: keys, workers, queues, the audit log."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from visionseg.contract.reply import Moment, _Reply

DAY_S = 86_400.0
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
ScopeName = Literal["ai:vision-segment", "ai:*", "admin"]


class Action(StrEnum):
    """What the audit log tells of."""

    KEY_CREATED = "key.created"
    KEY_ROTATED = "key.rotated"
    KEY_REVOKED = "key.revoked"
    OUTPUT_READ = "output.read"
    PREDICTION_CANCELED = "prediction.canceled"
    PREDICTION_DELETED = "prediction.deleted"
    PREDICTION_READ = "prediction.read"
    PREDICTIONS_LISTED = "predictions.listed"
    FILE_DELETED = "file.deleted"
    WORKER_DRAINED = "worker.drained"


class _Ask(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewKey(_Ask):
    """A key to make. Null: for ever, as the settings say, as many as there are workers."""

    name: Name = "unnamed"
    organisation: Name | None = Field(
        default=None, description="By name, made when it is new; default: that of your own key"
    )
    scopes: list[ScopeName] = Field(default=["ai:vision-segment"], min_length=1, max_length=3)
    expires_in_s: float | None = Field(default=None, gt=0, le=100 * 365 * DAY_S)
    keep_s: float | None = Field(
        default=None, ge=0, le=100 * 365 * DAY_S, description="How long results are kept"
    )
    max_open: Count | None = Field(default=None, description="Predictions open at once")
    max_running: Count | None = Field(default=None, description="Predictions worked on at once")
    weight: float = Field(default=1.0, gt=0, le=1e6, description="Share of the workers")


class Rotation(_Ask):
    """How long the secret so far counts beside the new one."""

    overlap_s: float = Field(default=DAY_S, ge=0, le=365 * DAY_S)


class Key(_Reply):
    """What is known of a key; its secret nobody can read."""

    id: str
    name: str
    hint: str
    organisation: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    retires_at: Moment | None = Field(description="When the secret before this one ends to count")
    keep_s: float | None
    max_open: int | None
    max_running: int | None
    weight: float


class KeyList(_Reply):
    """Every key, oldest first."""

    results: list[Key]


class FreshKey(Key):
    """A key with its secret, which is told this once."""

    secret: str


class Worker(_Reply):
    """A worker that was seen of late."""

    id: str
    host: str
    pid: int
    lanes: list[str]
    models: list[str]
    version: str
    processes: int
    draining: bool
    started_at: Moment
    seen_at: Moment


class WorkerList(_Reply):
    """The workers seen of late, oldest first."""

    results: list[Worker]


class Queue(_Reply):
    """What waits in a lane: predictions, and units of work ready at once."""

    lane: str
    workers: int
    predictions: int
    units: int


class QueueList(_Reply):
    """The lanes, as counted within the last seconds."""

    results: list[Queue]


class Entry(_Reply):
    """One line of the audit log. No key: the command line did it."""

    id: int
    at: Moment
    action: Action
    subject: str
    key_id: str | None
    organisation_id: str | None
    address: str | None
    request_id: str | None


class EntryList(_Reply):
    """A page of the audit log, newest first; `next` is the address of older ones."""

    results: list[Entry]
    next: str | None
