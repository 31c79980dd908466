"""From the client's words, clicks and boxes to what a segmenter takes."""

from __future__ import annotations

from visionseg.contract.inputs import BoxPrompt, ImageInput, PointPrompt, SegmentInput, VideoInput
from visionseg.contract.vocabulary import split_concepts
from workers.segmenters.base import Box, FrameBox, FramePoint, ImagePrompts, Point, VideoPrompts


def concepts_of(asked: SegmentInput) -> tuple[str, ...]:
    """The concepts between the commas of the prompt."""
    return split_concepts(asked.effective_prompt() or "")


def image_prompts(asked: ImageInput) -> ImagePrompts:
    """What to find in a picture."""
    return ImagePrompts(
        concepts=concepts_of(asked),
        points=tuple(_point(point) for point in asked.point_prompts),
        boxes=tuple(_box(box) for box in asked.box_prompts),
        threshold=asked.threshold,
    )


def video_prompts(asked: VideoInput, frames: range) -> VideoPrompts:
    """What to find in the processed frames of a session that begins at `frames.start`.

    Marks on other frames are left out; the rest count from the session's first frame.
    """
    points = [point for point in asked.point_prompts if point.frame_index in frames]
    boxes = [box for box in asked.box_prompts if box.frame_index in frames]
    return VideoPrompts(
        concepts=concepts_of(asked),
        points=tuple(
            FramePoint(point.frame_index - frames.start, point.object_id, _point(point))
            for point in points
        ),
        boxes=tuple(
            FrameBox(box.frame_index - frames.start, box.object_id, _box(box)) for box in boxes
        ),
        threshold=asked.threshold,
    )


def _point(point: PointPrompt) -> Point:
    return Point(point.x, point.y, point.positive)


def _box(box: BoxPrompt) -> Box:
    return Box(box.x_min, box.y_min, box.x_max, box.y_max)
