"""Decoded frames as arrays: upright, 8-bit, of the size that was planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
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

Pixels = npt.NDArray[np.uint8]
"""A picture in either form."""

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


class Form(StrEnum):
    """The form in which frames are wanted."""

    RGB = "rgb"
    PLANES = "planes"

    def shape(self, picture: Picture) -> tuple[int, ...]:
        """The shape of the array, 8-bit, that holds a frame in this form."""
        if self is Form.RGB:
            return picture.height, picture.width, 3
        height = picture.height + picture.height % 2
        return height * 3 // 2, picture.width + picture.width % 2


def fill_upright(
    target: Pixels, form: Form, frame: VideoFrame, picture: Picture, converters: Converters
) -> None:
    """Writes the upright frame into `target`, a contiguous array of the form's shape.

    Raises `Refusal` (not_a_video) where the frame's colours cannot be read.
    """
    fill = _fill_rgb if form is Form.RGB else _fill_planes
    fill(target, frame, picture, converters)


def _fill_rgb(target: Rgb, frame: VideoFrame, picture: Picture, converters: Converters) -> None:
    width, height = picture.coded_size
    if picture.tone_mapped:
        frame = _tone_mapped(frame, picture, converters)
    converted = _converted(converters.rgb, frame, width=width, height=height, format="rgb24")
    rgb = _rows(converted, 0, height, 3 * width).reshape(height, width, 3)
    target[:] = _turned(rgb, picture)


def _fill_planes(
    target: Planes, frame: VideoFrame, picture: Picture, converters: Converters
) -> None:
    width, height = picture.coded_size
    if (picture.rotation or picture.mirrored) and (width % 2 or height % 2):
        rgb = np.empty(Form.RGB.shape(picture), np.uint8)
        _fill_rgb(rgb, frame, picture, converters)
        _fill_planes_of_rgb(target, rgb, picture)
        return
    frame = _limited_420(frame, picture, converters)
    for number, plane in enumerate(split_planes(target)):
        halved = 1 if number == 0 else 2
        rows = _rows(frame, number, -(-height // halved), -(-width // halved))
        _fill(plane, _turned(rows, picture))


def _turned(stored: Pixels, picture: Picture) -> Pixels:
    """A view of a stored picture or plane, upright."""
    if picture.mirrored:
        stored = stored[:, ::-1]
    return np.rot90(stored, picture.rotation // 90)


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
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError) as error:
        raise Refusal(
            ErrorCode.NOT_A_VIDEO, "The frames have a colour encoding that cannot be read."
        ) from error


def _fill_planes_of_rgb(target: Planes, rgb: Rgb, picture: Picture) -> None:
    height, width = rgb.shape[:2]
    padded = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(padded, format="rgb24").reformat(
        format="yuv420p", dst_colorspace=picture.matrix, dst_color_range=_LIMITED
    )
    for number, plane in enumerate(split_planes(target)):
        _fill(plane, _rows(frame, number, *plane.shape))


def _rows(frame: VideoFrame, number: int, height: int, row_bytes: int) -> Plane:
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8)[: height * plane.line_size]
    return rows.reshape(height, plane.line_size)[:, :row_bytes]


def _fill(target: Plane, source: Plane) -> None:
    height, width = source.shape
    target[:height, :width] = source
    target[:height, width:] = source[:, -1:]
    target[height:] = target[height - 1]
