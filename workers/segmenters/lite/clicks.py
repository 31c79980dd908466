"""From clicks to a mask: windows round the clicks, and the detected objects under them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from workers.masks import Mask
from workers.segmenters.base import Box, Point
from workers.segmenters.lite.cutting import cut_box, mend
from workers.segmenters.lite.outlines import QUICK, Outline, outline
from workers.segmenters.lite.regions import (
    Confidence,
    Window,
    box_area,
    mask_box,
    mask_overlap,
    parts_at,
    pixel,
    widened,
)
from workers.segmenters.lite.saliency import FINE_SIDE
from workers.segmenters.lite.scene import Scene

_WINDOWS = (0.2, 0.33, 0.5, 0.75, 1.0, 1.4)  # sides, of the picture's shorter side
_SMALLEST_WINDOW = 24  # pixels
_FEWEST_PIXELS = 25  # of a mask: less is a speck
_LIKELY_RAW = 0.35  # a detection scoring less is no help to a click
_MOST_DETECTED = 3  # of the detected objects under a click: the smallest ones
_BACKDROPS = frozenset({"dining table"})  # its mask is mostly that of what stands on it


@dataclass(frozen=True, slots=True)
class _Candidate:
    mask: Mask
    weight: float


def object_at(scene: Scene, points: Sequence[Point]) -> Outline:
    """The best mask of the one object that the clicks mean, at least one of them positive.

    It holds every positive point and no negative one.
    """
    positive = [point for point in points if point.positive]
    candidates = [*_by_windows(scene, points), *_by_detections(scene, positive)]
    best = _most_agreed(candidates) or _by_colour(scene, positive)
    return Outline(mend(scene.picture, best.mask, points), float(np.clip(best.weight, 0.05, 1)))


def _by_windows(scene: Scene, points: Sequence[Point]) -> Iterator[_Candidate]:
    positive = [point for point in points if point.positive]
    for window in _windows(scene.shape, positive):
        confidence = scene.foreground(window, FINE_SIDE)
        mask = parts_at(window.put(confidence > 0.5, scene.shape), positive)
        if np.count_nonzero(mask) >= _FEWEST_PIXELS:
            sure = np.mean([_value(window, confidence, point) for point in positive])
            weight = float(sure) * _obeys(mask, points) / (1 + _cut_sides(mask, window))
            yield _Candidate(mask, weight)


def _windows(shape: tuple[int, int], points: Sequence[Point]) -> Iterator[Window]:
    """Squares of growing side round the clicks, each holding them all."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    spread = 0.65 * max(max(xs) - min(xs), max(ys) - min(ys))
    for share in _WINDOWS:
        half = max(share * min(shape) / 2, spread)
        window = widened(Box(x - half, y - half, x + half, y + half), 0, shape)
        if min(window.shape) >= _SMALLEST_WINDOW:
            yield window


def _by_detections(scene: Scene, positive: Sequence[Point]) -> list[_Candidate]:
    """The detected objects that hold a click; the smallest is what a click most often means."""
    under = [
        one
        for one in scene.detections()
        if one.raw_score >= _LIKELY_RAW
        and one.noun not in _BACKDROPS
        and any(_in_box(one.box, point) for point in positive)
    ]
    nearest = sorted(under, key=lambda one: box_area(one.box))[:_MOST_DETECTED]
    masks = [outline(scene, one.box, one.noun, QUICK).mask for one in nearest]
    held = [
        _Candidate(mask, (0.9 + 0.4 * one.raw_score) * _obeys(mask, positive))
        for one, mask in zip(nearest, masks, strict=True)
        if any(mask[pixel(point)] for point in positive)
    ]
    held.sort(key=lambda candidate: np.count_nonzero(candidate.mask))
    return [_Candidate(one.mask, max(one.weight, 1.3)) for one in held[:1]] + held[1:]


def _most_agreed(candidates: Sequence[_Candidate]) -> _Candidate | None:
    if not candidates:
        return None
    weights = []
    for one in candidates:
        others = [mask_overlap(one.mask, two.mask) for two in candidates if two is not one]
        weights.append(one.weight * (0.4 + 0.6 * max(others, default=0.3)))
    best = int(np.argmax(weights))
    return _Candidate(candidates[best].mask, float(weights[best]))


def _by_colour(scene: Scene, positive: Sequence[Point]) -> _Candidate:
    """The part under the clicks that differs in colour from what surrounds them, or all there."""
    whole = Window(0, 0, scene.shape[1], scene.shape[0])
    near = next(_windows(scene.shape, positive), whole)
    mask = near.put(cut_box(scene.picture, near.box(), near), scene.shape)
    mask = parts_at(mask, positive)
    if not mask.any():
        near.cut(mask)[...] = True
    return _Candidate(mask, 0.0)


def _value(window: Window, confidence: Confidence, point: Point) -> float:
    row, column = pixel(point)
    return float(confidence[row - window.y_min, column - window.x_min])


def _obeys(mask: Mask, points: Sequence[Point]) -> float:
    """1 where the mask holds every positive point and no negative one, less for each that fails."""
    wrong = sum(bool(mask[pixel(point)]) != point.positive for point in points)
    return float(0.3**wrong)


def _cut_sides(mask: Mask, window: Window) -> int:
    """How many sides of the window, not of the picture, cut the mask off."""
    box = mask_box(mask) or window.box()
    height, width = mask.shape
    return sum(
        (
            window.x_min > 0 and box.x_min <= window.x_min + 1,
            window.y_min > 0 and box.y_min <= window.y_min + 1,
            window.x_max < width and box.x_max >= window.x_max - 1,
            window.y_max < height and box.y_max >= window.y_max - 1,
        )
    )


def _in_box(box: Box, point: Point) -> bool:
    return box.x_min <= point.x < box.x_max and box.y_min <= point.y < box.y_max
