"""Bytes of containers, laid down by hand: boxes of MP4, elements of Matroska, chunks of PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

BOX_HEAD = struct.Struct(">I4s")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta")


def box(kind: bytes, *payload: bytes, size: int | None = None) -> bytes:
    """A box of ISO/IEC 14496-12; `size` lies about its length."""
    data = b"".join(payload)
    return BOX_HEAD.pack(len(data) + 8 if size is None else size, kind) + data


def full_box(kind: bytes, *payload: bytes) -> bytes:
    """A box with version and flags 0."""
    return box(kind, bytes(4), *payload)


def u32(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and payload of each box, in order."""
    found = []
    while len(data) >= BOX_HEAD.size:
        size, kind = BOX_HEAD.unpack_from(data)
        found.append((kind, data[BOX_HEAD.size : size]))
        data = data[size:]
    return found


def replaced(data: bytes, kind: bytes, new: bytes) -> bytes:
    """The same boxes with each one of that kind (at any depth) exchanged for `new`."""
    made = []
    for found, payload in boxes(data):
        if found == kind:
            made.append(new)
        elif found in CONTAINERS:
            made.append(box(found, replaced(payload, kind, new)))
        else:
            made.append(box(found, payload))
    return b"".join(made)


def payload_of(data: bytes, kind: bytes) -> bytes:
    """The payload of the first box of that kind, at any depth."""
    for found, payload in boxes(data):
        if found == kind:
            return payload
        if found in CONTAINERS and (inner := payload_of(payload, kind)):
            return inner
    return b""


def element(number: int, *payload: bytes, size: int | None = None) -> bytes:
    """An EBML element (RFC 8794) with a length of eight bytes; `size` lies about it."""
    data = b"".join(payload)
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    length = len(data) if size is None else size
    return name + (length | 1 << 56).to_bytes(8, "big") + data


def matroska(*parts: bytes) -> bytes:
    """A Matroska file whose segment holds these elements."""
    head = element(0x1A45DFA3, element(0x4282, b"matroska"), element(0x4285, b"\x02"))
    return head + element(0x18538067, *parts)


def matroska_info(*, scale: int = 1_000_000, duration: float = 1000.0) -> bytes:
    told = struct.pack(">d", duration)
    return element(0x1549A966, element(0x2AD7B1, scale.to_bytes(8, "big")), element(0x4489, told))


def matroska_track(number: int, width: int, height: int, *more: bytes) -> bytes:
    """A track of motion JPEG."""
    size = element(0xB0, width.to_bytes(8, "big")), element(0xBA, height.to_bytes(8, "big"))
    words = element(0x86, b"V_MJPEG"), element(0x83, b"\x01")
    return element(
        0xAE,
        element(0xD7, number.to_bytes(2, "big")),
        element(0x73C5, number.to_bytes(2, "big")),
        *words,
        element(0xE0, *size),
        *more,
    )


def matroska_cluster(frames: Sequence[bytes], time: int = 0) -> bytes:
    """A cluster of key frames of track 1, 40 ticks apart, or as far as their 16 bits let them."""
    step = min(40, 32_767 // len(frames))
    blocks = [
        element(0xA3, b"\x81", struct.pack(">hB", at * step, 0x80), frame)
        for at, frame in enumerate(frames)
    ]
    return element(0x1F43B675, element(0xE7, time.to_bytes(8, "big")), *blocks)


def png(width: int, height: int, *more: bytes, data: bytes | None = None, kind: int = 2) -> bytes:
    """A PNG of that declared size; `more` are chunks before its data."""
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    pixels = zlib.compress(bytes(1000)) if data is None else data
    parts = (png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b""))
    return PNG_SIGNATURE + b"".join(parts)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return u32(len(data)) + kind + data + u32(zlib.crc32(kind + data))


def riff_chunk(kind: bytes, *payload: bytes, size: int | None = None) -> bytes:
    """A chunk of RIFF, as AVI and WebP have them."""
    data = b"".join(payload)
    length = len(data) if size is None else size
    return kind + struct.pack("<I", length) + data + bytes(len(data) % 2)
