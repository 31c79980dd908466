"""What the encoders make of pictures and of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Features:
    """The vision encoder's view of one or several pictures, in the shape the detector takes.

    `last_hidden_state` is pictures x patches x channels; the maps are pictures x channels x height
    x width, the finest first; position encodings may hold one row for all pictures.
    """

    last_hidden_state: Tensor
    fpn_hidden_states: tuple[Tensor, ...]
    fpn_position_encoding: tuple[Tensor, ...]
    hidden_states: None = None
    attentions: None = None

    def row(self, place: int) -> Features:
        """One of the pictures."""
        return self.rows([place])

    def rows(self, places: Sequence[int]) -> Features:
        """Some of the pictures, in that order; no copy where it is one, however often."""
        return Features(
            _rows(self.last_hidden_state, places),
            tuple(_rows(level, places) for level in self.fpn_hidden_states),
            tuple(_rows(level, places) for level in self.fpn_position_encoding),
        )

    def owned(self) -> Features:
        """A copy that keeps no larger batch alive."""
        return Features(
            _owned(self.last_hidden_state),
            tuple(map(_owned, self.fpn_hidden_states)),
            tuple(map(_owned, self.fpn_position_encoding)),
        )

    def in_full(self) -> Features:
        """The same with maps in full precision."""
        levels = tuple(level.float() for level in self.fpn_hidden_states)
        return replace(self, fpn_hidden_states=levels)


def joined(parts: Sequence[Features]) -> Features:
    """One batch of all pictures; no copy where all are the same one."""
    first = parts[0]
    if all(part is first for part in parts):
        return first.rows([0] * len(parts))
    return Features(
        torch.cat([part.last_hidden_state for part in parts]),
        tuple(map(torch.cat, zip(*(part.fpn_hidden_states for part in parts), strict=True))),
        first.fpn_position_encoding,
    )


@dataclass(frozen=True, slots=True)
class Words:
    """One concept: its text features, 1 x tokens x channels, and which tokens are words."""

    features: Tensor
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Detections:
    """What the detector finds of one concept on one picture, for each of its queries.

    `scores` 0-1, `logits` queries x height x width, `boxes` queries x 4 as parts of the picture:
    x_min, y_min, x_max, y_max.
    """

    scores: Tensor
    logits: Tensor
    boxes: Tensor

    def over(self, threshold: float) -> Detections:
        """Those scoring `threshold` or more, best first."""
        order = self.scores.argsort(descending=True, stable=True)
        return self.take(order[self.scores[order] >= threshold])

    def take(self, chosen: Tensor) -> Detections:
        """Those at the chosen indexes, or where a mask of booleans is true."""
        return Detections(self.scores[chosen], self.logits[chosen], self.boxes[chosen])


def _owned(values: Tensor) -> Tensor:
    is_part = values.untyped_storage().nbytes() > values.nbytes
    return values.clone() if is_part else values


def _rows(values: Tensor, places: Sequence[int]) -> Tensor:
    if values.shape[0] == 1:
        return values if len(places) == 1 else values.expand(len(places), *values.shape[1:])
    if len(set(places)) == 1:
        one = values[places[0] : places[0] + 1]
        return one if len(places) == 1 else one.expand(len(places), *one.shape[1:])
    return values[list(places)]
