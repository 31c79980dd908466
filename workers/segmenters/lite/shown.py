"""Objects that the client shows on a frame of a video, by clicks or a box."""

from __future__ import annotations

from collections.abc import Mapping

from workers.masks import Mask
from workers.segmenters.base import Point, VideoPrompts
from workers.segmenters.combine import UNNAMED, check_point, clip_box
from workers.segmenters.lite.clicks import object_at
from workers.segmenters.lite.cutting import mend
from workers.segmenters.lite.finder import Ratio
from workers.segmenters.lite.outlines import FINE, Outline, outline
from workers.segmenters.lite.scene import Scene


def check_prompts(prompts: VideoPrompts, shape: tuple[int, int]) -> None:
    """Raises `Refusal` where a click or a box lies outside frames of that size."""
    for click in prompts.points:
        check_point(click.point, *shape)
    for drawn in prompts.boxes:
        clip_box(drawn.box, *shape)


def shown_ids(prompts: VideoPrompts, index: int | None = None) -> set[int]:
    """The ids of the objects shown on frame `index`, or on any frame."""
    boxed = {one.object_id for one in prompts.boxes if index in (None, one.frame_index)}
    clicked = {one.object_id for one in prompts.points if index in (None, one.frame_index)}
    return boxed | clicked


def shown_on(
    scene: Scene,
    prompts: VideoPrompts,
    index: int,
    shape: tuple[int, int],
    masks: Mapping[int, Mask],
) -> dict[int, tuple[str, Outline]]:
    """Label and outline of each object shown on frame `index`, by its id.

    `shape` is that of the frame, whose pixels the prompts are in; `masks` are those of the objects
    followed up to now: clicks without a box correct the mask of an object that has one.
    """
    found = {
        object_id: _show(scene, prompts, (index, object_id), shape, masks.get(object_id))
        for object_id in sorted(shown_ids(prompts, index))
    }
    return {object_id: (UNNAMED, seen) for object_id, seen in found.items() if seen}


def _show(
    scene: Scene,
    prompts: VideoPrompts,
    where: tuple[int, int],
    shape: tuple[int, int],
    before: Mask | None,
) -> Outline | None:
    """The outline of one object; none where only negative clicks speak of one that is not there."""
    ratio = Ratio(scene.shape[1] / shape[1], scene.shape[0] / shape[0])
    boxes = [
        clip_box(one.box, *shape)
        for one in prompts.boxes
        if (one.frame_index, one.object_id) == where
    ]
    points = [
        ratio.point(one.point)
        for one in prompts.points
        if (one.frame_index, one.object_id) == where
    ]
    if boxes:
        seen = outline(scene, ratio.box(boxes[-1]), None, FINE)
        return Outline(mend(scene.picture, seen.mask, points), seen.trust)
    if before is not None:
        return Outline(mend(scene.picture, before, points), 1.0)
    return object_at(scene, points) if _any_positive(points) else None


def _any_positive(points: list[Point]) -> bool:
    return any(point.positive for point in points)
