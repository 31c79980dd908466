"""Joining pieces into one mp4 by copying packets: frame-exact and pts-exact."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from workers.media.atomic import replacing
from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.plan import FramePlan, Ticks

VideoPackets: TypeAlias = "list[Packet[VideoStream]]"  # Packet is generic in its stubs only
TimedPackets: TypeAlias = "Iterator[tuple[Fraction, Packet[Any]]]"


_OURS = {"format_whitelist": "mov,mp4,m4a", "protocol_whitelist": "file", "codec_whitelist": "h264"}


class BrokenOutput(Exception):  # noqa: N818 - the name says what it is
    """What was written is not what was asked for: a fault of ours."""


@dataclass(frozen=True, slots=True)
class Piece:
    """An encoded piece, and the processed indexes of the frames in it, rising."""

    path: Path
    indexes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Clock:
    """When each frame of the joined video is shown, in ticks of `time_base`; the first at 0."""

    pts: Ticks
    time_base: Fraction
    last_frame: int
    """How long the last frame is shown, in ticks."""


def source_clock(plan: FramePlan, indexes: Sequence[int]) -> Clock:
    """Frames keep the times they have in the source."""
    base = Fraction(1, plan.time_base.denominator)
    pts = (plan.pts[list(indexes)] - plan.pts[indexes[0]]) * plan.time_base.numerator
    return Clock(pts, base, max(1, round(1 / (plan.rate * base))))


def steady_clock(frames: int, fps: float) -> Clock:
    """Frame `n` is shown at n / fps seconds."""
    base = 1 / Fraction(str(fps)).limit_denominator(100_000)
    ticks = base.numerator
    return Clock(np.arange(frames, dtype=np.int64) * ticks, Fraction(1, base.denominator), ticks)


def stitch(
    pieces: Sequence[Piece],
    clock: Clock,
    target: Path,
    audio: Path | None = None,
    checkpoint: Checkpoint = no_checkpoint,
) -> None:
    """Writes one faststart mp4 of all pieces, with the sound of the file `audio` (see `cut_audio`).

    Packets are copied untouched; the n-th shown frame gets `clock.pts[n]`, whatever the number of
    pieces. Raises `BrokenOutput` where a piece holds other frames than it should, or where pieces
    were encoded with different settings.
    """
    lag = max(_reorder_lag(_read(piece)) for piece in checked(pieces, checkpoint))
    options = {"movflags": "+faststart", "video_track_timescale": str(clock.time_base.denominator)}
    with ExitStack() as stack:
        part = stack.enter_context(replacing(target))
        output = stack.enter_context(av.open(str(part), "w", format="mp4", options=options))
        template = stack.enter_context(_open(pieces[0].path)).streams.video[0]
        video = output.add_stream_from_template(template)
        video.time_base = clock.time_base
        streams: list[TimedPackets] = [_copied(pieces, clock, lag, video)]
        if audio:
            sound = stack.enter_context(_open(audio))
            copied = output.add_stream_from_template(sound.streams.audio[0])
            streams.append(_sound(sound, copied))
        merged = heapq.merge(*streams, key=lambda timed: timed[0])
        for _, packet in checked(merged, checkpoint):
            output.mux(packet)


def check_mp4(
    path: Path, frames: int, plan: FramePlan, checkpoint: Checkpoint = no_checkpoint
) -> None:
    """Raises `BrokenOutput` unless the file holds so many frames of the planned size.

    Its first and its last group of pictures must be decodable too.
    """
    picture = plan.picture
    size = picture.width + picture.width % 2, picture.height + picture.height % 2
    with _open(path) as container:
        stream = container.streams.video[0]
        shown = checked(container.demux(stream), checkpoint)
        packets = sum(1 for packet in shown if packet.size)
        found = stream.codec_context.width, stream.codec_context.height
        if packets != frames or found != size:
            raise BrokenOutput(f"{packets} frames of {found}, not {frames} of {size}")
        container.seek(0, stream=stream)
        if next(container.decode(stream), None) is None:
            raise BrokenOutput("the first frame cannot be decoded")
        container.seek(stream.duration or 0, stream=stream)
        if not sum(1 for _ in container.decode(stream)):
            raise BrokenOutput("the last frame cannot be decoded")


def _open(path: Path) -> InputContainer:
    """A file of ours. Its sound came from a client, so only our own video gets a decoder."""
    return av.open(str(path), mode="r", options=_OURS)


def _read(piece: Piece) -> VideoPackets:
    """A piece is about 10 s of packets, so they fit in memory."""
    with _open(piece.path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    if len(packets) != len(piece.indexes):
        raise BrokenOutput(f"a piece holds {len(packets)} frames, not {len(piece.indexes)}")
    return packets


def _ranks(packets: VideoPackets) -> Ticks:
    """The place of each packet's frame in the order of showing."""
    return np.argsort(np.argsort([_pts(packet) for packet in packets]))


def _reorder_lag(packets: VideoPackets) -> int:
    """By how many frames decoding must run ahead of showing."""
    return int((np.arange(len(packets)) - _ranks(packets)).max())


def _copied(
    pieces: Sequence[Piece], clock: Clock, lag: int, video: VideoStream
) -> Iterator[tuple[Fraction, Packet[VideoStream]]]:
    base, settings = 0, None
    for piece in pieces:
        with _open(piece.path) as container:
            extradata = container.streams.video[0].codec_context.extradata
        settings = settings or extradata
        if extradata != settings:
            raise BrokenOutput("pieces were encoded with different settings")
        packets = _read(piece)
        for order, (packet, rank) in enumerate(zip(packets, _ranks(packets), strict=True), base):
            _retime(packet, clock, order - lag, base + int(rank))
            packet.stream = video
            yield _pts(packet, packet.dts) * clock.time_base, packet
        base += len(packets)


def _retime(packet: Packet[VideoStream], clock: Clock, decoded: int, shown: int) -> None:
    """A frame is decoded when the frame `lag` places before it in showing order is shown.

    That makes dts rise strictly and stay at or below pts, however uneven the frames lie.
    """
    first = int(clock.pts[0])
    packet.pts = int(clock.pts[shown])
    packet.dts = int(clock.pts[decoded]) if decoded >= 0 else first + decoded * clock.last_frame
    following = shown + 1 < clock.pts.size
    packet.duration = int(clock.pts[shown + 1]) - packet.pts if following else clock.last_frame
    packet.time_base = clock.time_base


def _sound(
    container: InputContainer, copied: AudioStream
) -> Iterator[tuple[Fraction, Packet[AudioStream]]]:
    stream = container.streams.audio[0]
    for packet in container.demux(stream):
        if packet.size and packet.dts is not None:
            time_s = packet.dts * packet.time_base
            packet.stream = copied
            yield time_s, packet


def _pts(packet: Packet[VideoStream], value: int | None = None) -> int:
    value = packet.pts if value is None else value
    if value is None:
        raise BrokenOutput("a piece holds a packet without a time")
    return value
