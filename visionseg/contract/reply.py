"""What a client gets: the record of a prediction, problems, and the list of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PrivateAttr

from visionseg.contract.ids import FileId
from visionseg.contract.inputs import Kind
from visionseg.contract.status import Status


def _zulu(moment: datetime) -> str:
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


Moment = Annotated[datetime, PlainSerializer(_zulu, return_type=str, when_used="json")]
"""A time in UTC, written as ISO 8601 with milliseconds and Z."""


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True)


class Progress(_Reply):
    """How far the work is. `fps` counts processed frames a second since the work began."""

    frames_done: int
    frames_total: int | None
    fps: float | None
    eta_s: float | None
    stage: str


class QueueState(_Reply):
    """How many predictions will probably go first, and the seconds until this one's turn.

    Null once the work has begun. It counts 1,000 of a key's own at most.
    """

    position: int | None
    eta_s: float | None


class PlanRefusal(_Reply):
    """Why the same request would be refused, or its prediction fail, without `dry_run`."""

    code: str
    detail: str


class Plan(_Reply):
    """What a dry run found: the work that the same request would be, and its wait for a worker.

    Numbers are null where they are not known, and where the input's limits forbid the work.
    """

    frames: int | None = Field(default=None, description="How many frames would be processed")
    chunks: int | None = Field(default=None, description="Into how many units they would be cut")
    output_bytes: int | None = Field(
        default=None, description="About how large a video's result would be"
    )
    estimated_s: float | None = Field(
        default=None, description="Seconds of work, by the speeds measured here"
    )
    queue_s: float | None = Field(
        default=None, description="Seconds of waiting for the model, if it were submitted now"
    )
    refusal: PlanRefusal | None = None


class InputFile(_Reply):
    """The bytes that were read."""

    sha256: str
    size_bytes: int
    content_type: str


class EngineUsed(_Reply):
    """An engine as it was when it found masks: equal ones give equal masks for equal inputs."""

    name: str
    version: str
    device: str = Field(description="`cpu`, or the name of the GPU")
    weights: dict[str, str] = Field(description="SHA-256 of each file of the model")
    software: dict[str, str] = Field(description="Versions of this service and its packages")


class Provenance(_Reply):
    """Where a result comes from. The sums of its files stand in `artifacts`."""

    input: InputFile
    engines: list[EngineUsed] = Field(
        description="More than one where unlike workers took chunks of one video"
    )
    parameters: dict[str, Any] = Field(description="What was asked for, with every default")
    frame_map: str | None = Field(
        description="The artifact that tells frame numbers, timestamps and times of a video"
    )


class Artifact(_Reply):
    """One file of the result."""

    name: str
    url: str
    content_type: str
    size_bytes: int
    sha256: str
    expires_at: Moment | None


class StoredFile(_Reply):
    """An upload; `id` and `url` both name it as an input."""

    id: str = Field(examples=["file_9b1c62aa0d1f4c7e8f2a5d3b10"])
    url: str
    content_type: str
    size_bytes: int
    sha256: str
    created_at: Moment
    expires_at: Moment | None


class Urls(_Reply):
    """Where to go from here."""

    get: str
    cancel: str
    events: str
    web: str
    preview: str | None = Field(
        default=None, description="Only for a video that is written as MP4: an HLS playlist"
    )


class Prediction(_Reply):
    """The record of a prediction, the same on every route."""

    id: str = Field(examples=["vs_5c1d0c2e8a0f4b7b9a3e6d2f10"])
    kind: Kind
    status: Status
    provider: str
    model: str
    version: str | None = Field(description="The engine that answered and its version")
    input: dict[str, Any]
    output: str | None = Field(
        description="A data URI, or a URL of this service when it would be longer than 256 KiB"
    )
    error: str | None
    error_code: str | None
    logs: str
    metrics: dict[str, Any]
    organisation: str | None = Field(
        default=None, description="Whose it is; only in an operator's list of all"
    )
    scores: list[float] | None = Field(default=None, description="Only when include_scores is set")
    boxes: list[list[float]] | None = Field(
        default=None, description="Only when include_boxes is set: [x_min, y_min, x_max, y_max]"
    )
    plan: Plan | None = Field(default=None, description="What a dry run found; null for others")
    provenance: Provenance | None = Field(
        default=None, description="Where the result comes from; null until there is one"
    )
    rendered_from: str | None = Field(
        default=None, description="The prediction whose masks these are; null for its own"
    )
    warnings: list[str]
    progress: Progress
    queue: QueueState
    artifacts: list[Artifact]
    created_at: Moment
    started_at: Moment | None
    completed_at: Moment | None
    released_at: Moment | None
    deadline: Moment
    urls: Urls
    _inlined: FileId | None = PrivateAttr(default=None)

    @property
    def inlined(self) -> FileId | None:
        """The file of zero retention whose data `output` holds: it goes once this was sent."""
        return self._inlined

    def inlining(self, file_id: FileId) -> Self:
        """The same record, which is known to hold that file's data."""
        self._inlined = file_id
        return self


class PredictionList(_Reply):
    """A page of records, newest first; `next` and `previous` are absolute URLs or null."""

    results: list[Prediction]
    next: str | None
    previous: str | None


class FieldProblem(_Reply):
    """One field at fault."""

    pointer: str
    detail: str


class ProblemReply(_Reply):
    """An error, as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldProblem]


class ServedModel(_Reply):
    """A model that this service knows, and whether it can answer now."""

    name: str
    provider: str
    description: str
    text: bool
    points: bool
    boxes: bool
    video: bool
    available: bool


class ModelList(_Reply):
    """The models by name."""

    models: list[ServedModel]
