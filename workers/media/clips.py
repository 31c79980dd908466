"""Short films composed of free stills: cut-outs moving over a picture, the exact truth known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from workers.masks import Mask, Rle, encode

Rgb = npt.NDArray[np.uint8]
Corners = tuple[tuple[int, int], ...]
"""A polygon, x and y in pixels of its still."""

# Drawn by hand on the stills: the outline of a cut-out is what it was cut along, so it is exact.
_ASTRONAUT: Corners = (
    *((273, 29), (252, 19), (223, 16), (199, 24), (175, 40), (160, 56), (154, 75), (156, 98)),
    *((164, 116), (178, 134), (181, 148), (150, 158), (131, 170), (117, 189), (113, 207)),
    *((95, 220), (72, 239), (48, 272), (38, 300), (28, 335), (22, 400), (28, 460), (34, 512)),
    *((282, 512), (278, 480), (278, 450), (286, 415), (300, 392), (318, 372), (340, 358)),
    *((361, 350), (361, 330), (355, 293), (345, 269), (322, 245), (306, 233), (303, 222)),
    *((290, 203), (275, 184), (258, 172), (266, 145), (272, 135), (284, 125), (293, 112)),
    *((301, 88), (295, 56)),
)
_CHELSEA: Corners = (
    *((40, 0), (34, 30), (27, 75), (26, 132), (50, 157), (61, 189), (77, 207), (100, 226)),
    *((127, 243), (140, 262), (146, 285), (148, 300), (310, 300), (313, 280), (315, 250)),
    *((315, 222), (349, 183), (364, 146), (366, 116), (357, 92), (359, 74), (371, 59)),
    *((382, 24), (398, 0)),
)


@dataclass(frozen=True, slots=True)
class Mover:
    """A cut-out: what it shows, its still and outline, its height and way as shares of the frame.

    `path` is where its centre is on the first and on the last frame, across the width; `top` is
    where its upper edge is, down the height.
    """

    noun: str
    still: str
    outline: Corners
    height: float
    path: tuple[float, float]
    top: float


@dataclass(frozen=True, slots=True)
class Script:
    """A film: a still as backdrop and cut-outs before it, the last in front."""

    backdrop: str
    movers: tuple[Mover, ...]


SCRIPTS: Mapping[str, Script] = {
    "astronaut": Script(
        "rocket.jpg",
        (Mover("person", "astronaut.png", _ASTRONAUT, 0.8, (0.25, 0.75), 0.2),),
    ),
    "astronaut and cat": Script(
        "rocket.jpg",
        (
            Mover("cat", "chelsea.png", _CHELSEA, 0.6, (0.78, 0.7), 0.4),
            Mover("person", "astronaut.png", _ASTRONAUT, 0.8, (0.2, 0.34), 0.2),
        ),
    ),
    "cat": Script(
        "flower.jpg",
        (Mover("cat", "chelsea.png", _CHELSEA, 0.7, (0.3, 0.6), 0.3),),
    ),
}
"""The films by name."""


@dataclass(frozen=True, slots=True)
class _CutOut:
    """A mover at its size on the frame: its pixels and how far each covers the backdrop, 0-255."""

    mover: Mover
    pixels: Rgb
    cover: npt.NDArray[np.uint8]


def compose(
    stills: Mapping[str, Rgb], script: Script, frames: int, size: tuple[int, int] = (360, 640)
) -> Iterator[tuple[Rgb, list[Mask]]]:
    """Each frame of a film, of height and width `size`, with the exact mask of each mover.

    Masks stand in the order of the movers and leave out what one further in front hides. Movers
    move by whole pixels. Raises `KeyError` where a still is missing.
    """
    backdrop = _filling(stills[script.backdrop], size)
    cut_outs = [_cut_out(stills[mover.still], mover, size[0]) for mover in script.movers]
    for frame in range(frames):
        yield _placed(backdrop, cut_outs, frame / max(1, frames - 1))


def write_clip(
    path: Path,
    pictures: Iterable[tuple[Rgb, Sequence[Mask]]],
    fps: Fraction | int = 25,
    crf: int = 18,
) -> list[list[Rle]]:
    """Writes pictures of one even size as H.264 in MP4 and returns the truth of each frame."""
    truth: list[list[Rle]] = []
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options={"crf": str(crf)})
        stream.pix_fmt = "yuv420p"
        for picture, masks in pictures:
            if not truth:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            truth.append([encode(mask) for mask in masks])
        container.mux(stream.encode())
    return truth


def _filling(picture: Rgb, size: tuple[int, int]) -> Rgb:
    """The picture scaled to fill the frame, its middle cut out."""
    height, width = size
    scale = max(height / picture.shape[0], width / picture.shape[1])
    scaled = _scaled(picture, scale)
    y, x = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[y : y + height, x : x + width]


def _cut_out(still: Rgb, mover: Mover, frame_height: int) -> _CutOut:
    corners = np.array(mover.outline, np.float64)
    low, high = corners.min(0).astype(int), corners.max(0).astype(int)
    scale = mover.height * frame_height / (high[1] - low[1])
    pixels = _scaled(still[low[1] : high[1], low[0] : high[0]], scale)
    cover = np.zeros(pixels.shape[:2], np.uint8)
    placed = np.round((corners - low) * scale).astype(np.int32)
    cv2.fillPoly(cover, [placed], (255,), cv2.LINE_AA)
    return _CutOut(mover, pixels, cover)


def _placed(backdrop: Rgb, cut_outs: Sequence[_CutOut], time: float) -> tuple[Rgb, list[Mask]]:
    """The frame at `time`, 0-1 along the film."""
    picture = backdrop.copy()
    masks: list[Mask] = []
    for cut_out in cut_outs:
        cover = _on_frame(cut_out, time, picture)
        masks = [*(mask & (cover < 128) for mask in masks), cover >= 128]
    return picture, masks


def _on_frame(cut_out: _CutOut, time: float, picture: Rgb) -> npt.NDArray[np.uint8]:
    """Paints a cut-out on the picture and returns how far it covers each pixel of it."""
    height, width = picture.shape[:2]
    start, end = cut_out.mover.path
    left = round((start + (end - start) * time) * width - cut_out.cover.shape[1] / 2)
    top = round(cut_out.mover.top * height)
    cover = np.zeros((height, width), np.uint8)
    pixels = np.zeros_like(picture)
    to_y, from_y = _shared(top, cut_out.cover.shape[0], height)
    to_x, from_x = _shared(left, cut_out.cover.shape[1], width)
    cover[to_y, to_x] = cut_out.cover[from_y, from_x]
    pixels[to_y, to_x] = cut_out.pixels[from_y, from_x]
    share = cover[..., None].astype(np.float32) / 255
    picture[...] = np.round(share * pixels + (1 - share) * picture)
    return cover


def _shared(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """The part of `length` pixels from `start` that lies in 0..limit, there and in the part."""
    first, last = min(max(0, start), limit), max(0, min(limit, start + length))
    return slice(first, max(first, last)), slice(first - start, max(first, last) - start)


def _scaled(picture: Rgb, scale: float) -> Rgb:
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, size, interpolation=way).astype(np.uint8, copy=False)
