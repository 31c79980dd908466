"""Words, boxes and clicks answered on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from workers.masks import Mask, encode
from workers.segmenters.base import Box, Instance, Point, Rgb
from workers.segmenters.combine import UNNAMED
from workers.segmenters.lite.clicks import object_at
from workers.segmenters.lite.concepts import labels_by_noun
from workers.segmenters.lite.cutting import mend
from workers.segmenters.lite.detector import Detection
from workers.segmenters.lite.outlines import Effort, outline
from workers.segmenters.lite.regions import box_overlap, pixel, resized
from workers.segmenters.lite.scene import Scene

_SAME_OBJECT = 0.5  # overlap over which two boxes are one object
_MOST_INSTANCES = 20  # of all concepts on one picture
_SCORE_POWER = 0.76  # puts the raw score .40, where precision and recall meet, at 0.5


def score_of(raw_score: float) -> float:
    """The score of a detection: the detector's raw .40 is told as 0.5."""
    return float(raw_score**_SCORE_POWER)


def shrunk(picture: Rgb, longest: int) -> Rgb:
    """The picture with its longer side at most `longest` pixels."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype("uint8", copy=False)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many pixels of a scene go on one pixel of its picture, across and down."""

    across: float
    down: float

    def point(self, point: Point) -> Point:
        """A click on the picture, on the scene."""
        return Point(point.x * self.across, point.y * self.down, point.positive)

    def box(self, box: Box) -> Box:
        """A box on the picture, on the scene."""
        across, down = self.across, self.down
        return Box(box.x_min * across, box.y_min * down, box.x_max * across, box.y_max * down)


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object found on a scene, its mask at the scene's size."""

    mask: Mask
    score: float
    label: str
    ratio: Ratio

    def holds(self, point: Point) -> bool:
        """Whether the mask is true at a click on the picture."""
        return bool(self.mask[pixel(self.ratio.point(point))])

    def instance(self, shape: tuple[int, int], object_id: int = 0) -> Instance:
        """The object at the size of its picture."""
        return instance_of(resized(self.mask, shape), self.score, self.label, object_id)


def instance_of(mask: Mask, score: float, label: str, object_id: int) -> Instance:
    """An instance whose box is the tight one of its mask."""
    rle = encode(mask)
    x, y, width, height = (float(side) for side in rle.bbox)
    return Instance(rle, (x, y, x + width, y + height), round(score, 4), label, object_id)


class LiteFinder:
    """Answers on one scene; prompts and answers are in pixels of the picture it was made from."""

    def __init__(self, scene: Scene, shape: tuple[int, int], effort: Effort) -> None:
        self._scene = scene
        self._effort = effort
        self._ratio = Ratio(scene.shape[1] / shape[1], scene.shape[0] / shape[0])

    def by_concepts(
        self, concepts: Sequence[str], exemplars: Sequence[Box], threshold: float
    ) -> list[Sighting]:
        """The boxed instances and the detected ones scoring `threshold` or more, at most 20.

        The detector cannot learn from an exemplar: a box is one more instance, whatever it scores,
        named after the concept that the detector sees there, else after the first.
        """
        labels = labels_by_noun(concepts)
        detected = [one for one in self._scene.detections() if one.noun in labels]
        boxes = [self._ratio.box(box) for box in exemplars]
        shown = [self._exemplar(box, detected, labels) for box in boxes]
        likely = [one for one in detected if score_of(one.raw_score) >= threshold]
        likely = [one for one in likely if not _covered(one.box, boxes)]
        chosen = _one_a_label(likely, labels)[: _MOST_INSTANCES - len(shown)]
        return shown + [self._named(one, labels[one.noun]) for one in chosen]

    def by_box(self, box: Box, points: Sequence[Point]) -> Sighting:
        """The mask of what fills the box, changed to obey the clicks."""
        found = outline(self._scene, self._ratio.box(box), None, self._effort)
        clicks = [self._ratio.point(point) for point in points]
        return self._sighting(mend(self._scene.picture, found.mask, clicks), found.trust, UNNAMED)

    def by_points(self, points: Sequence[Point]) -> Sighting:
        """The mask of the object at the clicks."""
        found = object_at(self._scene, [self._ratio.point(point) for point in points])
        return self._sighting(found.mask, found.trust, UNNAMED)

    def _named(self, one: Detection, label: str) -> Sighting:
        mask = outline(self._scene, one.box, one.noun, self._effort).mask
        return self._sighting(mask, score_of(one.raw_score), label)

    def _exemplar(
        self, box: Box, detected: Sequence[Detection], labels: dict[str, str]
    ) -> Sighting:
        seen = max(detected, key=lambda one: box_overlap(one.box, box), default=None)
        if seen is None or box_overlap(seen.box, box) < _SAME_OBJECT:
            found = outline(self._scene, box, None, self._effort)
            return self._sighting(found.mask, found.trust, next(iter(labels.values())))
        mask = outline(self._scene, box, seen.noun, self._effort).mask
        return self._sighting(mask, score_of(seen.raw_score), labels[seen.noun])

    def _sighting(self, mask: Mask, score: float, label: str) -> Sighting:
        return Sighting(mask, min(1.0, max(0.01, score)), label, self._ratio)


def _one_a_label(detected: Sequence[Detection], labels: dict[str, str]) -> list[Detection]:
    """Without the second name of one object: `animal` asks for cats and dogs at once."""
    kept: list[Detection] = []
    for one in detected:
        rivals = [other.box for other in kept if labels[other.noun] == labels[one.noun]]
        if not _covered(one.box, rivals):
            kept.append(one)
    return kept


def _covered(box: Box, others: Sequence[Box]) -> bool:
    return any(box_overlap(box, other) > _SAME_OBJECT for other in others)
