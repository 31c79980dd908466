"""Joining pieces into one mp4 by copying packets: frame-exact and pts-exact."""

from __future__ import annotations

import heapq
from collections import defaultdict
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
from workers.media.clock import Clock
from workers.media.plan import Ticks
from workers.media.sums import BrokenOutput, PacketSum
from workers.media.verify import open_ours

VideoPackets: TypeAlias = "list[Packet[VideoStream]]"  # Packet is generic in its stubs only
TimedPackets: TypeAlias = "Iterator[tuple[Fraction, Packet[Any]]]"


@dataclass(frozen=True, slots=True)
class Piece:
    """An encoded piece, and the processed indexes of the frames in it, rising.

    `sum` is what its encoder summed, where that is known.
    """

    path: Path
    indexes: Sequence[int]
    sum: PacketSum | None = None


def stitch(
    pieces: Sequence[Piece],
    clock: Clock,
    target: Path,
    audio: Path | None = None,
    checkpoint: Checkpoint = no_checkpoint,
) -> dict[str, PacketSum]:
    """Writes one faststart mp4 of all pieces, with the sound of the file `audio` (see `cut_audio`).

    Packets are copied untouched; the n-th shown frame gets `clock.pts[n]`, whatever the number of
    pieces. Returns the sums of the packets by kind of stream. Raises `BrokenOutput` where a piece
    holds other frames or packets than it should, or where pieces were encoded with different
    settings.
    """
    sums: defaultdict[str, PacketSum] = defaultdict(PacketSum)
    lag = max(_reorder_lag(_read(piece)) for piece in checked(pieces, checkpoint))
    options = {"movflags": "+faststart", "video_track_timescale": str(clock.time_base.denominator)}
    with ExitStack() as stack:
        part = stack.enter_context(replacing(target))
        output = stack.enter_context(av.open(str(part), "w", format="mp4", options=options))
        template = stack.enter_context(open_ours(pieces[0].path)).streams.video[0]
        video = output.add_stream_from_template(template)
        video.time_base = clock.time_base
        streams: list[TimedPackets] = [_copied(pieces, clock, lag, video)]
        if audio:
            sound = stack.enter_context(open_ours(audio))
            copied = output.add_stream_from_template(sound.streams.audio[0])
            streams.append(_sound(sound, copied))
        merged = heapq.merge(*streams, key=lambda timed: timed[0])
        for _, packet in checked(merged, checkpoint):
            sums[packet.stream.type].add(packet)
            output.mux(packet)
    return dict(sums)


def _read(piece: Piece) -> VideoPackets:
    """A piece is about 10 s of packets, so they fit in memory."""
    with open_ours(piece.path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    if len(packets) != len(piece.indexes):
        raise BrokenOutput(f"a piece holds {len(packets)} frames, not {len(piece.indexes)}")
    found = PacketSum()
    for packet in packets:
        found.add(packet)
    if piece.sum not in (None, found):
        raise BrokenOutput("a piece does not hold what was encoded")
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
        with open_ours(piece.path) as container:
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
