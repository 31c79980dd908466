"""The sound of the processed part of a video, in a small file of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import BinaryIO

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from visionseg.artifacts.store import is_full
from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.container import has_decoder, open_container
from workers.media.limits import Limits
from workers.media.plan import FramePlan
from workers.media.source import Source

_IN_MP4 = frozenset({"aac", "mp3", "mp3float", "ac3", "eac3", "opus", "libopus", "flac", "alac"})
_NEED_SETUP = frozenset({"aac", "opus", "libopus", "flac", "alac"})
"""Held by mp4 only with the setup bytes that some containers (MPEG-TS) repeat in every packet."""
_RATE_HZ = 48_000
_BITS_PER_SECOND = 128_000
_LEAD_S = 1
UNREADABLE = "The sound of the video could not be read."


class NoSound(Exception):  # noqa: N818 - never fails a job
    """The sound could not be kept; the sentence says why."""


def cut_audio(
    source: Source,
    target: BinaryIO,
    plan: FramePlan,
    limits: Limits,
    checkpoint: Checkpoint = no_checkpoint,
) -> None:
    """Writes an mp4 of the sound from the first processed frame to the end of the last, from 0.

    Copied where mp4 can hold it, else coded again as AAC. Raises `NoSound` where there is none in
    that range or it cannot be read; the job goes on without it.
    """
    try:
        with open_container(source, limits) as container:
            stream = _audio_stream(container)
            written = 0
            for _ in checked(_cut(container, stream, target, _span(plan)), checkpoint):
                written += 1
            if not written:
                raise NoSound("The video has no sound in that range.")
    except (av.FFmpegError, ValueError) as error:
        if is_full(error):  # a result without its sound would be a wrong one
            raise
        raise NoSound(UNREADABLE) from error


def _audio_stream(container: InputContainer) -> AudioStream:
    """The first that can be decoded."""
    if not container.streams.audio:
        raise NoSound("The video has no sound.")
    stream = next(filter(has_decoder, container.streams.audio), None)
    if stream is None:
        raise NoSound(UNREADABLE)
    return stream


def _span(plan: FramePlan) -> tuple[Fraction, Fraction]:
    begin, end = plan.span_s()
    origin = plan.origin * plan.time_base
    return origin + begin, origin + end


def _cut(
    container: InputContainer,
    stream: AudioStream,
    target: BinaryIO,
    span: tuple[Fraction, Fraction],
) -> Iterator[Packet[AudioStream]]:
    """Writes the packets, and yields each one written."""
    begin, _ = span
    if begin > _LEAD_S:
        container.seek(int((begin - _LEAD_S) * av.time_base))
    with av.open(target, "w", format="mp4") as output:
        packets = _copied if _can_be_copied(stream) else _coded
        for packet in packets(container, stream, output, span):
            output.mux(packet)
            yield packet


def _can_be_copied(stream: AudioStream) -> bool:
    name = stream.codec_context.name
    return name in _IN_MP4 and (name not in _NEED_SETUP or bool(stream.codec_context.extradata))


def _copied(
    container: InputContainer,
    stream: AudioStream,
    output: OutputContainer,
    span: tuple[Fraction, Fraction],
) -> Iterator[Packet[AudioStream]]:
    copy = output.add_stream_from_template(stream)
    begin, end = span
    for packet in container.demux(stream):
        if packet.pts is None or packet.dts is None or not packet.size:
            continue
        if packet.pts * packet.time_base >= end:
            return
        if (packet.pts + (packet.duration or 0)) * packet.time_base <= begin:
            continue
        offset = round(begin / packet.time_base)
        packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        packet.stream = copy
        yield packet


def _coded(
    container: InputContainer,
    stream: AudioStream,
    output: OutputContainer,
    span: tuple[Fraction, Fraction],
) -> Iterator[Packet[AudioStream]]:
    target = output.add_stream("aac", rate=_RATE_HZ, layout="stereo")
    target.bit_rate = _BITS_PER_SECOND
    resampler = AudioResampler(format="fltp", layout="stereo", rate=_RATE_HZ)
    begin, _ = span
    for frame in _resampled(_heard(container, stream, span), resampler):
        if frame.pts is not None and frame.time_base is not None:
            frame.pts -= round(begin / frame.time_base)
        yield from target.encode(frame)
    yield from target.encode(None)


def _heard(
    container: InputContainer, stream: AudioStream, span: tuple[Fraction, Fraction]
) -> Iterator[AudioFrame]:
    begin, end = span
    for frame in container.decode(stream):
        if frame.pts is None or frame.time_base is None:
            continue
        starts = frame.pts * frame.time_base
        if starts >= end:
            return
        if starts + Fraction(frame.samples, frame.sample_rate) > begin:
            yield frame


def _resampled(frames: Iterable[AudioFrame], resampler: AudioResampler) -> Iterator[AudioFrame]:
    for frame in frames:
        yield from resampler.resample(frame)
    yield from resampler.resample(None)
