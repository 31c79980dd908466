"""PNGs written from run lengths: the same pixels as from the whole mask."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from workers.masks import encode, union_inside
from workers.media.png import encode_mask, encode_rle


def _shown(data: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # checks every sum
        assert image.mode == "L"
        return np.asarray(image)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 70), (48, 1), (37, 91), (300, 500)])
def test_a_mask_in_a_png_has_its_pixels_wherever_it_lies(height: int, width: int) -> None:
    rng = np.random.default_rng(height * width)
    for share in (0.0, 0.5, 1.0):
        for _ in range(10):
            mask = np.zeros((height, width), np.bool_)
            top, bottom = np.sort(rng.integers(0, height + 1, 2))
            left, right = np.sort(rng.integers(0, width + 1, 2))
            mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < share
            rle = encode(mask)
            x, y, columns, rows = rle.bbox
            assert np.array_equal(
                union_inside((rle,), rle.bbox), mask[y : y + rows, x : x + columns]
            )
            assert np.array_equal(_shown(encode_rle(rle)), mask * np.uint8(255))
            assert np.array_equal(_shown(encode_mask(mask)), mask * np.uint8(255))
