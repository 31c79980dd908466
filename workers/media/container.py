"""The one place where a client's video is opened, with every limit that libav offers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visionseg.artifacts.sniff import HEAD_BYTES, VIDEO_TYPES, sniff
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.limits import Limits
from workers.media.source import Source

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif"
_BUFFER_BYTES = 1 << 18
_THREADS = 8
_BAD_PACKETS = 1000  # after that many the rest is given up


@contextmanager
def open_container(source: Source, limits: Limits) -> Iterator[InputContainer]:
    """The opened file; raises `Refusal` (not_a_video) unless its first bytes and libav agree.

    libav sees an open file and no protocol at all, so a playlist can name nothing to follow.
    """
    av.logging.set_level(None)
    with source.open("rb") as file:
        if sniff(file.read(HEAD_BYTES)) not in VIDEO_TYPES:
            raise Refusal(ErrorCode.NOT_A_VIDEO)
        file.seek(0)
        try:
            container = av.open(
                file,
                mode="r",
                options=_options(limits),
                metadata_errors="replace",
                buffer_size=_BUFFER_BYTES,
                timeout=(limits.open_s, limits.stall_s),
            )
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError) as error:
            raise Refusal(ErrorCode.NOT_A_VIDEO) from error
        with container:
            yield container


def video_stream(container: InputContainer, limits: Limits) -> VideoStream:
    """The first moving picture, set to decode on several threads.

    Raises `Refusal`: not_a_video without one that can be decoded, input_too_large beyond the limit
    on frame pixels.
    """
    streams = [s for s in container.streams.video if not _is_cover(s) and s.time_base is not None]
    if not streams:
        raise Refusal(
            ErrorCode.NOT_A_VIDEO,
            "The file holds no video stream.",
            detail_zh="文件中没有视频流。",
        )
    stream = next((s for s in streams if has_decoder(s)), None)
    if stream is None:
        raise Refusal(
            ErrorCode.NOT_A_VIDEO,
            "The video is in a codec that cannot be read here.",
            detail_zh="此处无法读取该视频的编码格式。",
        )
    refuse_large(stream.codec_context.width, stream.codec_context.height, limits)
    stream.codec_context.options = {"max_pixels": str(limits.frame_pixels)}
    stream.thread_type = "AUTO"
    stream.codec_context.thread_count = min(_THREADS, os.cpu_count() or 1)
    return stream


def has_decoder(stream: VideoStream | AudioStream) -> bool:
    """Whether the codec is known; PyAV gives other streams no context, whatever its types say."""
    context: object = stream.codec_context
    return context is not None


def refuse_large(width: int, height: int, limits: Limits) -> None:
    """Raises `Refusal` (input_too_large) where a frame has more pixels than the limit."""
    if width * height > limits.frame_pixels:
        raise Refusal(
            ErrorCode.INPUT_TOO_LARGE,
            f"Frames of {width}x{height} are larger than the limit of {limits.frame_pixels} "
            "pixels.",
            detail_zh=f"{width}x{height} 的画面超过了 {limits.frame_pixels} 像素的上限。",
        )


def time_base(stream: VideoStream) -> Fraction:
    """Seconds a tick of the stream's timestamps."""
    if stream.time_base is None:
        raise Refusal(ErrorCode.NOT_A_VIDEO)
    return stream.time_base


def decode_frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Every frame that can be decoded from here on; broken packets are passed over."""
    bad = 0
    for packet in read_packets(container, stream):
        try:
            yield from stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.FFmpegError:
            bad += 1
        if bad > _BAD_PACKETS:
            return
    with _damage_passed_over():
        yield from stream.codec_context.decode(None)


def read_packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """The stream's packets with data from here on; a cut-off file ends where it is cut."""
    with _damage_passed_over():
        yield from (packet for packet in container.demux(stream) if packet.size)


@contextmanager
def _damage_passed_over() -> Iterator[None]:
    """Ends the block where the file is broken; want of memory is no damage."""
    try:
        yield
    except MemoryError:
        raise
    except av.FFmpegError:
        return


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _options(limits: Limits) -> dict[str, str]:
    return {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "",
        "max_pixels": str(limits.frame_pixels),
        "probesize": "5000000",
        "analyzeduration": "5000000",
    }
