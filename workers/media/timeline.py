"""Reading off a video, without decoding it where its container can be trusted, what it shows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.cautions import Caution
from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.container import (
    decode_frames,
    open_container,
    read_packets,
    refuse_large,
    time_base,
    video_stream,
)
from workers.media.limits import Limits
from workers.media.looks import is_transparent, look
from workers.media.plan import Ticks, Timeline, mean_rate
from workers.media.source import Source
from workers.media.timestamps import UNKNOWN, Clock, clock_of, rises
from workers.media.webp import TIME_BASE as WEBP_BASE
from workers.media.webp import is_webp, webp_frames

_TRUSTED_CONTAINERS = ("mov", "matroska")
_TRUSTED_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9", "libvpx-vp9", "mjpeg"})
"""One packet, one frame shown. Not VP8: it hides frames in packets of their own."""
_UNSEEKABLE_CONTAINERS = frozenset({"gif", "ogg"})
"""Their seeking lands between frames that build on one another."""

_SUPPOSED_RATE = Fraction(25)


def read_timeline(
    source: Source, limits: Limits, checkpoint: Checkpoint = no_checkpoint
) -> Timeline:
    """Every frame the video shows, its look and its clock.

    Raises `Refusal`: not_a_video, input_too_large (pixels of a frame), video_too_long (frames or
    hours). Containers whose timestamps cannot be trusted are decoded whole.
    """
    if is_webp(source):
        return _webp_timeline(source, limits, checkpoint)
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        pts = _scan(container, stream, limits, checkpoint)
        first = _first_frame(source, limits)
        told = Clock(pts, told=True, broken=False) if pts is not None else None
        changes = False
        if told is None or first.pts != told.pts[0]:
            told, changes = _count(source, limits, checkpoint)
        return _timeline(container, stream, first, told, changes=changes)


def _timeline(
    container: InputContainer,
    stream: VideoStream,
    first: VideoFrame,
    clock: Clock,
    *,
    changes: bool,
) -> Timeline:
    base = time_base(stream)
    picture = look(first, stream.sample_aspect_ratio)
    cautions = {
        Caution.HIGH_DYNAMIC_RANGE: picture.tone_mapped,
        Caution.INTERLACED: first.interlaced_frame,
        Caution.TRANSPARENT: is_transparent(first, stream),
        Caution.SIZE_CHANGES: changes,
        Caution.BROKEN_CLOCK: clock.broken,
    }
    return Timeline(
        pts=clock.pts,
        time_base=base,
        rate=mean_rate(clock.pts, base, stream.average_rate),
        picture=picture,
        seekable=clock.told and container.format.name not in _UNSEEKABLE_CONTAINERS,
        has_audio=bool(container.streams.audio),
        codec=stream.codec_context.name,
        container=container.format.name,
        cautions=tuple(caution for caution, given in cautions.items() if given),
    )


def _scan(
    container: InputContainer, stream: VideoStream, limits: Limits, checkpoint: Checkpoint
) -> Ticks | None:
    """The timestamps of all packets that show a frame, or None where packets do not tell."""
    if not container.format.name.startswith(_TRUSTED_CONTAINERS):
        return None
    if stream.codec_context.name not in _TRUSTED_CODECS:
        return None
    if container.format.name.startswith("mov") and stream.frames > limits.decoded_frames:
        raise _too_many(limits)  # its table of frames is read by now, so nothing need be counted
    packets = (p for p in read_packets(container, stream) if not p.is_discard)
    pts = _gather(checked(packets, checkpoint), limits, time_base(stream))
    pts.sort()
    return pts if rises(pts) else None


def _webp_timeline(source: Source, limits: Limits, checkpoint: Checkpoint) -> Timeline:
    first = next(webp_frames(source, limits), None)
    if first is None:
        raise Refusal(ErrorCode.NOT_A_VIDEO, "No frame of the video can be decoded.")
    frames = checked(webp_frames(source, limits), checkpoint)
    clock, _ = _clock(frames, limits, WEBP_BASE, _SUPPOSED_RATE)
    return Timeline(
        pts=clock.pts,
        time_base=WEBP_BASE,
        rate=mean_rate(clock.pts, WEBP_BASE, None),
        picture=look(first, None),
        seekable=False,
        has_audio=False,
        codec="webp",
        container="webp",
        cautions=(Caution.BROKEN_CLOCK,) if clock.broken else (),
    )


def _count(source: Source, limits: Limits, checkpoint: Checkpoint) -> tuple[Clock, bool]:
    """The clock of all decoded frames, and whether their size changes."""
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        frames = checked(decode_frames(container, stream), checkpoint)
        rate = stream.average_rate or _SUPPOSED_RATE
        return _clock(frames, limits, time_base(stream), rate)


def _clock(
    frames: Iterable[VideoFrame], limits: Limits, base: Fraction, rate: Fraction
) -> tuple[Clock, bool]:
    dts, sizes = array("q"), set[tuple[int, int]]()
    pts = _gather(_noted(frames, dts, sizes), limits, base)
    if not pts.size:
        raise Refusal(ErrorCode.NOT_A_VIDEO)
    return clock_of(pts, np.array(dts, np.int64), base, rate), len(sizes) > 1


def _noted(
    frames: Iterable[VideoFrame], dts: array[int], sizes: set[tuple[int, int]]
) -> Iterator[VideoFrame]:
    for frame in frames:
        dts.append(UNKNOWN if frame.dts is None else frame.dts)
        sizes.add((frame.width, frame.height))
        yield frame


def _gather(
    shown: Iterable[Packet[VideoStream] | VideoFrame], limits: Limits, base: Fraction
) -> Ticks:
    gathered = array("q")
    for item in shown:
        gathered.append(UNKNOWN if item.pts is None else item.pts)
        if len(gathered) > limits.decoded_frames:
            raise _too_many(limits)
    pts = np.array(gathered, np.int64)
    known = pts[pts != UNKNOWN]
    if known.size and (int(known.max()) - int(known.min())) * base > limits.duration_s:
        raise _too_long(f"more than {limits.duration_s:.0f} s")
    return pts


def _too_many(limits: Limits) -> Refusal:
    return _too_long(f"more than {limits.decoded_frames} frames")


def _too_long(what: str) -> Refusal:
    return Refusal(ErrorCode.VIDEO_TOO_LONG, f"The video has {what}, which is the limit.")


def _first_frame(source: Source, limits: Limits) -> VideoFrame:
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        for frame in decode_frames(container, stream):
            refuse_large(frame.width, frame.height, limits)
            return frame
    raise Refusal(ErrorCode.NOT_A_VIDEO, "No frame of the video can be decoded.")
