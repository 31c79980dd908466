"""PNG files, written about forty times faster than by Pillow: one filter, one quick deflate.

W3C PNG, second edition: chunks (5.3), filter type 2 "Up" (9.2), colour types 0 and 2 (11.2.2).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from workers.masks import Mask, Rle, union_inside

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_UNFILTERED, _UP = 0, 2
_LEVEL = 1
_ZLIB_HEAD = b"\x78\x01"  # RFC 1950 2.2: deflate, a window of 32 KiB, quickest
_NO_MORE = b"\x03\x00"  # RFC 1951 3.2.3: a last block that is empty
_ADLER_BASE = 65521


def encode_mask(mask: Mask) -> bytes:
    """An 8-bit grey PNG, 0 or 255; never 1-bit, which Pillow would read as booleans."""
    height, width = mask.shape
    rows = np.zeros((height, width + 1), np.uint8)
    np.multiply(mask, np.uint8(255), out=rows[:, 1:])
    rows[:, 0] = _UNFILTERED
    return _file(width, height, _GREY, rows)


def encode_rle(rle: Rle) -> bytes:
    """`encode_mask` of the decoded mask, but other bytes: only the rows in its box are compressed.

    Rows of background come from a cache; parts of a deflate stream that end with a full flush can
    be joined (RFC 1951 3.2.4, zlib's Z_FULL_FLUSH).
    """
    if not rle.area:
        return encode_mask(np.zeros((rle.height, rle.width), np.bool_))
    x, y, columns, count = rle.bbox
    stride = rle.width + 1
    rows = np.zeros((count, stride), np.uint8)
    np.multiply(union_inside((rle,), rle.bbox), np.uint8(255), out=rows[:, x + 1 : x + 1 + columns])
    before, after = y * stride, (rle.height - y - count) * stride
    checksum = _past_zeros(isal_zlib.adler32(rows, _past_zeros(1, before)), after)
    parts = (
        *(_ZLIB_HEAD, _zeros(before), _deflated(rows, isal_zlib.Z_FULL_FLUSH)),
        *(_zeros(after), _NO_MORE, struct.pack(">I", checksum)),
    )
    return _around(rle.width, rle.height, _GREY, b"".join(parts))


@lru_cache(maxsize=8192)
def _zeros(size: int) -> bytes:
    return _deflated(bytes(size), isal_zlib.Z_FULL_FLUSH) if size else b""


def _deflated(data: npt.NDArray[np.uint8] | bytes, ending: int) -> bytes:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    compressed: bytes = compressor.compress(data) + compressor.flush(ending)
    return compressed


def _past_zeros(checksum: int, size: int) -> int:
    """An Adler-32 (RFC 1950 8.2) after so many more bytes of zero."""
    low, high = checksum & 0xFFFF, checksum >> 16
    return (high + size * low) % _ADLER_BASE << 16 | low


def encode_rgb(image: npt.NDArray[np.uint8]) -> bytes:
    """An 8-bit RGB PNG of a height x width x 3 array."""
    height, width, _ = image.shape
    pixels = image.reshape(height, width * 3)
    rows = np.empty((height, width * 3 + 1), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    return _file(width, height, _RGB, rows)


def read_mask(path: Path) -> Mask:
    """The mask in a file that `encode_mask` wrote."""
    values = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if values is None:
        raise ValueError(f"not a mask: {path.name}")
    mask: Mask = values > 0
    return mask


def _file(width: int, height: int, color_type: int, rows: npt.NDArray[np.uint8]) -> bytes:
    return _around(width, height, color_type, isal_zlib.compress(rows, _LEVEL))


def _around(width: int, height: int, color_type: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"".join((_SIGNATURE, *chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))
