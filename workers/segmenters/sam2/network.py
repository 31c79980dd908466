"""SAM 2.1's one loaded model: pictures into maps, marks into masks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam2VideoModel, Sam2VideoProcessor

from workers.segmenters.base import Box, Point, Rgb
from workers.segmenters.recent import Kept, seen_once
from workers.segmenters.sam3.marking import Marked, best_mask
from workers.segmenters.sam3.pictures import as_pixels
from workers.segmenters.sam3.precision import Numerics
from workers.segmenters.sam3.weights import read_model


@dataclass(frozen=True, slots=True)
class Seen:
    """The vision encoder's maps of some pictures, the finest first, and their position encodings.

    Each is patches x pictures x channels; encodings may hold one picture for all.
    """

    maps: tuple[Tensor, ...]
    positions: tuple[Tensor, ...]

    def at(self, place: int) -> Seen:
        """One of the pictures."""
        return Seen(
            tuple(level[:, place : place + 1] for level in self.maps),
            tuple(one[:, place : place + 1] if one.shape[1] > 1 else one for one in self.positions),
        )

    def owned(self) -> Seen:
        """A copy that keeps no larger batch alive."""
        return Seen(
            tuple(level.clone() for level in self.maps),
            tuple(one.clone() for one in self.positions),
        )


class TrackerNetwork:
    """One model for pictures and videos. Not for use by several threads at once.

    `model` is transformers' `Sam2VideoModel`; `batch` pictures go through its vision encoder at
    once.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - transformers has no types
        processor: Any,  # noqa: ANN401 - likewise
        numerics: Numerics,
        batch: int,
    ) -> None:
        self.model = model
        self.batch = batch
        self._image_processor = processor.image_processor
        self._numerics = numerics
        self.keep_pictures(0)

    def keep_pictures(self, most: int) -> None:
        """Keeps the maps of so many pictures from now on."""
        self._pictures: Kept[Seen] = Kept(most)

    @property
    def vision_encoder(self) -> nn.Module:
        """What each picture and frame goes through."""
        encoder: nn.Module = self.model.vision_encoder
        return encoder

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._numerics.device

    def computing(self) -> AbstractContextManager[None]:
        """Without gradients, in the numbers that were chosen."""
        return self._numerics.computing()

    def pixels(self, pictures: Sequence[Rgb]) -> Tensor:
        """Pictures of any sizes as the model takes them: pictures x 3 x side x side."""
        return as_pixels(self._image_processor, pictures, self.device)

    def look(self, pixels: Tensor) -> Seen:
        """One pass of the vision encoder."""
        seen = self.model.get_image_features(pixels, return_dict=True)
        return Seen(tuple(seen.fpn_hidden_states), tuple(seen.fpn_position_encoding))

    def look_at(self, pictures: Sequence[Rgb], names: Sequence[str]) -> list[Seen]:
        """The maps of each picture; those of one with a name that is kept are not made anew."""
        return seen_once(pictures, names, self._pictures, self.batch, self._look_apart)

    def mark(
        self, seen: Seen, size: tuple[int, int], points: Sequence[Point], box: Box | None
    ) -> Marked:
        """The best mask of the object that clicks and a box mean on one picture of `size`."""
        sizes = self.model.backbone_feature_sizes
        views = [
            level.permute(1, 2, 0).view(1, -1, *side)
            for level, side in zip(seen.maps, sizes, strict=True)
        ]
        views[-1] = views[-1] + self.model.no_memory_embedding.view(1, -1, 1, 1)
        return best_mask(self.model, views, size, points, box, None)

    def _look_apart(self, pictures: Sequence[Rgb]) -> list[Seen]:
        seen = self.look(self.pixels(pictures))
        return [seen.at(place).owned() for place in range(len(pictures))]


def read_tracker(folder: Path, numerics: Numerics, batch: int) -> TrackerNetwork:
    """The network of a folder's weights, on its device; one copy serves pictures and videos.

    Raises `WeightsError` where the folder holds something else, or not all of it.
    """
    model, processor = read_model(Sam2VideoModel, Sam2VideoProcessor, folder, numerics, "SAM 2.1")
    return TrackerNetwork(model, processor, numerics, batch)
