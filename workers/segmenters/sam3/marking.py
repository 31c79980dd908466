"""Clicks and boxes answered by a tracker's mask decoder: that of SAM3, or of SAM 2.1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.segmenters.base import Box, Point

Marks = dict[str, Tensor | None]
"""The prompt encoder's input_points, input_labels, input_boxes and input_masks."""


@dataclass(frozen=True, slots=True)
class Marked:
    """The best mask for marks: low-resolution logits, height x width, and its score 0-1."""

    logits: Tensor
    score: float


def best_mask(
    tracker: Any,  # noqa: ANN401 - transformers' trackers have no type
    views: Sequence[Tensor],
    size: tuple[int, int],
    points: Sequence[Point],
    box: Box | None,
    before: Tensor | None,
) -> Marked:
    """The best mask of the object that clicks and a box mean, in pixels of a picture of `size`.

    `views` are the tracker's maps of that picture, 1 x channels x height x width, the finest
    first, the coarsest with its no-memory embedding. A single click has three readings, of which
    the likeliest is taken. `before`, height x width logits, is the mask that the clicks correct.
    """
    marks = _as_tensors(tracker, views[-1].device, size, points, box, before)
    sparse, dense = tracker.prompt_encoder(**marks)
    logits, scores, _, _ = tracker.mask_decoder(
        image_embeddings=views[-1],
        image_positional_embeddings=tracker.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=len(points) == 1 and box is None and before is None,
        high_resolution_features=list(views[:-1]),
    )
    best = int(scores[0, 0].argmax())
    return Marked(logits[0, 0, best].float(), min(1.0, max(0.0, float(scores[0, 0, best]))))


def in_model_pixels(side: float, size: tuple[int, int]) -> Tensor:
    """What x and y of a picture of `size` are multiplied by for a model that sees a square."""
    return torch.tensor([side / size[1], side / size[0]])


def _as_tensors(
    tracker: Any,  # noqa: ANN401 - transformers' trackers have no type
    device: torch.device,
    size: tuple[int, int],
    points: Sequence[Point],
    box: Box | None,
    before: Tensor | None,
) -> Marks:
    scale = in_model_pixels(float(tracker.image_size), size)
    marks: Marks = dict.fromkeys(("input_points", "input_labels", "input_boxes", "input_masks"))
    if points:
        clicks = torch.tensor([[[[one.x, one.y] for one in points]]]) * scale
        labels = torch.tensor([[[int(one.positive) for one in points]]])
        marks["input_points"] = clicks.to(device)
        marks["input_labels"] = labels.to(device)
    if box is not None:
        corners = torch.tensor([[[box.x_min, box.y_min, box.x_max, box.y_max]]])
        marks["input_boxes"] = (corners * scale.repeat(2)).to(device)
    if before is not None:
        marks["input_masks"] = before[None, None]
    return marks
