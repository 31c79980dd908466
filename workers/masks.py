"""Masks as COCO run-length encodings: the only form in which a mask leaves a segmenter.

The form is that of pycocotools (cocoapi `maskApi.c`): runs go down the columns and begin with a run
of background; each run is told as its difference to the run two before it, five bits a character.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
"""One mask, height x width, true where the object is."""

Runs = npt.NDArray[np.int64]
"""Run lengths in pixels, down the columns: background, object, background and so on."""

Region = tuple[int, int, int, int]

_BITS = 5  # a character carries five bits, and a sixth that tells that more follow
_MORE = 0x20
_SIGN = 0x10
_FIRST_CHARACTER = 48
_LONGEST = 7  # characters of one run: enough for 34 bits


@dataclass(frozen=True, slots=True)
class Rle:
    """A mask in COCO's compressed run-length form, as pycocotools writes it.

    Runs go down the columns. `area` in pixels; `bbox` is (x, y, width, height), all 0 when empty.
    """

    height: int
    width: int
    counts: str
    area: int
    bbox: tuple[int, int, int, int]


def encode(mask: Mask) -> Rle:
    """The mask's encoding, bit-identical to `pycocotools.mask.encode`."""
    height, width = mask.shape
    x, _, columns, _ = cv2.boundingRect(mask.view(np.uint8))
    if not columns:
        return from_runs(np.array([height * width]), height, width)
    flat = cv2.transpose(mask[:, x : x + columns].view(np.uint8)).reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    inside = [[0]] if flat[0] else []
    outside = [[flat.size]] if flat[-1] else []
    edges = np.concatenate([*inside, edges, *outside]) + x * height
    return from_runs(np.diff(edges, prepend=0, append=height * width), height, width)


