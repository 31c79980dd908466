"""Reading a client's picture."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from tests.media.hostile.pieces import png
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.limits import Limits
from workers.media.pixels import Rgb
from workers.media.reading import open_image


def gradient(height: int = 40, width: int = 60) -> Rgb:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)


def refused(path: Path, limits: Limits) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        open_image(path, limits)
    return caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_pictures_are_exact(kind: str, tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    Image.fromarray(gradient()).save(path, kind)
    image = open_image(path, limits)
    assert image.flags.c_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, gradient())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_lossy_pictures_are_near(kind: str, tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    if kind == "HEIF":
        pillow_heif.from_pillow(Image.fromarray(gradient())).save(path, quality=95)
    else:
        Image.fromarray(gradient()).save(path, kind, quality=95)
    image = open_image(path, limits)
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - gradient()).mean() < 8


def test_exif_turns_the_picture_upright(tmp_path: Path, limits: Limits) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient()).save(tmp_path / "input", "PNG", exif=exif)
    np.testing.assert_array_equal(open_image(tmp_path / "input", limits), np.rot90(gradient(), -1))


def test_deep_grey_keeps_its_upper_bits(tmp_path: Path, limits: Limits) -> None:
    grey = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    Image.fromarray(grey).save(tmp_path / "input", "PNG")
    wanted = np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=-1)
    np.testing.assert_array_equal(open_image(tmp_path / "input", limits), wanted)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_stand_on_white(mode: str, tmp_path: Path, limits: Limits) -> None:
    layered = Image.new("RGBA", (8, 8), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    layered.save(tmp_path / "input", "PNG", **options)
    assert (open_image(tmp_path / "input", limits) == 255).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animated_picture_gives_its_first_frame(
    kind: str, tmp_path: Path, limits: Limits
) -> None:
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    more = {"save_all": True, "append_images": [second], "lossless": True}
    first.save(tmp_path / "input", kind, **more)
    assert (open_image(tmp_path / "input", limits) == (255, 0, 0)).all()


@pytest.mark.parametrize("mode", ["CMYK", "L", "1"])
def test_other_modes_become_rgb(mode: str, tmp_path: Path, limits: Limits) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / "input", "TIFF")
    assert open_image(tmp_path / "input", limits).shape == (8, 8, 3)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (8_000, 5_001), (65_535, 3_000)])
def test_huge_pictures_are_refused_undecoded(
    width: int, height: int, tmp_path: Path, limits: Limits
) -> None:
    path = tmp_path / "input"
    path.write_bytes(png(width, height))
    assert refused(path, limits) == ErrorCode.INPUT_TOO_LARGE


def test_the_limit_itself_is_allowed(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    Image.fromarray(gradient()).save(path, "PNG")
    assert open_image(path, replace(limits, image_pixels=2400)).shape == (40, 60, 3)
    assert refused(path, replace(limits, image_pixels=2399)) == ErrorCode.INPUT_TOO_LARGE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF"])
def test_truncated_pictures_are_refused(kind: str, tmp_path: Path, limits: Limits) -> None:
    data = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(data, kind)
    path = tmp_path / "input"
    path.write_bytes(data.getvalue()[: len(data.getvalue()) // 2])
    assert refused(path, limits) == ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\xff\xd8\xff" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
        b"II*\0" + bytes(100),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input.png"
    path.write_bytes(content)
    assert refused(path, limits) == ErrorCode.NOT_AN_IMAGE
