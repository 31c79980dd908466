"""Decoded frames as arrays: upright, 8-bit, of the size that was planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict, Unpack

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.plan import Picture

Rgb = npt.NDArray[np.uint8]
"""One picture, height x width x 3, 8-bit RGB, upright."""

Planes = npt.NDArray[np.uint8]
"""One picture in I420: 3/2 x height rows of an even width; luma first, then both chroma planes."""

Plane = npt.NDArray[np.uint8]


class _Wanted(TypedDict, total=False):
    width: int
    height: int
    format: str
    dst_colorspace: int
    dst_color_range: int
    dst_color_trc: int
    dst_color_primaries: int


_LIMITED, _FULL = 1, 2  # AVColorRange
_BT709 = 1


@dataclass(frozen=True, slots=True)
class Converters:
    """The conversions of one reading, each with tables of its own that last from frame to frame."""

    rgb: VideoReformatter = field(default_factory=VideoReformatter)
    planes: VideoReformatter = field(default_factory=VideoReformatter)
    tone: VideoReformatter = field(default_factory=VideoReformatter)


def upright_rgb(frame: VideoFrame, picture: Picture, converters: Converters) -> Rgb:
    """The frame as upright RGB, height x width x 3, contiguous; always a new array."""
    width, height = picture.coded_size
    if picture.tone_mapped:
        frame = _tone_mapped(frame, picture, converters)
    converted = _converted(converters.rgb, frame, width=width, height=height, format="rgb24")
    rgb = _rows(converted, 0, height, 3 * width).reshape(height, width, 3)
    return np.array(np.rot90(rgb, picture.rotation // 90), order="C")


def upright_planes(frame: VideoFrame, picture: Picture, converters: Converters) -> Planes:
    """The frame as upright I420 of even size, padded by repetition; always a new array."""
    width, height = picture.coded_size
    if picture.rotation and (width % 2 or height % 2):
        return _planes_of_rgb(upright_rgb(frame, picture, converters), picture)
    frame = _limited_420(frame, picture, converters)
    upright = empty_planes(picture.width, picture.height)
    for number, target in enumerate(split_planes(upright)):
        halved = 1 if number == 0 else 2
        rows = _rows(frame, number, -(-height // halved), -(-width // halved))
        _fill(target, np.rot90(rows, picture.rotation // 90))
    return upright


def empty_planes(width: int, height: int) -> Planes:
    """A new I420 array, not filled, for a picture of any size: sides are rounded up to even."""
    even_width, even_height = width + width % 2, height + height % 2
    return np.empty((even_height * 3 // 2, even_width), np.uint8)


def split_planes(array: Planes) -> tuple[Plane, Plane, Plane]:
    """Luma and both chroma planes of a contiguous I420 array, as views into it."""
    height, width = array.shape[0] * 2 // 3, array.shape[1]
    flat = array.reshape(-1)
    chroma = flat[height * width :].reshape(2, height // 2, width // 2)
    return flat[: height * width].reshape(height, width), chroma[0], chroma[1]


def _limited_420(frame: VideoFrame, picture: Picture, converters: Converters) -> VideoFrame:
    width, height = picture.coded_size
    if picture.tone_mapped:
        return _tone_mapped(frame, picture, converters)
    same = (frame.width, frame.height, frame.format.name) == (width, height, "yuv420p")
    if same and int(frame.color_range) != _FULL:
        return frame
    return _converted(
        converters.planes,
        frame,
        width=width,
        height=height,
        format="yuv420p",
        dst_colorspace=picture.matrix,
        dst_color_range=_LIMITED,
    )


def _tone_mapped(frame: VideoFrame, picture: Picture, converters: Converters) -> VideoFrame:
    width, height = picture.coded_size
    return _converted(
        converters.tone,
        frame,
        width=width,
        height=height,
        format="yuv420p",
        dst_colorspace=_BT709,
        dst_color_range=_LIMITED,
        dst_color_trc=_BT709,
        dst_color_primaries=_BT709,
    )


def _converted(
    reformatter: VideoReformatter, frame: VideoFrame, **wanted: Unpack[_Wanted]
) -> VideoFrame:
    try:
        return reformatter.reformat(frame, **wanted)
    except (av.FFmpegError, ValueError) as error:
        raise Refusal(
            ErrorCode.NOT_A_VIDEO, "The frames have a colour encoding that cannot be read."
        ) from error


def _planes_of_rgb(rgb: Rgb, picture: Picture) -> Planes:
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(padded, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=picture.matrix, dst_color_range=_LIMITED
    )
    target = empty_planes(width, height)
    for number, plane in enumerate(split_planes(target)):
        _fill(plane, _rows(frame, number, *plane.shape))
    return target


def _rows(frame: VideoFrame, number: int, height: int, row_bytes: int) -> Plane:
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8)[: height * plane.line_size]
    return rows.reshape(height, plane.line_size)[:, :row_bytes]


def _fill(target: Plane, source: Plane) -> None:
    height, width = source.shape
    target[:height, :width] = source
    target[:height, width:] = source[:, -1:]
    target[height:] = target[height - 1]