def from_runs(runs: npt.ArrayLike, height: int, width: int) -> Rle:
    """The encoding of run lengths found elsewhere, such as on a GPU.

    `runs` begins with background (0 where the first pixel is the object's) and sums to
    height x width; a last run of 0 is left out.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    if lengths.size > 1 and not lengths[-1]:
        lengths = lengths[:-1]
    area = int(lengths[1::2].sum())
    return Rle(height, width, _to_text(lengths), area, _bounding_box(lengths, height))


def to_runs(rle: Rle) -> Runs:
    """The run lengths of an encoding; raises `ValueError` where it is no encoding of its size."""
    runs = _from_text(rle.counts)
    if int(runs.sum()) != rle.height * rle.width or (runs < 0).any():
        raise ValueError("the runs do not fill the picture")
    return runs


def decode(rle: Rle) -> Mask:
    """The mask of an encoding, as `pycocotools.mask.decode` gives it."""
    return union((rle,), rle.height, rle.width)


def union_inside(rles: Iterable[Rle], box: Region) -> npt.NDArray[np.uint8]:
    """What `union` holds in a box (x, y, width, height) around all of them, 0 or 1.

    Quicker than cutting it out of the union: nothing outside of the box's columns is made.
    """
    x, y, columns, rows = box
    if not columns * rows:
        return np.zeros((rows, columns), np.uint8)
    canvas: npt.NDArray[np.uint8] | None = None
    for rle in rles:
        if canvas is None:
            canvas = np.zeros((columns, rle.height), np.uint8)
        runs = to_runs(rle)
        runs[0] -= x * rle.height
        _paint(canvas.reshape(-1), runs)
    if canvas is None:
        raise ValueError("no masks")
    return cv2.transpose(canvas[:, y : y + rows]).astype(np.uint8, copy=False)


def union(rles: Iterable[Rle], height: int, width: int) -> Mask:
    """Every pixel that any of the masks holds; all of them are height x width."""
    canvas = np.zeros((width, height), np.uint8)
    flat = canvas.reshape(-1)
    for rle in rles:
        if (rle.height, rle.width) != (height, width):
            raise ValueError(f"{rle.width}x{rle.height} is not {width}x{height}")
        _paint(flat, to_runs(rle))
    return cv2.transpose(canvas).astype(np.uint8, copy=False).view(np.bool_)


def iou(a: Rle, b: Rle) -> float:
    """Intersection over union, 0-1, of two masks of one size; 0 when both are empty."""
    shared = intersection(a, b)
    total = a.area + b.area - shared
    return shared / total if total else 0.0


def intersection(a: Rle, b: Rle) -> int:
    """How many pixels two masks of one size share; no pixel is decoded."""
    if not _boxes_meet(a.bbox, b.bbox):
        return 0
    edges = np.cumsum(to_runs(a))
    starts, ends = edges[:-1:2], edges[1::2]
    before = _pixels_before(b)
    return round(float(np.interp(ends, *before).sum() - np.interp(starts, *before).sum()))


def union_box(rles: Iterable[Rle]) -> tuple[int, int, int, int]:
    """The box (x, y, width, height) around all masks, all 0 when every mask is empty."""
    boxes = np.array([rle.bbox for rle in rles if rle.area])
    if not boxes.size:
        return 0, 0, 0, 0
    x, y = boxes[:, :2].min(axis=0).tolist()
    x_max, y_max = (boxes[:, :2] + boxes[:, 2:]).max(axis=0).tolist()
    return x, y, x_max - x, y_max - y


def _paint(flat: npt.NDArray[np.uint8], runs: Runs) -> None:
    edges = np.cumsum(runs)
    starts, ends = edges[:-1:2], edges[1::2]
    if not starts.size:
        return
    first, last = int(starts[0]), int(ends[-1])
    inner = runs[1 : 2 * starts.size]
    values = np.resize(np.array([1, 0], np.uint8), inner.size)
    flat[first:last] |= np.repeat(values, inner)


def _pixels_before(rle: Rle) -> tuple[Runs, Runs]:
    runs = to_runs(rle)
    positions = np.concatenate([[-1], np.cumsum(runs)])
    pixels = runs.copy()
    pixels[::2] = 0
    return positions, np.concatenate([[0], np.cumsum(pixels)])


def _boxes_meet(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _bounding_box(runs: Runs, height: int) -> tuple[int, int, int, int]:
    edges = np.cumsum(runs)
    starts, lasts = edges[:-1:2], edges[1::2] - 1
    if not starts.size:
        return 0, 0, 0, 0
    x, x_last = int(starts[0]) // height, int(lasts[-1]) // height
    if (starts // height != lasts // height).any():
        return x, 0, x_last - x + 1, height
    y, y_last = int((starts % height).min()), int((lasts % height).max())
    return x, y, x_last - x + 1, y_last - y + 1


def _to_text(runs: Runs) -> str:
    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    characters = np.zeros((rest.size, _LONGEST), np.uint8)
    used = np.zeros(characters.shape, np.bool_)
    going = np.ones(rest.size, np.bool_)
    for place in range(_LONGEST):
        value = rest & (_MORE - 1)
        rest >>= _BITS
        more = np.where(value & _SIGN, rest != -1, rest != 0)
        characters[:, place] = value + more * _MORE + _FIRST_CHARACTER
        used[:, place] = going
        going &= more
        if not going.any():
            break
    return characters[used].tobytes().decode("ascii")


def _from_text(counts: str) -> Runs:
    values = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not values.size or values[-1] & _MORE:
        raise ValueError("the runs are cut off")
    lasts = np.flatnonzero(values & _MORE == 0)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    places = np.arange(values.size) - np.repeat(firsts, lasts - firsts + 1)
    parts = (values & (_MORE - 1)) << (_BITS * places)
    runs: Runs = np.add.reduceat(parts, firsts)
    negative = values[lasts] & _SIGN != 0
    runs[negative] -= np.int64(1) << (_BITS * (lasts - firsts + 1)[negative])
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
