"""From the model's low-resolution logits to masks of the picture's size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from workers.masks import Rle, from_runs

_PIXELS_AT_ONCE = 64_000_000  # of enlarged logits: 256 MB


def enlarged(
    logits: Tensor, size: tuple[int, int], *, logits_first: bool = True
) -> Iterator[Tensor]:
    """Each mask, n of them, at the size (height, width), a few at a time.

    `logits_first` false enlarges probabilities, as transformers does for pictures.
    """
    at_once = max(1, min(16, _PIXELS_AT_ONCE // max(1, size[0] * size[1])))
    for first in range(0, len(logits), at_once):
        part = logits[first : first + at_once].float()
        values = part if logits_first else part.sigmoid() - 0.5
        yield from (
            interpolate(values[:, None], size, mode="bilinear", align_corners=False)[:, 0] > 0
        )


def encode(mask: Tensor) -> Rle:
    """The run lengths of a boolean mask, height x width, found where the mask is."""
    height, width = mask.shape
    flat = mask.t().reshape(-1)
    edges = torch.nonzero(flat[1:] != flat[:-1])[:, 0] + 1
    begun = [0] if bool(flat[0]) else []  # the first run is of background
    bounds = [0, *begun, *edges.tolist(), height * width]
    return from_runs([end - start for start, end in pairwise(bounds)], height, width)


def draw(logits: Tensor, size: tuple[int, int], *, logits_first: bool = True) -> list[Rle]:
    """The masks of n x height x width logits, at the size (height, width)."""
    return [encode(mask) for mask in enlarged(logits, size, logits_first=logits_first)]


def draw_never_empty(logits: Tensor, size: tuple[int, int]) -> Rle:
    """The mask of height x width logits; where none is over 0, of the likeliest pixels."""
    values = interpolate(logits.float()[None, None], size, mode="bilinear", align_corners=False)
    best = values.max()
    return encode((values > 0 if best > 0 else values == best)[0, 0])


def draw_apart(
    logits: Tensor, size: tuple[int, int], scores: Sequence[float], groups: Sequence[int]
) -> list[Rle]:
    """The masks of logits such that no two of one group share a pixel: the better score has it."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    taken: dict[int, Tensor] = {}
    found: dict[int, Rle] = {}
    for place, mask in zip(order, enlarged(logits[order], size), strict=True):
        before = taken.get(groups[place])
        own = mask if before is None else mask & ~before
        taken[groups[place]] = own if before is None else before | own
        found[place] = encode(own)
    return [found[place] for place in range(len(scores))]
