"""Painted pictures and frames, and the PNGs they are written to."""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from workers.masks import Mask, Rle, decode, encode
from workers.media.overlay import COLORS, Overlay
from workers.media.pixels import Rgb
from workers.media.png import encode_mask, encode_rgb

Disc = Callable[[int, int, int], Rle]

sides = st.integers(1, 20)


def noise(height: int, width: int) -> Rgb:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int) -> Rgb:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, x * 0 + 90], axis=-1).astype(np.uint8)


def i420(image: Rgb, matrix: int) -> Rgb:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    planes = frame.reformat(format="yuv420p", dst_colorspace=matrix).to_ndarray()
    return planes.astype(np.uint8, copy=False)


@pytest.mark.parametrize("color", sorted(COLORS))
@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.5, 1.0])
def test_a_picture_is_blended_where_any_mask_is_and_nowhere_else(
    color: str, opacity: float, disc: Disc
) -> None:
    image = noise(60, 90)
    masks = [disc(60, 90, 1), disc(60, 90, 2)]
    painted = Overlay(color, opacity).paint_rgb(image, masks)
    inside = (decode(masks[0]) | decode(masks[1]))[..., None]
    blended = image * (1 - opacity) + np.array(COLORS[color]) * opacity
    np.testing.assert_allclose(painted, np.where(inside, blended, image), atol=0.5)
    np.testing.assert_array_equal(image, noise(60, 90))


def test_without_masks_nothing_is_painted() -> None:
    image = noise(10, 10)
    empty = encode(np.zeros((10, 10), np.bool_))
    np.testing.assert_array_equal(Overlay("red", 1.0).paint_rgb(image, []), image)
    np.testing.assert_array_equal(Overlay("red", 1.0).paint_rgb(image, [empty]), image)
    planes = i420(image, 1)
    before = planes.copy()
    Overlay("red", 1.0).paint_planes(planes, [empty])
    np.testing.assert_array_equal(planes, before)


@pytest.mark.parametrize("color", sorted(COLORS))
@pytest.mark.parametrize("matrix", [1, 5])
def test_painted_planes_look_like_the_painted_picture(color: str, matrix: int, disc: Disc) -> None:
    image = smooth(120, 160)
    masks = [disc(120, 160, 3), disc(120, 160, 4)]
    overlay = Overlay(color, 0.5, matrix)
    planes = i420(image, matrix)
    overlay.paint_planes(planes, masks)
    wanted = i420(overlay.paint_rgb(image, masks), matrix)
    difference = np.abs(planes.astype(int) - wanted)
    assert np.median(difference) <= 1
    assert difference.mean() < 2


@pytest.mark.parametrize(("height", "width"), [(61, 90), (60, 91), (61, 91), (1, 1)])
def test_masks_of_odd_pictures_reach_into_the_padding(height: int, width: int) -> None:
    everywhere = encode(np.ones((height, width), np.bool_))
    rows, columns = height + height % 2, width + width % 2
    planes = np.full((rows * 3 // 2, columns), 128, np.uint8)
    Overlay("green", 1.0).paint_planes(planes, [everywhere])
    assert len(np.unique(planes[:rows])) == 1
    assert planes[0, 0] != 128


@given(st.tuples(sides, sides).flatmap(lambda size: arrays(np.bool_, size)))
def test_a_mask_png_is_grey_and_exact(mask: Mask) -> None:
    image = Image.open(io.BytesIO(encode_mask(mask)))
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), mask * np.uint8(255))


@given(st.tuples(sides, sides, st.just(3)).flatmap(lambda size: arrays(np.uint8, size)))
def test_an_rgb_png_is_exact(pixels: Rgb) -> None:
    image = Image.open(io.BytesIO(encode_rgb(pixels)))
    assert image.mode == "RGB"
    image.verify()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_rgb(pixels)))), pixels)


def test_a_large_png_is_exact() -> None:
    image = noise(720, 1281)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_rgb(image)))), image)
