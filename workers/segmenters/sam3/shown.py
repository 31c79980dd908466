"""Objects that the client shows on a frame of a video, by clicks or a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from workers.segmenters.base import Box, Point, VideoPrompts
from workers.segmenters.combine import check_point, clip_box
from workers.segmenters.sam3.marking import Marked
from workers.segmenters.sam3.network import Network


@dataclass(frozen=True, slots=True)
class Marks:
    """What a client drew on one frame for one object."""

    points: tuple[Point, ...]
    box: Box | None

    @property
    def begin(self) -> bool:
        """Whether they can tell an object that is not followed yet: negative clicks cannot."""
        return self.box is not None or any(point.positive for point in self.points)


def check_prompts(prompts: VideoPrompts, size: tuple[int, int]) -> None:
    """Raises `Refusal` where a click or a box lies outside frames of that size."""
    for click in prompts.points:
        check_point(click.point, *size)
    for drawn in prompts.boxes:
        clip_box(drawn.box, *size)


def shown_ids(prompts: VideoPrompts) -> set[int]:
    """The ids of the objects shown on any frame."""
    return {one.object_id for one in prompts.points} | {one.object_id for one in prompts.boxes}


def marks_on(prompts: VideoPrompts, frame: int, size: tuple[int, int]) -> dict[int, Marks]:
    """The marks on one frame by object, least id first, boxes clipped to frames of that size.

    Of several boxes for one object the last counts.
    """
    points = [one for one in prompts.points if one.frame_index == frame]
    boxes = [one for one in reversed(prompts.boxes) if one.frame_index == frame]
    return {
        object_id: Marks(
            tuple(one.point for one in points if one.object_id == object_id),
            next((clip_box(one.box, *size) for one in boxes if one.object_id == object_id), None),
        )
        for object_id in sorted(shown_ids(VideoPrompts((), tuple(points), tuple(boxes))))
    }


def begun_by(
    network: Network, maps: Sequence[Tensor], size: tuple[int, int], marks: Mapping[int, Marks]
) -> dict[int, Marked]:
    """The objects that marks tell on a frame, by id, without regard to what was there before."""
    return {
        object_id: network.mark(maps, size, given.points, given.box)
        for object_id, given in marks.items()
        if given.begin
    }


def corrected_by(
    network: Network,
    maps: Sequence[Tensor],
    size: tuple[int, int],
    marks: Mapping[int, Marks],
    now: Mapping[int, Tensor],
) -> dict[int, Marked]:
    """The objects followed, `now` their logits on the frame, as the marks correct them.

    A box tells an object anew; clicks alone change the mask that it has.
    """
    return {
        object_id: network.mark(
            maps, size, given.points, given.box, None if given.box else now[object_id]
        )
        for object_id, given in marks.items()
    }
