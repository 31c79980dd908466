"""Pictures that lie about themselves, or ask for more than a worker gives."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import cache

from tests.media.hostile.cases import NOT_AN_IMAGE, READ, TOO_LARGE, Case, case
from tests.media.hostile.films import declared, gif
from tests.media.hostile.pieces import png, png_chunk, riff_chunk
from tests.media.hostile.seeds import still


def _megabyte() -> bytes:
    return zlib.compress(bytes(1_000_000), 9)


@cache
def bomb() -> bytes:
    """Fifty megabytes in fifty kilobytes."""
    return zlib.compress(bytes(50_000_000), 9)


_ROWS = b"\0" + bytes(12)
_FOUR_BY_FOUR = zlib.compress(_ROWS * 4)


def _small_png(*chunks: bytes) -> bytes:
    return png(4, 4, *chunks, data=_FOUR_BY_FOUR)


def _swelling(kind: bytes, head: bytes) -> Case:
    """A small PNG with a chunk that swells a thousandfold."""
    return case(lambda _: _small_png(png_chunk(kind, head + bomb())), NOT_AN_IMAGE)


def _app1(body: bytes) -> bytes:
    """A JPEG with that EXIF block."""
    block = b"Exif\0\0" + body
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 2) + block + still("JPEG")[2:]


def _tags(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A little TIFF header with one directory; each entry is tag, type, count, value."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)
    )


def _tiff(width: int, height: int, *more: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A grey TIFF whose one strip is the header itself."""
    entries = [
        *[(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1)],
        *[(262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height)],
        *[(279, 4, 1, min(width * height, 0xFFFF_FFFF)), *more],
    ]
    return _tags(*sorted(entries), following=following) + bytes(5000)


