"""Pictures as the models take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workers.segmenters.base import Rgb


def as_pixels(
    image_processor: Any,  # noqa: ANN401 - transformers' processors have no type
    pictures: Sequence[Rgb],
    device: torch.device,
) -> Tensor:
    """Pictures of any sizes as a model takes them: pictures x 3 x side x side."""
    tensors = [torch.tensor(np.moveaxis(picture, 2, 0)) for picture in pictures]
    prepared = image_processor(
        images=tensors, return_tensors="pt", input_data_format="channels_first", device=device
    )
    values: Tensor = prepared["pixel_values"]
    return values


def in_place(pixels: Tensor, place: int, batch: int) -> Tensor:
    """Frames, n x 3 x side x side, from a place on in an empty batch of one size.

    So each is computed at the place it always has, and chunks change no bit.
    """
    padded = pixels.new_zeros(batch, *pixels.shape[1:])
    padded[place : place + len(pixels)] = pixels
    return padded
