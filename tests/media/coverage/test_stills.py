"""Pictures of every format, colour mode and turn, against pixels computed apart from Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
from PIL import Image

from tests.media.hostile.pieces import PNG_SIGNATURE, png_chunk
from workers.media.limits import Limits
from workers.media.pixels import Rgb
from workers.media.reading import open_image

Array = npt.NDArray[np.uint8]
Read = Callable[[bytes], Rgb]
HEIGHT, WIDTH = 24, 40


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Those bytes as the worker reads them, in the jail."""

    def open_bytes(data: bytes) -> Rgb:
        path = tmp_path / "input"
        path.write_bytes(data)
        return open_image(path, Limits())

    return open_bytes


def colours() -> Array:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, (x + y) * 3], -1).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def packed(samples: npt.NDArray[np.uint16], bits: int) -> list[bytes]:
    """Rows of samples as PNG packs them: the first in the upper bits, big-endian."""
    rows = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        return [row.astype(">u2").tobytes() for row in rows]
    digits = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [np.packbits(row.reshape(-1)).tobytes() for row in digits.astype(np.uint8)]


def png(
    samples: npt.NDArray[np.uint16], color: int, bits: int, *more: tuple[bytes, bytes]
) -> bytes:
    """A PNG written by hand (W3C PNG 5.3, 11.2.2): unfiltered rows, chunks `more` before them."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in packed(samples, bits)))
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    return PNG_SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks)


def dealt(channels: int, bits: int) -> npt.NDArray[np.uint16]:
    deal = np.random.default_rng(bits * 10 + channels)
    return deal.integers(0, 1 << bits, (HEIGHT, WIDTH, channels), dtype=np.uint16)


def eight(samples: npt.NDArray[np.uint16], bits: int) -> Array:
    """Samples as 8 bits: the full range, or the upper half of 16 bits."""
    scaled = samples >> 8 if bits == 16 else samples * 255 // ((1 << bits) - 1)
    return scaled.astype(np.uint8)


def on_white(color: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    share = alpha / 255.0
    return color * share + 255 * (1 - share)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_grey_png_of_any_depth(bits: int, read: Read) -> None:
    samples = dealt(1, bits)
    wanted = np.repeat(eight(samples, bits), 3, -1)
    np.testing.assert_array_equal(read(png(samples, 0, bits)), wanted)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_colour_png_of_any_depth(bits: int, read: Read) -> None:
    samples = dealt(3, bits)
    np.testing.assert_array_equal(read(png(samples, 2, bits)), eight(samples, bits))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("clear", [False, True], ids=["full", "with clear entries"])
def test_a_palette_png_of_any_depth(bits: int, clear: bool, read: Read) -> None:
    samples, entries = dealt(1, bits), 1 << bits
    palette = np.random.default_rng(bits).integers(0, 256, (entries, 3), np.uint8)
    alphas = np.arange(entries, dtype=np.uint8) * (255 // entries)
    more = [(b"PLTE", palette.tobytes())] + [(b"tRNS", alphas.tobytes())] * clear
    color = palette[samples[..., 0]]
    wanted = on_white(color, alphas[samples[..., 0], None]) if clear else color
    np.testing.assert_allclose(read(png(samples, 3, bits, *more)), wanted, atol=1.01)


@pytest.mark.parametrize(("color", "channels"), [(4, 2), (6, 4)], ids=["grey", "colour"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_with_alpha(color: int, channels: int, bits: int, read: Read) -> None:
    samples = dealt(channels, bits)
    shallow = eight(samples, bits)
    wanted = on_white(np.broadcast_to(shallow[..., :-1], (HEIGHT, WIDTH, 3)), shallow[..., -1:])
    np.testing.assert_allclose(read(png(samples, color, bits)), wanted, atol=1.01)


@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3)], ids=["grey", "colour"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_png_with_one_clear_colour(color: int, channels: int, bits: int, read: Read) -> None:
    samples = dealt(channels, bits)
    clear = samples[3, 5]
    told = np.resize(clear, channels).astype(">u2").tobytes()
    wanted = np.broadcast_to(eight(samples, bits), (HEIGHT, WIDTH, 3)).copy()
    wanted[(samples == clear).all(-1)] = 255
    np.testing.assert_array_equal(read(png(samples, color, bits, (b"tRNS", told))), wanted)


def test_an_interlaced_png(read: Read) -> None:
    """Adam7 (W3C PNG 8.2), which Pillow does not write."""
    image = colours()
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    rows = b"".join(
        b"\0" + row.tobytes() for y, x, down, right in passes for row in image[y::down, x::right]
    )
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    data = PNG_SIGNATURE + b"".join(png_chunk(kind, body) for kind, body in chunks)
    np.testing.assert_array_equal(read(data), image)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_of_any_mode(mode: str, progressive: bool, read: Read) -> None:
    image = Image.fromarray(colours()).convert(mode)
    shown = read(saved(image, "JPEG", quality=98, progressive=progressive))
    pixels = np.asarray(image).astype(float)
    if mode == "CMYK":
        wanted = (255 - pixels[..., :3]) * (255 - pixels[..., 3:]) / 255
    else:
        wanted = np.broadcast_to(pixels.reshape(HEIGHT, WIDTH, -1), (HEIGHT, WIDTH, 3))
    assert np.abs(shown - wanted).mean() < 5


TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}
"""TIFF 6.0, tag 274: where the stored row 0 and column 0 are shown."""


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_every_turn_of_exif(kind: str, turn: int, read: Read) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(colours())
    if kind == "HEIF":
        made, file = pillow_heif.from_pillow(image), io.BytesIO()
        made.save(file, quality=-1, chroma=444, exif=exif.tobytes())
        data = file.getvalue()
    else:
        lossy = {"quality": 98, "subsampling": "4:4:4"}
        data = saved(image, kind, exif=exif, **lossy, lossless=True)
    shown, wanted = read(data), TURNS[turn](colours())
    assert shown.shape == wanted.shape
    exact = kind in {"PNG", "TIFF", "WEBP"}
    assert np.abs(shown.astype(int) - wanted).max() <= (0 if exact else 12)


def tiff(samples: npt.NDArray[np.uint16], bits: int, photometric: int, *, tile: int = 0) -> bytes:
    """A little-endian TIFF written by hand, in one strip or in square tiles."""
    height, width, channels = samples.shape
    kind = "<u2" if bits == 16 else "u1"
    if tile:
        padded = np.pad(samples, ((0, -height % tile), (0, -width % tile), (0, 0)))
        parts = [
            padded[y : y + tile, x : x + tile].astype(kind).tobytes()
            for y in range(0, height, tile)
            for x in range(0, width, tile)
        ]
    else:
        parts = [samples.astype(kind).tobytes()]
    where = (322, 323, 324, 325) if tile else (0, 278, 273, 279)
    blob, places = b"", []
    for part in parts:
        places.append(8 + len(blob))
        blob += part
    entries: list[tuple[int, list[int]]] = [
        *[(256, [width]), (257, [height]), (258, [bits] * channels), (259, [1])],
        *[(262, [photometric]), (277, [channels]), (where[2], places)],
        (where[3], [len(part) for part in parts]),
        *([(322, [tile]), (323, [tile])] if tile else [(278, [height])]),
    ]
    return _tiff_file(blob, sorted(entries))


def _tiff_file(blob: bytes, entries: list[tuple[int, list[int]]]) -> bytes:
    long_values, directory = b"", struct.pack("<H", len(entries))
    behind = 8 + len(blob) + 2 + 12 * len(entries) + 4
    for tag, values in entries:
        body = struct.pack(f"<{len(values)}I", *values)
        if len(values) > 1:
            at = struct.pack("<I", behind + len(long_values))
            long_values, body = long_values + body, at
        directory += struct.pack("<HHI", tag, 4, len(values)) + body
    start = struct.pack("<I", 8 + len(blob))
    return b"II*\0" + start + blob + directory + bytes(4) + long_values


@pytest.mark.parametrize("tile", [0, 16], ids=["strip", "tiles"])
@pytest.mark.parametrize(("bits", "channels"), [(8, 1), (8, 3), (16, 1), (16, 3)])
def test_a_tiff_of_any_depth(bits: int, channels: int, tile: int, read: Read) -> None:
    samples = dealt(channels, bits)
    wanted = np.broadcast_to(eight(samples, bits), (HEIGHT, WIDTH, 3))
    data = tiff(samples, bits, 1 if channels == 1 else 2, tile=tile)
    np.testing.assert_array_equal(read(data), wanted)


def test_a_cmyk_tiff(read: Read) -> None:
    samples = dealt(4, 8).astype(float)
    wanted = (255 - samples[..., :3]) * (255 - samples[..., 3:]) / 255
    np.testing.assert_allclose(read(tiff(dealt(4, 8), 8, 5)), wanted, atol=1.5)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_compressed_tiff(compression: str, read: Read) -> None:
    shown = read(saved(Image.fromarray(colours()), "TIFF", compression=compression))
    assert np.abs(shown.astype(int) - colours()).mean() < (6 if compression == "jpeg" else 0.001)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_a_bmp_of_any_mode(mode: str, read: Read) -> None:
    image = Image.fromarray(colours()).convert(mode)
    np.testing.assert_array_equal(read(saved(image, "BMP")), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("clear", [False, True], ids=["full", "with a clear entry"])
def test_a_gif(clear: bool, read: Read) -> None:
    samples = dealt(1, 6)[..., 0].astype(np.uint8)
    palette = np.random.default_rng(3).integers(0, 256, (64, 3), np.uint8)
    image = Image.fromarray(samples, "P")
    image.putpalette(palette.tobytes())
    options = {"transparency": 5} if clear else {}
    wanted = palette[samples]
    wanted[(samples == 5) & clear] = 255
    np.testing.assert_array_equal(read(saved(image, "GIF", **options)), wanted)


@pytest.mark.parametrize("alpha", [False, True], ids=["full", "with alpha"])
def test_a_lossless_webp(alpha: bool, read: Read) -> None:
    samples = dealt(4, 8).astype(np.uint8)
    pixels = samples if alpha else samples[..., :3]
    data = saved(Image.fromarray(pixels), "WEBP", lossless=True, exact=True)
    wanted = on_white(samples[..., :3], samples[..., 3:]) if alpha else samples[..., :3]
    np.testing.assert_allclose(read(data), wanted, atol=1.01)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_avif_or_heic_of_any_mode(kind: str, mode: str, read: Read) -> None:
    color = colours()
    alpha = np.broadcast_to(np.arange(WIDTH, dtype=np.uint8)[None, :, None] * 6, (HEIGHT, WIDTH, 1))
    image = Image.fromarray(np.concatenate([color, alpha], -1)).convert(mode)
    data = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(data, quality=98)
    else:
        image.save(data, kind, quality=98)
    pixels = np.asarray(image).reshape(HEIGHT, WIDTH, -1).astype(float)
    wanted = on_white(pixels[..., :3], pixels[..., 3:]) if mode == "RGBA" else pixels
    assert np.abs(read(data.getvalue()) - np.broadcast_to(wanted, color.shape)).mean() < 6