def _scans() -> bytes:
    """A progressive JPEG that refines a large picture three hundred times over."""
    whole = still("JPEG", (3000, 2000), progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * 300 + b"\xff\xd9"


def _patched(data: bytes, mark: bytes, at: int, new: bytes) -> bytes:
    """The bytes with `new` written `at` bytes behind the first `mark`."""
    start = data.index(mark) + at
    return data[:start] + new + data[start + len(new) :]


def _bmp(width: int, height: int) -> bytes:
    return _patched(still("BMP"), b"BM", 18, struct.pack("<ii", width, height))


def _webp(width: int, height: int, *, moving: bool) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = riff_chunk(b"VP8X", bytes([2 * moving, 0, 0, 0]), size)
    return riff_chunk(b"RIFF", b"WEBP", head, still("WEBP")[12:])


HUGE = struct.pack(">II", 60_000, 60_000)

STILLS: Mapping[str, Case] = {
    "png of 65,535 x 65,535": case(png(65_535, 65_535), TOO_LARGE),
    "png of 2,147,483,647 x 1": case(png(0x7FFF_FFFF, 1), TOO_LARGE),
    "png of 0 x 0": case(png(0, 0), NOT_AN_IMAGE),
    "png of 1 x 65,535": case(png(1, 65_535, data=zlib.compress(bytes(4 * 65_535))), READ),
    "png of 65,535 x 1": case(png(65_535, 1, data=zlib.compress(bytes(3 * 65_535 + 1))), READ),
    "png with a text bomb": case(
        lambda _: _small_png(png_chunk(b"zTXt", b"a\0\0" + bomb())), NOT_AN_IMAGE, READ
    ),
    "png with a world text bomb": case(
        lambda _: _small_png(png_chunk(b"iTXt", b"a\0\1\0\0\0" + bomb())), NOT_AN_IMAGE, READ
    ),
    "png with a colour bomb": case(
        lambda _: _small_png(png_chunk(b"iCCP", b"a\0\0" + bomb())), NOT_AN_IMAGE, READ
    ),
    "png with a thousand bombs": case(
        lambda _: _small_png(
            png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000), 9)) * 1000
        ),
        *[NOT_AN_IMAGE, READ],
    ),
    "png with 100,000 words": case(
        lambda _: _small_png(png_chunk(b"tEXt", b"a\0b") * 100_000), READ
    ),
    "png whose pixels swell": case(lambda _: png(4, 4, data=bomb()), READ),
    "png without pixels": case(png(4, 4, data=b""), NOT_AN_IMAGE),
    "png of a wrong sum": case(_small_png()[:-20] + bytes(20), NOT_AN_IMAGE, READ),
    "png that moves a thousand million times": case(
        _small_png(png_chunk(b"acTL", struct.pack(">II", 0x7FFF_FFFF, 0))), READ
    ),
    "jpeg of 65,535 x 65,535": case(declared(65_535, 65_535), TOO_LARGE),
    "jpeg of 6,000 x 6,000 in a kilobyte": case(declared(6_000, 6_000), NOT_AN_IMAGE, READ),
    "jpeg of 1 x 65,535": case(declared(1, 65_535), NOT_AN_IMAGE, READ),
    "jpeg of three hundred scans": case(lambda _: _scans(), READ, NOT_AN_IMAGE, "decode_timeout"),
    "jpeg of 60,000 notes": case(b"\xff\xd8" + b"\xff\xfe\0\2" * 60_000 + still("JPEG")[2:], READ),
    "jpeg with colours in 255 parts": case(
        b"\xff\xd8" + b"\xff\xe2\0\x14ICC_PROFILE\0\1\xff0000" * 300 + still("JPEG")[2:],
        *[READ, NOT_AN_IMAGE],
    ),
    "exif that follows itself": case(_app1(_tags((0x0112, 3, 1, 3), following=8)), READ),
    "exif within itself": case(
        _app1(_tags((0x0112, 3, 1, 3), (0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8))),
        READ,
    ),
    "exif of a thousand million values": case(
        _app1(_tags((0x0112, 3, 0x3FFF_FFFF, 8), (0x010F, 2, 0x7FFF_FFFF, 8))), READ, NOT_AN_IMAGE
    ),
    "exif that turns to nowhere": case(_app1(_tags((0x0112, 3, 1, 99))), READ),
    "webp of 16,384 x 16,384": case(_webp(16_384, 16_384, moving=False), TOO_LARGE, NOT_AN_IMAGE),
    "webp of 16,777,216 x 16,777,216": case(
        _webp(1 << 24, 1 << 24, moving=True), TOO_LARGE, NOT_AN_IMAGE
    ),
    "gif of 65,535 x 65,535": case(gif(1, (65_535, 65_535)), TOO_LARGE),
    "gif of 100,000 frames": case(lambda _: gif(100_000), READ),
    "gif of nothing": case(b"GIF89a" + bytes(100), NOT_AN_IMAGE),
    "gif that is a script": case(
        b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//", NOT_AN_IMAGE, TOO_LARGE
    ),
    "tiff of 4,294,967,295 x 4,294,967,295": case(
        _tiff(0xFFFF_FFFF, 0xFFFF_FFFF), TOO_LARGE, NOT_AN_IMAGE
    ),
    "tiff of 20,000 x 20,000": case(_tiff(20_000, 20_000), TOO_LARGE),
    "tiff that follows itself": case(_tiff(8, 8, following=8), READ),
    "tiff of a thousand million strips": case(
        _tiff(8, 8).replace(
            struct.pack("<HHII", 273, 4, 1, 8), struct.pack("<HHII", 273, 4, 0x3FFF_FFFF, 8)
        ),
        *[READ, NOT_AN_IMAGE],
    ),
    "tiff of a thousand samples": case(
        _tiff(8, 8).replace(
            struct.pack("<HHII", 277, 3, 1, 1), struct.pack("<HHII", 277, 3, 1, 60_000)
        ),
        NOT_AN_IMAGE,
    ),
    "tiff whose strip is beyond its end": case(_tiff(6_000, 6_000), NOT_AN_IMAGE, READ),
    "bmp of 65,535 x 65,535": case(_bmp(65_535, 65_535), TOO_LARGE),
    "bmp of a negative width": case(_bmp(-40, 30), NOT_AN_IMAGE, TOO_LARGE, READ),
    "bmp upside down": case(_bmp(40, -30), READ),
    "avif of 60,000 x 60,000": case(
        lambda a: _patched(a.seeds["AVIF"], b"ispe", 8, HUGE), TOO_LARGE, NOT_AN_IMAGE
    ),
    "heic of 60,000 x 60,000": case(
        lambda a: _patched(a.seeds["HEIF"], b"ispe", 8, HUGE), TOO_LARGE, NOT_AN_IMAGE
    ),
    "picture before a film": case(lambda a: a.seeds["JPEG"] + a.seeds["film.mp4"], READ),
    "picture before a script": case(lambda a: a.seeds["PNG"] + b"<script>alert(1)</script>", READ),
    "film": case(lambda a: a.seeds["film.mp4"], NOT_AN_IMAGE),
    "nothing": case(b"", NOT_AN_IMAGE),
    "svg": case(b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_AN_IMAGE),
    "postscript": case(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NOT_AN_IMAGE),
    "xpm": case(b"/* XPM */\nstatic char *a[] = {};", NOT_AN_IMAGE),
    "icon": case(b"\0\0\1\0\1\0" + bytes(100), NOT_AN_IMAGE),
    "jpeg 2000": case(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100), NOT_AN_IMAGE),
}
"""By name."""
