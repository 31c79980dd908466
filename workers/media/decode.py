"""Frames of a video, found exactly and turned upright."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import av
import numpy as np
from av.video.frame import VideoFrame as AvFrame

from workers.media.checkpoints import Checkpoint, no_checkpoint
from workers.media.container import decode_frames, open_container, video_stream
from workers.media.limits import Limits
from workers.media.pixels import Converters, Form, Pixels, fill_upright
from workers.media.plan import FramePlan
from workers.media.source import Source
from workers.media.webp import is_webp, webp_frames

_FIRST_STEP_BACK_S = 2.0


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One processed frame: its index among them, its number and pts in the source, its pixels.

    The pixels are upright and the caller's to change. As RGB: height x width x 3. As planes: one
    I420 array of 3/2 x height rows; odd sides are longer by one repeated row or column.
    """

    index: int
    source_index: int
    pts: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which processed frames of a plan to read, and in which form."""

    plan: FramePlan
    span: range
    form: Form

    def new_array(self) -> Pixels:
        """Room for one frame."""
        return np.empty(self.form.shape(self.plan.picture), np.uint8)

    def frame(self, index: int, pixels: Pixels) -> VideoFrame:
        """The processed frame of that index."""
        at = int(self.plan.source_index[index]), int(self.plan.pts[index])
        return VideoFrame(index, *at, pixels)


def read_frames(
    source: Source,
    wanted: Wanted,
    limits: Limits,
    missing: list[int],
    checkpoint: Checkpoint = no_checkpoint,
    room: Callable[[], Pixels] | None = None,
) -> Iterator[VideoFrame]:
    """The wanted frames in order, whichever other frames are read elsewhere.

    Planned frames that cannot be decoded are left out and their indexes appended to `missing`.
    Each frame's pixels stand in the array that `room` gives, by default a new one. Raises
    `Refusal` where the file cannot be opened as a video.
    """
    plan, converters = wanted.plan, Converters()
    indexes = iter(wanted.span)
    index = next(indexes, None)
    for mark, frame in _marked(source, plan, wanted.span, limits):
        checkpoint()
        while index is not None and _mark(plan, index) < mark:
            missing.append(index)
            index = next(indexes, None)
        if index is None:
            return
        if _mark(plan, index) == mark:
            pixels = room() if room else wanted.new_array()
            fill_upright(pixels, wanted.form, frame, plan.picture, converters)
            yield wanted.frame(index, pixels)
            index = next(indexes, None)
    if index is not None:
        missing.extend((index, *indexes))


def _mark(plan: FramePlan, index: int) -> int:
    """What a processed frame is known by: its pts, or its number where pts are invented."""
    return int(plan.pts[index]) if plan.seekable else int(plan.source_index[index])


def _marked(
    source: Source, plan: FramePlan, span: range, limits: Limits
) -> Iterator[tuple[int, AvFrame]]:
    if not span:
        return
    if not plan.seekable:
        yield from enumerate(_read(source, limits, None))
        return
    for frame in _from(source, plan, int(plan.pts[span.start]), limits):
        if frame.pts is not None:
            yield frame.pts, frame


def _from(source: Source, plan: FramePlan, target: int, limits: Limits) -> Iterator[AvFrame]:
    """Every frame from `target` on, decoded as a reading from the start would decode it.

    Containers may land after the target (MPEG-TS does) or in the middle of a group of pictures;
    so it goes further back until a keyframe at or before the target has been decoded.
    """
    back = 0
    while True:
        position = target - back
        from_start = position <= plan.origin
        frames = _read(source, limits, None if from_start else position)
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


def _read(source: Source, limits: Limits, position: int | None) -> Iterator[AvFrame]:
    """Frames from about `position` on, or from the start."""
    if is_webp(source):
        yield from webp_frames(source, limits)
        return
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        if position is not None:
            with suppress(av.FFmpegError):  # no index: it stands at the start, which is as good
                container.seek(position, stream=stream)
        yield from decode_frames(container, stream)
