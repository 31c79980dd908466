"""Frames of a video, found exactly and turned upright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import VideoFrame as AvFrame

from workers.media.checkpoints import Checkpoint, no_checkpoint
from workers.media.container import decode_frames, open_container, video_stream
from workers.media.limits import Limits
from workers.media.pixels import Converters, Planes, Rgb, upright_planes, upright_rgb
from workers.media.plan import FramePlan, Picture

_FIRST_STEP_BACK_S = 2.0


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One processed frame: its index among them, its number and pts in the source.

    `rgb` and `planes` make a new array at each call, which is the caller's to change.
    """

    index: int
    source_index: int
    pts: int
    _decoded: AvFrame
    _picture: Picture
    _converters: Converters

    def rgb(self) -> Rgb:
        """The upright picture, height x width x 3, contiguous."""
        return upright_rgb(self._decoded, self._picture, self._converters)

    def planes(self) -> Planes:
        """The upright picture in 8-bit 4:2:0; odd sides are longer by one repeated row or column.

        One array of 3/2 x height rows: luma, then both chroma planes (I420).
        """
        return upright_planes(self._decoded, self._picture, self._converters)


def read_frames(
    path: Path,
    plan: FramePlan,
    span: range,
    limits: Limits,
    missing: list[int],
    checkpoint: Checkpoint = no_checkpoint,
) -> Iterator[VideoFrame]:
    """The processed frames of `span`, in order, whichever other frames are read elsewhere.

    Planned frames that cannot be decoded are left out and their indexes appended to `missing`.
    Raises `Refusal` where the file cannot be opened as a video.
    """
    converters = Converters()
    wanted = iter(span)
    index = next(wanted, None)
    for mark, frame in _marked(path, plan, span, limits):
        checkpoint()
        while index is not None and _mark(plan, index) < mark:
            missing.append(index)
            index = next(wanted, None)
        if index is None:
            return
        if _mark(plan, index) == mark:
            at = int(plan.source_index[index]), int(plan.pts[index])
            yield VideoFrame(index, *at, frame, plan.picture, converters)
            index = next(wanted, None)
    if index is not None:
        missing.extend((index, *wanted))


def _mark(plan: FramePlan, index: int) -> int:
    """What a processed frame is known by: its pts, or its number where pts are invented."""
    return int(plan.pts[index]) if plan.seekable else int(plan.source_index[index])


def _marked(
    path: Path, plan: FramePlan, span: range, limits: Limits
) -> Iterator[tuple[int, AvFrame]]:
    if not span:
        return
    if not plan.seekable:
        yield from enumerate(_read(path, limits, None))
        return
    for frame in _from(path, plan, int(plan.pts[span.start]), limits):
        if frame.pts is not None:
            yield frame.pts, frame


def _from(path: Path, plan: FramePlan, target: int, limits: Limits) -> Iterator[AvFrame]:
    """Every frame from `target` on, decoded as a reading from the start would decode it.

    Containers may land after the target (MPEG-TS does) or in the middle of a group of pictures;
    so it goes further back until a keyframe at or before the target has been decoded.
    """
    back = 0
    while True:
        position = target - back
        from_start = position <= plan.origin
        frames = _read(path, limits, None if from_start else position)
        keyed = from_start
        for frame in frames:
            keyed = keyed or (frame.key_frame and frame.pts is not None and frame.pts <= target)
            if frame.pts is None or frame.pts < target:
                continue
            if not keyed:
                break
            yield frame
        if keyed:
            return
        back = back * 4 or math.ceil(_FIRST_STEP_BACK_S / plan.time_base)


def _read(path: Path, limits: Limits, position: int | None) -> Iterator[AvFrame]:
    """Frames from about `position` on, or from the start."""
    with open_container(path, limits) as container:
        stream = video_stream(container, limits)
        if position is not None:
            with suppress(av.FFmpegError):  # no index: it stands at the start, which is as good
                container.seek(position, stream=stream)
        yield from decode_frames(container, stream)
