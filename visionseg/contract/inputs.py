"""What a client may ask: every field, default and bound of the two submission routes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    model_validator,
)

from visionseg.contract.events import WebhookEvent


class Kind(StrEnum):
    """What a prediction works on."""

    IMAGE = "image"
    VIDEO = "video"


class OutputFormat(StrEnum):
    """The form of a video's result."""

    MP4 = "mp4"
    FRAMES = "frames"
    MASKS = "masks"
    COCO_RLE = "coco_rle"


MaskColor = Literal["green", "red", "blue", "yellow", "cyan", "magenta"]

DEFAULT_PROVIDER = "wujie"
DEFAULT_MODEL = "facebook/sam3"
DEFAULT_PROMPT = "person"
MAX_PROMPT_CHARACTERS = 1000
MAX_PROMPT_MARKS = 256
DEFAULT_DEADLINE_S = 24 * 3600
MAX_WEBHOOK_CHARACTERS = 2000


def _empty_is_absent(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid number, not true or false")  # noqa: TRY004 - pydantic takes ValueError
    return value


Prompt = Annotated[
    Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARACTERS)] | None,
    BeforeValidator(_empty_is_absent),
]
Source = Annotated[str, StringConstraints(min_length=1)]
Unit = Annotated[FiniteFloat, BeforeValidator(_no_bool), Field(ge=0, le=1)]
Pixel = Annotated[FiniteFloat, BeforeValidator(_no_bool), Field(ge=-(10**6), le=10**6)]
Count = Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=10**9)]
Seconds = Annotated[FiniteFloat, BeforeValidator(_no_bool), Field(ge=0, le=10**7)]
Rate = Annotated[FiniteFloat, BeforeValidator(_no_bool), Field(gt=0, le=1000)]


class Strict(BaseModel):
    """A field that the contract does not know is an error, so that a typing slip is seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PointPrompt(Strict):
    """A click in pixels of the upright picture: on the object, or on what is not the object."""

    x: Pixel
    y: Pixel
    positive: bool = True


class BoxPrompt(Strict):
    """A rectangle in pixels of the upright picture, with an area above zero."""

    x_min: Pixel
    y_min: Pixel
    x_max: Pixel
    y_max: Pixel

    @model_validator(mode="after")
    def _has_area(self) -> Self:
        if self.x_max <= self.x_min or self.y_max <= self.y_min:
            raise ValueError("A box needs x_min < x_max and y_min < y_max")
        return self


class OnFrame(Strict):
    """Where in a video a mark stands: a processed frame counted from 0, and the object's id."""

    frame_index: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=10**9)] = 0
    object_id: Annotated[int, BeforeValidator(_no_bool), Field(ge=1, le=10**6)] = 1


class VideoPointPrompt(OnFrame, PointPrompt):
    """A click on one frame of a video."""


class VideoBoxPrompt(OnFrame, BoxPrompt):
    """A rectangle on one frame of a video."""


class ImageInput(Strict):
    """`input` of `POST /v1/vision-segment/predictions`."""

    image: Source = Field(
        description="An https URL, a `data:image/*;base64,…` URI, or a file of this service"
    )
    prompt: Prompt = Field(
        default=None,
        description="What to find; commas separate concepts. "
        f"`{DEFAULT_PROMPT}` where no prompt, point or box is given",
    )
    threshold: Unit = 0.5
    point_prompts: list[PointPrompt] = Field(default=[], max_length=MAX_PROMPT_MARKS)
    box_prompts: list[BoxPrompt] = Field(default=[], max_length=MAX_PROMPT_MARKS)
    mask_color: MaskColor = "green"
    mask_opacity: Unit = 0.5
    save_overlay: bool = False
    mask_only: bool = False
    return_zip: bool = True
    include_scores: bool = False
    include_boxes: bool = False

    def effective_prompt(self) -> str | None:
        """The words to look for; None where only points or boxes say what to find."""
        if self.prompt is None and not self.point_prompts and not self.box_prompts:
            return DEFAULT_PROMPT
        return self.prompt


