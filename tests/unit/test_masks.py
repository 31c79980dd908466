"""The RLE coder against its oracle, pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from workers.masks import Mask, Rle, decode, encode, from_runs, intersection, iou, union, union_box

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))
masks = sizes.flatmap(lambda size: arrays(np.bool_, size))
pairs = sizes.flatmap(lambda size: st.tuples(arrays(np.bool_, size), arrays(np.bool_, size)))


def oracle(mask: Mask) -> tuple[str, int, tuple[int, ...]]:
    rle = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    box = tuple(int(side) for side in coco.toBbox(rle))
    return rle["counts"].decode(), int(coco.area(rle)), box


def noise(height: int, width: int, seed: int) -> Mask:
    return np.random.default_rng(seed).random((height, width)) > 0.5


@given(masks)
def test_an_encoding_is_what_pycocotools_writes(mask: Mask) -> None:
    rle = encode(mask)
    assert (rle.height, rle.width) == mask.shape
    assert (rle.counts, rle.area, rle.bbox) == oracle(mask)


@given(masks)
def test_decoding_gives_the_mask_back(mask: Mask) -> None:
    decoded = decode(encode(mask))
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, mask)


@given(pairs)
def test_iou_and_intersection_count_pixels(pair: tuple[Mask, Mask]) -> None:
    a, b = pair
    shared, total = int((a & b).sum()), int((a | b).sum())
    assert intersection(encode(a), encode(b)) == shared
    assert iou(encode(a), encode(b)) == (shared / total if total else 0.0)


@given(pairs)
def test_a_union_holds_every_pixel_of_its_masks(pair: tuple[Mask, Mask]) -> None:
    a, b = pair
    rles = (encode(a), encode(b))
    np.testing.assert_array_equal(union(rles, *a.shape), a | b)
    assert union_box(rles) == encode(a | b).bbox


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((7, 5), np.bool_),
        np.ones((7, 5), np.bool_),
        np.tri(7, 5, dtype=np.bool_),
        np.pad(np.ones((3, 3), np.bool_), ((4, 0), (2, 0))),
        np.pad(np.ones((7, 2), np.bool_), ((0, 0), (1, 2))),
        noise(1080, 1920, 1),
        np.pad(noise(300, 500, 2), ((400, 380), (700, 720))),
        np.ones((1, 1), np.bool_),
        np.pad(np.ones((1, 1), np.bool_), ((4999, 0), (6999, 0))),
        noise(64, 64, 3).T,
        noise(64, 64, 4)[::2, ::3],
    ],
    ids=str,
)
def test_shapes_of_every_kind_survive_the_round(mask: Mask) -> None:
    rle = encode(mask)
    assert (rle.counts, rle.area, rle.bbox) == oracle(mask)
    np.testing.assert_array_equal(decode(rle), mask)


def test_runs_found_elsewhere_give_the_same_encoding() -> None:
    assert from_runs([0, 2, 1, 3, 0], 3, 2) == encode(np.array([[1, 1], [1, 1], [0, 1]], np.bool_))


def test_the_union_of_nothing_is_empty() -> None:
    assert not union((), 4, 6).any()
    assert union_box(()) == (0, 0, 0, 0)


@pytest.mark.parametrize("counts", ["", "P"])
def test_a_text_cut_off_is_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="cut off"):
        decode(Rle(4, 4, counts, 0, (0, 0, 0, 0)))


@pytest.mark.parametrize("counts", ["1", "54", "h0h0"])
def test_runs_that_do_not_fill_the_picture_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="fill"):
        decode(Rle(4, 4, counts, 0, (0, 0, 0, 0)))


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="2x3 is not 4x4"):
        union((encode(np.ones((3, 2), np.bool_)),), 4, 4)


def test_ten_thousand_masks_are_encoded_as_pycocotools_does_byte_for_byte() -> None:
    deal = np.random.default_rng(11)
    for _ in range(10_000):
        mask = dealt(deal)
        rle = encode(mask)
        assert (rle.counts, rle.area, rle.bbox) == oracle(mask)
        assert decode(rle).tobytes() == mask.tobytes()


def dealt(deal: np.random.Generator) -> Mask:
    """Noise, stripes, boxes at the edges, lines of one pixel; sides from 1 to 200."""
    height, width = (int(side) for side in deal.choice([1, 2, 3, 31, 64, 97, 200], 2))
    kind = int(deal.integers(5))
    if kind == 0:
        return deal.random((height, width)) < deal.random()
    mask = np.zeros((height, width), np.bool_)
    if kind == 1:
        mask[:: int(deal.integers(1, 5)), :: int(deal.integers(1, 5))] = True
    elif kind == 2:
        mask[int(deal.integers(height)) :, int(deal.integers(width)) :] = True
    elif kind == 3:
        mask[: int(deal.integers(height + 1)), : int(deal.integers(width + 1))] = True
    else:
        mask[int(deal.integers(height))] = True
        mask[:, int(deal.integers(width))] = True
    return mask if deal.random() < 0.5 else ~mask
