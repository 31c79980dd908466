"""Results looked at once more before they count: are they whole, and what was planned?

Raised is `BrokenOutput`, a fault of ours, in every case: the work is done again.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from isal import isal_zlib

from workers.media.archive import new_entry
from workers.media.checkpoints import Checkpoint, checked, no_checkpoint
from workers.media.clock import Clock
from workers.media.names import INDEX_NAME
from workers.media.plan import Picture
from workers.media.sums import AnyPacket, BrokenOutput, PacketSum

_OURS = {"format_whitelist": "mov,mp4,m4a", "protocol_whitelist": "file", "codec_whitelist": "h264"}
_PNG_HEAD = struct.Struct(">8sI4sII")  # W3C PNG 5.2, 5.3, 11.2.2: signature, IHDR, its size
_UNREADABLE = (
    *(av.FFmpegError, zipfile.BadZipFile, struct.error, OSError),
    *(EOFError, IndexError, NotImplementedError, UnicodeDecodeError),
)
_ZIP_END = struct.Struct("<4sHHHH8xH")  # APPNOTE 4.3.16; its sizes zipfile has used
_ZIP_VERSIONS = {zipfile.DEFAULT_VERSION, zipfile.ZIP64_VERSION}
_ENTRY_FIELDS = (
    *("date_time", "compress_type", "comment", "create_system", "flag_bits", "volume"),
    *("internal_attr", "external_attr"),
)
_PNG_BEGIN = (b"\x89PNG\r\n\x1a\n", 13, b"IHDR")


def open_ours(path: Path) -> InputContainer:
    """A file of ours. Its sound came from a client, so only our own video gets a decoder."""
    return av.open(str(path), mode="r", options=_OURS)


@dataclass(frozen=True, slots=True, eq=False)
class Mp4:
    """What an mp4 of ours must hold: frames shown by `clock`, and the packets that were written.

    `sums` is by kind of stream: `video` and `audio`.
    """

    picture: Picture
    clock: Clock
    sums: Mapping[str, PacketSum]


def check_mp4(path: Path, wanted: Mp4, checkpoint: Checkpoint = no_checkpoint) -> None:
    """Raises `BrokenOutput` unless the file is what is wanted, to the packet and the tick.

    Every group of pictures must begin with a picture that can be decoded.
    """
    with _broken_if_unreadable(), open_ours(path) as container:
        stream = container.streams.video[0]
        picture = wanted.picture
        size = picture.width + picture.width % 2, picture.height + picture.height % 2
        if (stream.codec_context.width, stream.codec_context.height) != size:
            raise BrokenOutput(f"frames of another size than {size}")
        shown, sums = _scanned(container, stream, checkpoint)
    if sums != wanted.sums:
        raise BrokenOutput(f"packets {sums}, not {dict(wanted.sums)}")
    told = np.sort(np.array(shown, np.int64))
    clock = wanted.clock
    ticks = clock.time_base / (stream.time_base or clock.time_base)
    if ticks.denominator != 1 or not np.array_equal(told, clock.pts * ticks.numerator):
        raise BrokenOutput("frames at other times than planned")


def _scanned(
    container: InputContainer, stream: VideoStream, checkpoint: Checkpoint
) -> tuple[list[int], dict[str, PacketSum]]:
    """The pts of all frames in order of decoding, and the sums of all streams."""
    shown: list[int] = []
    sums: defaultdict[str, PacketSum] = defaultdict(PacketSum)
    keys = decoded = 0
    for packet in checked((p for p in container.demux() if p.size), checkpoint):
        sums[packet.stream.type].add(packet)
        if packet.stream is not stream:
            continue
        if packet.pts is None:
            raise BrokenOutput("a frame without a time")
        shown.append(packet.pts)
        if packet.is_keyframe:
            keys += 1
            decoded += _decoded(stream, packet)
    if decoded + _decoded(stream, None) != keys or not keys:
        raise BrokenOutput("a group of pictures cannot be decoded")
    return shown, dict(sums)


def _decoded(stream: VideoStream, packet: AnyPacket | None) -> int:
    return len(stream.codec_context.decode(packet))


def check_zip(
    path: Path, names: Iterable[str], size: tuple[int, int], checkpoint: Checkpoint = no_checkpoint
) -> None:
    """Raises `BrokenOutput` unless the zip holds whole entries of just these names, in order.

    All but `index.json` must be PNGs of that width and height.
    """
    with _broken_if_unreadable(), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        _check_end(file, len(archive.filelist))
        entries = checked(archive.infolist(), checkpoint)
        for name, entry in zip_longest(names, entries):
            if entry is None or entry.filename != name:
                raise BrokenOutput(f"the zip holds {entry and entry.filename}, not {name}")
            data = _content(file, entry)
            if data is None or isal_zlib.crc32(data) != entry.CRC:
                raise BrokenOutput(f"{name} is damaged")
            if name != INDEX_NAME:
                _check_png_head(data, size)


def _check_end(file: BinaryIO, entries: int) -> None:
    file.seek(-_ZIP_END.size, os.SEEK_END)
    told = min(entries, zipfile.ZIP_FILECOUNT_LIMIT)
    if _ZIP_END.unpack(file.read()) != (b"PK\5\6", 0, 0, told, told, 0):
        raise BrokenOutput("the end of the zip is damaged")


def _content(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes | None:
    """The entry's bytes; None where it is not told as we tell entries, here and in the list."""
    ours = new_entry(entry.filename)
    ours.CRC, ours.file_size, ours.compress_size = entry.CRC, entry.file_size, entry.file_size
    head = ours.FileHeader(zip64=entry.file_size * 1.05 > zipfile.ZIP64_LIMIT)  # as zipfile has it
    file.seek(entry.header_offset)
    plain = entry.create_version in _ZIP_VERSIONS and all(
        getattr(entry, field) == getattr(ours, field) for field in _ENTRY_FIELDS
    )
    return file.read(entry.file_size) if plain and file.read(len(head)) == head else None


def _check_png_head(data: bytes, size: tuple[int, int]) -> None:
    if _PNG_HEAD.unpack_from(data) != (*_PNG_BEGIN, *size):
        raise BrokenOutput("an entry that is no PNG of the planned size")


@contextmanager
def _broken_if_unreadable() -> Iterator[None]:
    """A file that cannot even be read; want of memory is no damage."""
    try:
        yield
    except MemoryError:
        raise
    except _UNREADABLE as error:
        raise BrokenOutput(f"the file cannot be read: {error}") from error