class VideoInput(Strict):
    """`input` of `POST /v1/vision-segment/video`."""

    video: Source = Field(
        description="An https URL, a `data:video/*;base64,…` URI, or a file of this service"
    )
    prompt: Prompt = Field(
        default=None, description="What to find and follow; commas separate concepts"
    )
    output_format: OutputFormat = OutputFormat.MP4
    threshold: Unit = 0.5
    frame_stride: Count = Field(default=1, description="Process every n-th frame of the range")
    start_time: Seconds = 0.0
    end_time: Seconds | None = None
    max_frames: Count | None = None
    prompt_propagation: bool = True
    re_detect_every: Count = 30
    mask_color: MaskColor = "green"
    mask_opacity: Unit = 0.5
    fps: Rate | None = None
    point_prompts: list[VideoPointPrompt] = Field(default=[], max_length=MAX_PROMPT_MARKS)
    box_prompts: list[VideoBoxPrompt] = Field(default=[], max_length=MAX_PROMPT_MARKS)

    @model_validator(mode="after")
    def _says_what_to_find(self) -> Self:
        if self.prompt is None and not self.point_prompts and not self.box_prompts:
            raise ValueError("A video needs a prompt, a point or a box")
        return self

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.end_time is not None and self.end_time <= self.start_time:
            raise ValueError("end_time must be greater than start_time")
        return self

    def effective_prompt(self) -> str | None:
        """The words to look for; None where only points or boxes say what to find."""
        return self.prompt


SegmentInput = ImageInput | VideoInput


class Terms(Strict):
    """On what terms the work is done: what the body of every submission may hold."""

    deadline_s: Annotated[float, BeforeValidator(_no_bool), Field(ge=1, le=30 * 86400)] = (
        DEFAULT_DEADLINE_S
    )
    priority: Annotated[int, BeforeValidator(_no_bool), Field(ge=-100, le=100)] = Field(
        default=0, description="Higher goes first, within your own key"
    )
    webhook: (
        Annotated[str, StringConstraints(min_length=1, max_length=MAX_WEBHOOK_CHARACTERS)] | None
    ) = Field(default=None, description="An https URL that is posted the record")
    webhook_events_filter: list[WebhookEvent] = Field(
        default=[WebhookEvent.COMPLETED],
        min_length=1,
        max_length=len(WebhookEvent),
        description="What the webhook is told of",
    )

    def due_within(self, deadline_s: float | None) -> Self:
        """The same submission with the earlier of its own deadline and this one."""
        if deadline_s is None or deadline_s >= self.deadline_s:
            return self
        return self.model_copy(update={"deadline_s": deadline_s})


class Submission(Terms):
    """What both bodies that ask for masks hold beside `input`."""

    provider: str = DEFAULT_PROVIDER
    model: str = DEFAULT_MODEL
    dry_run: bool = Field(
        default=False,
        description="Only read the input, and tell the plan of the work and its cost",
    )


class ImageSubmission(Submission):
    """Body of `POST /v1/vision-segment/predictions`."""

    input: ImageInput


class VideoSubmission(Submission):
    """Body of `POST /v1/vision-segment/video`."""

    input: VideoInput


AnySubmission = ImageSubmission | VideoSubmission


class _Changes(Strict):
    """What is absent or null stays as it was."""

    def changed(self) -> dict[str, Any]:
        """The fields that change, and their new values."""
        return self.model_dump(mode="json", exclude_none=True)


class ImageChanges(_Changes):
    """`input` of a render of a picture; what is absent or null stays as it was."""

    mask_color: MaskColor | None = None
    mask_opacity: Unit | None = None
    save_overlay: bool | None = None
    mask_only: bool | None = None
    return_zip: bool | None = None
    include_scores: bool | None = None
    include_boxes: bool | None = None


class VideoChanges(_Changes):
    """`input` of a render of a video; what is absent or null stays as it was."""

    output_format: OutputFormat | None = None
    mask_color: MaskColor | None = None
    mask_opacity: Unit | None = None
    fps: Rate | None = Field(default=None, description="null: the rate of the source ÷ its stride")

    def changed(self) -> dict[str, Any]:
        """The fields that change, and their new values; a null `fps` is one."""
        fps = {"fps": None} if "fps" in self.model_fields_set else {}
        return {**fps, **super().changed()}


class ImageRender(Terms):
    """Body of `POST /v1/vision-segment/predictions/{id}/render` for a picture."""

    input: ImageChanges


class VideoRender(Terms):
    """Body of `POST /v1/vision-segment/predictions/{id}/render` for a video."""

    input: VideoChanges


AnyRender = ImageRender | VideoRender


def media_field(kind: Kind) -> str:
    """The name of the input field that holds the picture or video."""
    return "image" if kind is Kind.IMAGE else "video"
