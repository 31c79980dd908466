"""Words, boxes and clicks answered on one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from workers.masks import Rle, decode
from workers.segmenters.base import Box, Instance, Point
from workers.segmenters.combine import UNNAMED
from workers.segmenters.sam3.drawing import draw, draw_never_empty
from workers.segmenters.sam3.features import Detections, Features
from workers.segmenters.sam3.network import Network


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object found on a picture, its mask at the picture's size."""

    mask: Rle
    box: tuple[float, float, float, float]
    score: float
    label: str

    def holds(self, point: Point) -> bool:
        """Whether the mask is true at the pixel of a click."""
        return bool(decode(self.mask)[int(point.y), int(point.x)])

    def instance(self, object_id: int = 0) -> Instance:
        """The object as it leaves the segmenter."""
        return Instance(self.mask, self.box, round(self.score, 4), self.label, object_id)


def tight_box(mask: Rle) -> tuple[float, float, float, float]:
    """The box of a mask in pixels: x_min, y_min, x_max, y_max."""
    x, y, width, height = (float(side) for side in mask.bbox)
    return x, y, x + width, y + height


class PictureFinder:
    """Answers on one picture of `size` (height, width); `found` are its detections by concept."""

    def __init__(
        self,
        network: Network,
        seen: Features,
        size: tuple[int, int],
        found: Mapping[str, Detections],
    ) -> None:
        self._network = network
        self._seen = seen
        self.size = size
        self._found = found
        self._maps: list[Tensor] | None = None

    def by_concepts(
        self,
        concepts: Sequence[str],
        exemplars: Sequence[Box],  # noqa: ARG002 - the detector has seen them already
        threshold: float,
    ) -> list[Sighting]:
        """The instances of each concept scoring `threshold` or more, best first of each.

        One whose mask holds no pixel is left out.
        """
        sightings: list[Sighting] = []
        for concept in concepts:
            likely = self._found[concept].over(threshold)
            first = self._network.differences.interpolate_logits
            masks = draw(likely.logits, self.size, logits_first=first)
            boxes = [self._in_pixels(box) for box in likely.boxes.tolist()]
            scores: list[float] = likely.scores.tolist()
            sightings += [
                Sighting(mask, box, score, concept)
                for mask, box, score in zip(masks, boxes, scores, strict=True)
                if mask.area
            ]
        return sightings

    def by_box(self, box: Box, points: Sequence[Point]) -> Sighting:
        """The mask of what fills the box, as the clicks in it refine it."""
        return self._marked(points, box)

    def by_points(self, points: Sequence[Point]) -> Sighting:
        """The mask of the object at the clicks."""
        return self._marked(points, None)

    def _marked(self, points: Sequence[Point], box: Box | None) -> Sighting:
        if self._maps is None:
            self._maps, _ = self._network.model.tracker_view(self._seen)
        best = self._network.mark(self._maps, self.size, points, box)
        mask = draw_never_empty(best.logits, self.size)
        return Sighting(mask, tight_box(mask), best.score, UNNAMED)

    def _in_pixels(self, box: Sequence[float]) -> tuple[float, float, float, float]:
        height, width = self.size
        x_min, y_min, x_max, y_max = (min(1.0, max(0.0, side)) for side in box)
        return x_min * width, y_min * height, x_max * width, y_max * height


def exemplar_boxes(boxes: Sequence[Box], size: tuple[int, int]) -> Tensor | None:
    """Boxes in pixels of a picture of `size` as the detector takes them; none where there is none.

    1 x boxes x 4: x centre, y centre, width and height, as parts of the picture.
    """
    if not boxes:
        return None
    height, width = size
    return Tensor(
        [
            [
                [
                    (box.x_min + box.x_max) / 2 / width,
                    (box.y_min + box.y_max) / 2 / height,
                    (box.x_max - box.x_min) / width,
                    (box.y_max - box.y_min) / height,
                ]
                for box in boxes
            ]
        ]
    )
