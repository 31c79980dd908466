"""Dry runs: what a prediction would take and whether it would be refused, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import Kind, OutputFormat
from visionseg.predictions.forecast import read_forecast
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane, UnitKind
from visionseg.records import turns
from visionseg.records.predictions import Record
from visionseg.records.turns import Place

TOLD_IN_PLAN = frozenset(
    {
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.VIDEO_TOO_LONG,
        ErrorCode.NO_FRAMES_IN_RANGE,
        ErrorCode.PROMPT_OUTSIDE,
        ErrorCode.OUTPUT_TOO_LARGE,
    }
)
"""What is wrong with the request rather than with its input: the dry run has its answer then."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What reading the input told of the work; `output_bytes` is an estimate, None for pictures."""

    frames: int
    chunks: int
    output_bytes: int | None = None


def told(refusal: Refusal) -> dict[str, str]:
    """A refusal as a plan tells it."""
    return {"code": refusal.code, "detail": refusal.detail}


def plan(installation: Installation, prediction: Record, cost: Cost) -> Mapping[str, Any]:
    """The plan of a dry run whose input was read.

    `queue_s` is the wait for the model if it were submitted now; the wait before that, for the
    input to be fetched and read, the dry run has had itself.
    """
    is_image = prediction.kind == Kind.IMAGE
    lane = Lane.IMAGES if is_image else Lane.VIDEOS
    place = Place(lane, prediction.key_id, prediction.engine, prediction.priority)
    with installation.database.connect() as connection:
        forecast = read_forecast(connection)
        own = turns.ahead(connection, place)
    if is_image:
        estimated_s = forecast.frame_s(prediction.engine, UnitKind.IMAGE)
    else:
        rendered = prediction.params["output_format"] != OutputFormat.COCO_RLE
        estimated_s = forecast.video_s(prediction.engine, cost.frames, rendered=rendered)
    return {
        **prediction.plan,
        **asdict(cost),
        "estimated_s": None if estimated_s is None else round(estimated_s, 1),
        "queue_s": forecast.wait_s(place, forecast.goes_first(place, own)),
    }
