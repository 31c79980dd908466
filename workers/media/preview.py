"""Segments of a live preview: MPEG-TS of at most 360 lines, each of them playable by itself.

libav does it in this process, not a program: so frames keep their exact times, whatever their
rate, the work stops between two frames, and no version of a program matters.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.plan import FramePlan, Ticks

LINES = 360
SEGMENT_S = 4
LONGEST_GAP_S = 4
"""A frame is shown no longer than that, or a wide stride would make segments of minutes."""
HZ = 90_000
_X264 = {"preset": "veryfast", "crf": "28", "bf": "0", "g": "250"}


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's file and how long it plays, in seconds."""

    path: Path
    length_s: float


def preview_clock(plan: FramePlan, fps: float | None) -> Ticks:
    """When each processed frame is shown, and last, when the last one ends, in ticks of 90 kHz."""
    gaps = np.diff(plan.pts) * float(plan.time_base)
    gaps_s = np.append(gaps, float(1 / plan.rate)) if fps is None else np.full(len(plan), 1 / fps)
    times_s = np.append(0.0, np.cumsum(np.minimum(gaps_s, LONGEST_GAP_S)))
    steps = np.arange(times_s.size)
    rising: Ticks = np.maximum.accumulate(np.rint(times_s * HZ).astype(np.int64) - steps) + steps
    return rising


def write_segments(
    piece: Path, folder: Path, ticks: Sequence[int], checkpoint: Checkpoint = no_checkpoint
) -> list[Segment]:
    """Writes the frames of a piece of ours as segments of about four seconds.

    `ticks` tell when each frame is shown and, last, when the last one ends. Raises `ValueError`
    where the piece holds another number of frames.
    """
    made: list[Segment] = []
    with av.open(str(piece)) as container:
        shape = container.streams.video[0].codec_context
        aspect = shape.sample_aspect_ratio or Fraction(1)
        frames = checked(container.decode(video=0), checkpoint)
        for span in _spans(ticks):
            path = folder / f"{len(made):03d}.ts"
            shown = list(itertools.islice(frames, len(span)))
            if len(shown) != len(span):
                raise ValueError(f"{len(shown)} frames are left of {len(span)}")
            _encode(shown, ticks[span.start : span.stop], path, aspect)
            length = ticks[span.stop] - ticks[span.start]
            made.append(Segment(path, round(length / HZ, 3)))
        if next(frames, None) is not None:
            raise ValueError("more frames than times")
    return made


def _spans(ticks: Sequence[int]) -> Iterator[range]:
    """The frames of each segment: a new one begins with the first frame four seconds later."""
    first = 0
    for number in range(1, len(ticks) - 1):
        if ticks[number] - ticks[first] >= SEGMENT_S * HZ:
            yield range(first, number)
            first = number
    yield range(first, len(ticks) - 1)


def _encode(
    frames: Sequence[VideoFrame], ticks: Sequence[int], path: Path, aspect: Fraction
) -> None:
    options = {"mpegts_flags": "initial_discontinuity"}  # packets are counted anew
    with av.open(str(path), "w", format="mpegts", options=options) as container:
        stream = container.add_stream("libx264", options=dict(_X264))
        _shape(stream, frames[0], aspect)
        for frame, pts in zip(frames, ticks, strict=True):
            small = frame.reformat(stream.width, stream.height, "yuv420p")
            small.pts, small.time_base = pts, Fraction(1, HZ)
            container.mux(stream.encode(small))
        container.mux(stream.encode(None))


def _shape(stream: VideoStream, frame: VideoFrame, aspect: Fraction) -> None:
    """Pixels keep their shape and their colours, which small pictures would else be guessed."""
    lines = min(LINES, frame.height)
    stream.height = lines & ~1
    stream.width = max(2, round(frame.width * lines / frame.height / 2) * 2)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, HZ)
    context.thread_count = 1  # it goes on beside work that counts
    context.sample_aspect_ratio = aspect
    context.colorspace = frame.colorspace
    context.color_primaries = frame.color_primaries
    context.color_trc = frame.color_trc
    context.color_range = frame.color_range
