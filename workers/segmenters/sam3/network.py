"""The one loaded model: pictures into features, words and marks into logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from workers.segmenters.base import Box, Point, Rgb
from workers.segmenters.recent import Kept, seen_once
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.features import Detections, Features, Words, joined
from workers.segmenters.sam3.marking import Marked, best_mask
from workers.segmenters.sam3.pictures import as_pixels
from workers.segmenters.sam3.precision import Numerics
from workers.segmenters.sam3.relief import in_batches
from workers.segmenters.sam3.tracking import TrackingModel

MOST_TOKENS = 32
"""Of a concept: the text encoder reads no further."""

_WORDS_KEPT = 256  # concepts; 64 kB each


class Network:
    """One model for pictures and videos. Not for use by several threads at once.

    `processor` is transformers' own, with tokenizer and picture processor; `batch` pictures go
    through the vision encoder at once. `narrowed` tells, until it is set back, that memory was full
    and fewer went through the detector.
    """

    def __init__(
        self,
        model: TrackingModel,
        processor: Any,  # noqa: ANN401 - transformers' processors have no type
        numerics: Numerics,
        batch: int,
    ) -> None:
        self.model = model
        self.batch = batch
        self.narrowed = False
        self._numerics = numerics
        self._processor = processor
        self._words: Kept[Words] = Kept(_WORDS_KEPT)
        self.keep_pictures(0)

    def keep_pictures(self, most: int) -> None:
        """Keeps the features of so many pictures from now on, about 150 MB each."""
        self._pictures: Kept[Features] = Kept(most)

    @property
    def vision_encoder(self) -> nn.Module:
        """What each picture and frame goes through."""
        encoder: nn.Module = self.model.detector_model.vision_encoder
        return encoder

    @property
    def differences(self) -> Differences:
        """What this engine does other than plain transformers."""
        return self.model.differences

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self._numerics.device

    def computing(self) -> AbstractContextManager[None]:
        """Without gradients, in the numbers that were chosen."""
        return self._numerics.computing()

    def pixels(self, pictures: Sequence[Rgb]) -> Tensor:
        """Pictures of any sizes as the model takes them: pictures x 3 x side x side."""
        return as_pixels(self._processor.image_processor, pictures, self.device)

    def look(self, pixels: Tensor) -> Features:
        """One pass of the vision encoder."""
        seen = self.model.detector_model.get_vision_features(pixel_values=pixels)
        return Features(
            seen.last_hidden_state, tuple(seen.fpn_hidden_states), tuple(seen.fpn_position_encoding)
        )

    def look_at(
        self, pictures: Sequence[Rgb], names: Sequence[str] | None = None
    ) -> list[Features]:
        """The features of each picture; those of one with a name that is kept are not made anew."""
        unnamed = [""] * len(pictures)
        return seen_once(pictures, names or unnamed, self._pictures, self.batch, self._look_apart)

    def _look_apart(self, pictures: Sequence[Rgb]) -> list[Features]:
        parts = in_batches(pictures, len(pictures), self._look_part)
        return [one for part in parts for one in part.result]

    def _look_part(self, pictures: Sequence[Rgb]) -> list[Features]:
        seen = self.look(self.pixels(pictures))
        return [seen.row(place).owned() for place in range(len(pictures))]

    def let_go(self) -> bool:
        """Lets go of the features kept of pictures; false where there were none."""
        return self._pictures.clear()

    def words(self, concept: str) -> Words:
        """The text features of a concept; those of the last ones are kept."""
        return self._words.get(concept) or self._words.put(concept, self._read(concept))

    def is_truncated(self, concept: str) -> bool:
        """Whether a concept has more words than the text encoder reads."""
        return len(self._processor.tokenizer(concept)["input_ids"]) > MOST_TOKENS

    def detect(
        self, seen: Features, words: Sequence[Words], boxes: Tensor | None = None
    ) -> list[Detections]:
        """What is found of one concept on each picture, all in one batch.

        `boxes`, pictures x boxes x 4 as parts of the picture (x centre, y centre, width, height),
        show instances of the concept.
        """
        found = self.model.detector_model(
            # transformers rounds boxes to float16 beside bfloat16 maps, which autocast refuses.
            vision_embeds=seen if boxes is None else seen.in_full(),
            text_embeds=SimpleNamespace(pooler_output=torch.cat([one.features for one in words])),
            attention_mask=torch.cat([one.mask for one in words]),
            input_boxes=boxes,
        )
        scores = found.pred_logits.float().sigmoid() * found.presence_logits.float().sigmoid()
        return [
            Detections(*row)
            for row in zip(scores, found.pred_masks, found.pred_boxes.float(), strict=True)
        ]

    def detect_all(
        self, asked: Sequence[tuple[Features, str, Tensor | None]]
    ) -> Iterator[Detections]:
        """The detections for each picture, concept and exemplars, in batches of like ones."""
        order = sorted(range(len(asked)), key=lambda place: _count(asked[place][2]))
        found: dict[int, Detections] = {}
        for part in in_batches(order, self.batch, partial(self._detect_part, asked)):
            found |= part.result
            self.narrowed |= part.narrowed
        return (found[place] for place in range(len(asked)))

    def mark(
        self,
        maps: Sequence[Tensor],
        size: tuple[int, int],
        points: Sequence[Point],
        box: Box | None = None,
        before: Tensor | None = None,
    ) -> Marked:
        """The best mask of the object that clicks and a box mean, in pixels of a picture of `size`.

        `maps` are the tracker's of that picture. `before`, height x width logits, is the mask that
        the clicks correct.
        """
        views = self.model.decoder_views(maps)
        return best_mask(self.model.tracker_model, views, size, points, box, before)

    def _detect_part(
        self,
        asked: Sequence[tuple[Features, str, Tensor | None]],
        places: Sequence[int],
    ) -> dict[int, Detections]:
        found: dict[int, Detections] = {}
        for alike in _alike(places, asked):
            seen = joined([asked[place][0] for place in alike])
            words = [self.words(asked[place][1]) for place in alike]
            shown = [boxes for place in alike if (boxes := asked[place][2]) is not None]
            boxes = torch.cat(shown) if shown else None
            found.update(zip(alike, self.detect(seen, words, boxes), strict=True))
        return found

    def _read(self, concept: str) -> Words:
        tokens = self._processor.tokenizer(
            concept,
            return_tensors="pt",
            padding="max_length",
            max_length=MOST_TOKENS,
            truncation=True,
        ).to(self.device)
        read = self.model.detector_model.get_text_features(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], return_dict=True
        )
        return Words(read.pooler_output, tokens["attention_mask"])


def _count(boxes: Tensor | None) -> int:
    return 0 if boxes is None else boxes.shape[1]


def _alike(
    places: Sequence[int], asked: Sequence[tuple[Features, str, Tensor | None]]
) -> list[list[int]]:
    """The places parted by how many exemplars they have."""
    groups: dict[int, list[int]] = {}
    for place in places:
        groups.setdefault(_count(asked[place][2]), []).append(place)
    return list(groups.values())
