"""Painting masks: all of them are joined first, so that overlaps are painted once.

A painted value is `value * (1 - opacity) + color * opacity`, rounded, read from 256-entry tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from workers.masks import Rle, union_box, union_inside
from workers.media.pixels import Plane, Planes, Rgb, split_planes

COLORS: Mapping[str, tuple[int, int, int]] = {
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
}
"""The colours that the contract names, as RGB."""

Table = npt.NDArray[np.uint8]
Region = tuple[int, int, int, int]

_LUMA_WEIGHTS = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
"""Weights of red and blue by matrix code point (ISO/IEC 23091-2 table 4): BT.709, BT.2020."""
_BT601 = (0.299, 0.114)


class Overlay:
    """Paints in one colour (a name of `COLORS`) at one opacity, 0-1.

    `matrix` is that of the video's frames (`Picture.matrix`); it does not matter for pictures.
    """

    def __init__(self, color: str, opacity: float, matrix: int = 1) -> None:
        rgb = COLORS[color]
        self._rgb = np.stack([_table(value, opacity) for value in rgb], axis=-1)[None]
        self._yuv = [_table(value, opacity) for value in _to_yuv(rgb, matrix)]

    def paint_rgb(self, image: Rgb, masks: Sequence[Rle]) -> Rgb:
        """A painted copy of the picture."""
        painted = image.copy()
        x, y, columns, rows = union_box(masks)
        if columns:
            inside = union_inside(masks, (x, y, columns, rows))
            _replace(painted[y : y + rows, x : x + columns], self._rgb, inside)
        return painted

    def paint_planes(self, planes: Planes, masks: Sequence[Rle]) -> None:
        """Paints into `planes` (`VideoFrame.planes`); masks have the true size of the picture.

        A chroma sample takes the colour where the upper left of its four pixels does.
        """
        box = union_box(masks)
        if not box[2]:
            return
        luma, *chroma = split_planes(planes)
        x, y, x_max, y_max = _even(box, luma)
        inside = _padded(masks, x, y, x_max, y_max)
        _replace(luma[y:y_max, x:x_max], self._yuv[0], inside)
        halved = np.ascontiguousarray(inside[::2, ::2])
        for plane, table in zip(chroma, self._yuv[1:], strict=True):
            _replace(plane[y // 2 : y_max // 2, x // 2 : x_max // 2], table, halved)


def _table(value: float, opacity: float) -> Table:
    blended = np.arange(256) * (1 - opacity) + value * opacity
    table: Table = np.clip(blended + 0.5, 0, 255).astype(np.uint8)
    return table


def _to_yuv(rgb: tuple[int, int, int], matrix: int) -> tuple[float, float, float]:
    """8-bit limited range (ITU-R BT.709 and BT.601: 16 + 219 Y, 128 + 224 C)."""
    red, green, blue = (value / 255 for value in rgb)
    red_weight, blue_weight = _LUMA_WEIGHTS.get(matrix, _BT601)
    y = red_weight * red + (1 - red_weight - blue_weight) * green + blue_weight * blue
    cb, cr = (blue - y) / (2 * (1 - blue_weight)), (red - y) / (2 * (1 - red_weight))
    return 16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr


def _even(box: Region, luma: Plane) -> Region:
    """The box's corners, moved outward to even pixels."""
    x, y, width, height = box
    height_max, width_max = luma.shape
    x_max, y_max = min(width_max, (x + width + 1) & ~1), min(height_max, (y + height + 1) & ~1)
    return x & ~1, y & ~1, x_max, y_max


def _padded(masks: Sequence[Rle], x: int, y: int, x_max: int, y_max: int) -> Plane:
    """The masks between those corners, with the repeated row and column of an odd-sized picture."""
    columns, rows = min(x_max, masks[0].width) - x, min(y_max, masks[0].height) - y
    inside = union_inside(masks, (x, y, columns, rows))
    more = (0, y_max - y - rows), (0, x_max - x - columns)
    return np.pad(inside, more, mode="edge") if any(map(any, more)) else inside


def _replace(region: npt.NDArray[np.uint8], table: Table, inside: Plane) -> None:
    cv2.copyTo(cv2.LUT(region, table), inside, region)
