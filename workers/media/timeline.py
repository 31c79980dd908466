"""Reading off a video, without decoding it where its container can be trusted, what it shows."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visionseg.contract.errors import ErrorCode, Refusal
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
from workers.media.plan import Picture, Ticks, Timeline, mean_rate
from workers.media.source import Source

_TRUSTED_CONTAINERS = ("mov", "matroska")
_TRUSTED_CODECS = frozenset({"h264", "hevc", "av1", "libdav1d", "vp9", "libvpx-vp9", "mjpeg"})
"""One packet, one frame shown. Not VP8: it hides frames in packets of their own."""
_UNSEEKABLE_CONTAINERS = frozenset({"gif", "ogg"})
"""Their seeking lands between frames that build on one another."""

_BT709, _BT470BG, _UNKNOWN, _RGB, _RESERVED = 1, 5, 2, 0, 3
_HDR_TRANSFERS = frozenset({16, 18})  # PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)
_HD_LINES = 720  # players read untagged video of fewer lines as BT.601, else as BT.709
_UNKNOWN_PTS = -(1 << 62)


def read_timeline(
    source: Source, limits: Limits, checkpoint: Checkpoint = no_checkpoint
) -> Timeline:
    """Every frame the video shows, its look and its clock.

    Raises `Refusal`: not_a_video, input_too_large (pixels of a frame), video_too_long (frames or
    hours). Containers whose timestamps cannot be trusted are decoded whole.
    """
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        pts = _scan(container, stream, limits, checkpoint)
        first = _first_frame(source, limits)
        seekable = container.format.name not in _UNSEEKABLE_CONTAINERS
        if pts is None or first.pts != pts[0]:
            pts, in_order = _count(source, limits, checkpoint)
            seekable = seekable and in_order
        return _timeline(container, stream, first, pts, seekable=seekable)


def look(frame: VideoFrame, pixel_aspect: Fraction | None) -> Picture:
    """How frames like this one look once they are upright and in 8-bit 4:2:0."""
    rotation = round(frame.rotation / 90) * 90 % 360
    turned = rotation % 180 != 0
    width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
    aspect = pixel_aspect or Fraction(1)
    hdr = int(frame.color_trc) in _HDR_TRANSFERS
    return Picture(
        width=width,
        height=height,
        rotation=rotation,
        pixel_aspect=1 / aspect if turned else aspect,
        matrix=_BT709 if hdr else _matrix(frame),
        primaries=_BT709 if hdr else int(frame.color_primaries),
        transfer=_BT709 if hdr else int(frame.color_trc),
        tone_mapped=hdr,
    )


def _timeline(
    container: InputContainer, stream: VideoStream, first: VideoFrame, pts: Ticks, *, seekable: bool
) -> Timeline:
    base = time_base(stream)
    return Timeline(
        pts=pts,
        time_base=base,
        rate=mean_rate(pts, base, stream.average_rate),
        picture=look(first, stream.sample_aspect_ratio),
        seekable=seekable,
        has_audio=bool(container.streams.audio),
        codec=stream.codec_context.name,
        container=container.format.name,
    )


def _scan(
    container: InputContainer, stream: VideoStream, limits: Limits, checkpoint: Checkpoint
) -> Ticks | None:
    """The timestamps of all packets that show a frame, or None where packets do not tell."""
    if not container.format.name.startswith(_TRUSTED_CONTAINERS):
        return None
    if stream.codec_context.name not in _TRUSTED_CODECS:
        return None
    packets = (p for p in read_packets(container, stream) if not p.is_discard)
    pts = _gather(checked(packets, checkpoint), limits, time_base(stream))
    in_order = pts.size and (np.diff(pts) > 0).all() and pts[0] != _UNKNOWN_PTS
    return pts if in_order else None


def _count(source: Source, limits: Limits, checkpoint: Checkpoint) -> tuple[Ticks, bool]:
    """The timestamps of all decoded frames, and whether they rise by themselves."""
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        base = time_base(stream)
        frames = checked(decode_frames(container, stream), checkpoint)
        pts = _gather(frames, limits, base, ordered=False)
        if not pts.size:
            raise Refusal(ErrorCode.NOT_A_VIDEO)
        if pts.min() != _UNKNOWN_PTS and (np.diff(pts) > 0).all():
            return pts, True
        return _invented(pts.size, base, stream.average_rate or Fraction(25)), False


def _invented(frames: int, base: Fraction, rate: Fraction) -> Ticks:
    """Evenly spaced timestamps for a video that has none, rounded down to ticks."""
    step = max(Fraction(1), 1 / (rate * base))
    return np.arange(frames, dtype=np.int64) * step.numerator // step.denominator


def _gather(
    shown: Iterable[Packet[VideoStream] | VideoFrame],
    limits: Limits,
    base: Fraction,
    *,
    ordered: bool = True,
) -> Ticks:
    gathered = array("q")
    for item in shown:
        gathered.append(_UNKNOWN_PTS if item.pts is None else item.pts)
        if len(gathered) > limits.decoded_frames:
            raise _too_long(f"more than {limits.decoded_frames} frames")
    pts = np.array(gathered, np.int64)
    if ordered:
        pts.sort()
    known = pts[pts != _UNKNOWN_PTS]
    if known.size and (int(known.max()) - int(known.min())) * base > limits.duration_s:
        raise _too_long(f"more than {limits.duration_s:.0f} s")
    return pts


def _too_long(what: str) -> Refusal:
    return Refusal(ErrorCode.VIDEO_TOO_LONG, f"The video has {what}, which is the limit.")


def _first_frame(source: Source, limits: Limits) -> VideoFrame:
    with open_container(source, limits) as container:
        stream = video_stream(container, limits)
        for frame in decode_frames(container, stream):
            refuse_large(frame.width, frame.height, limits)
            return frame
    raise Refusal(ErrorCode.NOT_A_VIDEO, "No frame of the video can be decoded.")


def _matrix(frame: VideoFrame) -> int:
    told = int(frame.colorspace)
    if told not in (_RGB, _UNKNOWN, _RESERVED):
        return told
    return _BT709 if frame.height >= _HD_LINES else _BT470BG
