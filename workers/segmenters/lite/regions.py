"""Rectangles and masks on a picture: cut, put back, compare, take apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from workers.masks import Mask
from workers.segmenters.base import Box, Point

Confidence = npt.NDArray[np.float32]
"""How surely each pixel belongs to an object, 0-1, height x width."""

A = TypeVar("A", bound=np.generic)

_MAIN_PART = 0.15  # smaller parts than this share of the largest one are specks


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of whole pixels inside a picture; the maxima are exclusive."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y_max - self.y_min, self.x_max - self.x_min

    def cut(self, array: npt.NDArray[A]) -> npt.NDArray[A]:
        """The view of an array inside the rectangle."""
        return array[self.y_min : self.y_max, self.x_min : self.x_max]

    def put(self, part: npt.NDArray[A], shape: tuple[int, int]) -> npt.NDArray[A]:
        """An array of that shape, zero but for the part inside the rectangle."""
        whole = np.zeros(shape, part.dtype)
        self.cut(whole)[...] = part
        return whole

    def box(self) -> Box:
        """The same rectangle as a box."""
        return Box(self.x_min, self.y_min, self.x_max, self.y_max)


def widened(box: Box, margin: float, shape: tuple[int, int]) -> Window:
    """The box with `margin` of its size added on each side, in whole pixels inside the picture."""
    height, width = shape
    across, down = (box.x_max - box.x_min) * margin, (box.y_max - box.y_min) * margin
    x_min = min(max(0, int(box.x_min - across)), width - 1)
    y_min = min(max(0, int(box.y_min - down)), height - 1)
    x_max = min(width, int(np.ceil(box.x_max + across)))
    y_max = min(height, int(np.ceil(box.y_max + down)))
    return Window(x_min, y_min, max(x_max, x_min + 1), max(y_max, y_min + 1))


def moved(box: Box, window: Window) -> Box:
    """The box in the coordinates of a window."""
    x, y = window.x_min, window.y_min
    return Box(box.x_min - x, box.y_min - y, box.x_max - x, box.y_max - y)


def box_mask(box: Box, shape: tuple[int, int]) -> Mask:
    """True inside the box, one pixel of slack around it included."""
    mask = np.zeros(shape, np.bool_)
    x_min, y_min = max(0, int(box.x_min) - 1), max(0, int(box.y_min) - 1)
    mask[y_min : int(np.ceil(box.y_max)) + 1, x_min : int(np.ceil(box.x_max)) + 1] = True
    return mask


def mask_box(mask: Mask) -> Box | None:
    """The tight box of a mask; none where it is empty."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return Box(x, y, x + width, y + height) if width else None


def mask_overlap(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks of one shape; 0 where both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def box_overlap(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    shared = _shared_area(first, second)
    union = box_area(first) + box_area(second) - shared
    return shared / union if union > 0 else 0.0


def box_area(box: Box) -> float:
    """The area of a box in square pixels."""
    return (box.x_max - box.x_min) * (box.y_max - box.y_min)


def main_parts(mask: Mask) -> Mask:
    """The mask without specks: parts under 15 % of its largest part's area."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    kept: Mask = (areas >= _MAIN_PART * areas.max())[labels]
    return kept


def parts_at(mask: Mask, points: Sequence[Point]) -> Mask:
    """The connected parts of a mask that hold one of the points."""
    _, labels = cv2.connectedComponents(mask.view(np.uint8))
    wanted = {int(labels[pixel(point)]) for point in points} - {0}
    parts: Mask = np.isin(labels, list(wanted))
    return parts


def pixel(point: Point) -> tuple[int, int]:
    """The row and column of a click."""
    return int(point.y), int(point.x)


def resized(mask: Mask, shape: tuple[int, int]) -> Mask:
    """The mask at another size, its outline interpolated linearly."""
    if mask.shape == shape:
        return mask
    height, width = shape
    soft = cv2.resize(mask.view(np.uint8) * np.uint8(255), (width, height))
    larger: Mask = soft >= 128
    return larger


def _shared_area(first: Box, second: Box) -> float:
    across = min(first.x_max, second.x_max) - max(first.x_min, second.x_min)
    down = min(first.y_max, second.y_max) - max(first.y_min, second.y_min)
    return max(0.0, across) * max(0.0, down)
