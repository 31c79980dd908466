"""GrabCut (Rother et al., 2004): outlines by colour alone, from a box or from clicks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from workers.masks import Mask
from workers.segmenters.base import Box, Point, Rgb
from workers.segmenters.lite.regions import (
    Window,
    box_mask,
    main_parts,
    mask_box,
    moved,
    parts_at,
    pixel,
    resized,
    widened,
)

Labels = npt.NDArray[np.uint8]
"""OpenCV's four marks, one a pixel: (probably) background or foreground."""

_SIDE = 256  # longest side in pixels: the time grows faster than the area
_ROUNDS = 3
_MARGIN = 0.35  # of the box, on each side: what shows GrabCut the background
_FEWEST_PIXELS = 20  # of each kind: its mixture of five colours needs samples
_SEED_RADIUS = 0.02  # of the window's longer side


def cut_box(picture: Rgb, box: Box, window: Window) -> Mask:
    """The object in a box, in a window that holds the box; empty where the colours tell nothing."""
    near = widened(box, _MARGIN, (picture.shape[0], picture.shape[1]))
    inside = box_mask(moved(box, near), near.shape)
    labels = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    mask = _cut(near.cut(picture), labels) & inside
    whole = near.put(mask, (picture.shape[0], picture.shape[1]))
    return window.cut(whole).copy()


def mend(picture: Rgb, mask: Mask, points: Sequence[Point]) -> Mask:
    """The mask changed so that it holds every positive point and no negative one."""
    positive = [point for point in points if point.positive]
    if all(bool(mask[pixel(point)]) == point.positive for point in points):
        return mask
    window = widened(_around(mask, points), _MARGIN, mask.shape)
    seeds = _seeds(window, points)
    labels = np.where(window.cut(mask), cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[seeds[True]], labels[seeds[False]] = cv2.GC_FGD, cv2.GC_BGD
    cut = _cut(window.cut(picture), labels) | seeds[True]
    found = window.put(cut & ~seeds[False], mask.shape)
    _set_points(found, points)
    return parts_at(found, positive) if positive else main_parts(found)


def _cut(picture: Rgb, labels: Labels) -> Mask:
    scale = min(1.0, _SIDE / max(labels.shape))
    size = [max(1, round(side * scale)) for side in reversed(labels.shape)]
    small = np.ascontiguousarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    marks = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    if not _FEWEST_PIXELS <= np.count_nonzero(marks & 1) <= marks.size - _FEWEST_PIXELS:
        return (labels & 1).astype(np.bool_)
    cv2.setRNGSeed(1)  # GrabCut's colour clusters begin at random pixels
    backdrop, object_ = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, marks, None, backdrop, object_, _ROUNDS, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]  # None is a mask
    return resized((marks & 1).astype(np.bool_), (labels.shape[0], labels.shape[1]))


def _around(mask: Mask, points: Sequence[Point]) -> Box:
    """The box that holds a mask and all points."""
    held = mask.copy()
    _set_points(held, [Point(point.x, point.y) for point in points])
    return mask_box(held) or Box(0, 0, mask.shape[1], mask.shape[0])


def _set_points(mask: Mask, points: Sequence[Point]) -> None:
    for point in points:
        mask[pixel(point)] = point.positive


def _seeds(window: Window, points: Sequence[Point]) -> dict[bool, Mask]:
    """Discs around the positive and the negative points, in the window."""
    radius = max(1, round(_SEED_RADIUS * max(window.shape)))
    discs = {kind: np.zeros(window.shape, np.uint8) for kind in (True, False)}
    for point in points:
        centre = (int(point.x) - window.x_min, int(point.y) - window.y_min)
        cv2.circle(discs[point.positive], centre, radius, 1, cv2.FILLED)
    return {kind: disc.astype(np.bool_) for kind, disc in discs.items()}
