"""The one loaded model: pictures into features, words and marks into logits."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from workers.segmenters.base import Box, Point, Rgb
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.features import Detections, Features, Words, joined
from workers.segmenters.sam3.precision import Numerics
from workers.segmenters.sam3.relief import in_batches
from workers.segmenters.sam3.tracking import TrackingModel

MOST_TOKENS = 32
"""Of a concept: the text encoder reads no further."""

_WORDS_KEPT = 256  # concepts; 64 kB each
_PICTURES_KEPT = 2  # about 150 MB each
V = TypeVar("V")


class Kept(Generic[V]):
    """The values used last, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value, if it is kept."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: V) -> V:
        """Keeps a value in place of the one used longest ago."""
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class Marked:
    """The best mask for marks: low-resolution logits, height x width, and its score 0-1."""

    logits: Tensor
    score: float


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
        self._pictures: Kept[Features] = Kept(_PICTURES_KEPT)

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
        tensors = [torch.tensor(np.moveaxis(picture, 2, 0)) for picture in pictures]
        prepared = self._processor.image_processor(
            images=tensors,
            return_tensors="pt",
            input_data_format="channels_first",
            device=self.device,
        )
        values: Tensor = prepared["pixel_values"]
        return values

    def look(self, pixels: Tensor) -> Features:
        """One pass of the vision encoder."""
        seen = self.model.detector_model.get_vision_features(pixel_values=pixels)
        return Features(
            seen.last_hidden_state, tuple(seen.fpn_hidden_states), tuple(seen.fpn_position_encoding)
        )

    def look_at(self, pictures: Sequence[Rgb]) -> list[Features]:
        """The features of each picture; one seen lately, or twice in the list, is seen once."""
        keys = [_key(picture) for picture in pictures]
        known = {key: found for key in keys if (found := self._pictures.get(key)) is not None}
        unseen = {key: one for key, one in zip(keys, pictures, strict=True) if key not in known}
        parts = in_batches(list(unseen), self.batch, partial(self._look_at, unseen))
        for part in parts:
            for key, row in zip(part.values, part.result, strict=True):
                known[key] = self._pictures.put(key, row)
        return [known[key] for key in keys]

    def let_go(self) -> bool:
        """Lets go of the features kept of pictures; false where there were none."""
        kept, self._pictures = self._pictures, Kept(_PICTURES_KEPT)
        return bool(kept)

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

        `maps` are the tracker's of that picture. A single click has three readings, of which the
        likeliest is taken. `before`, height x width logits, is the mask that the clicks correct.
        """
        side = float(self.model.tracker_model.image_size)
        scale = torch.tensor([side / size[1], side / size[0]])
        marks: dict[str, Tensor | None] = dict.fromkeys(
            ("input_points", "input_labels", "input_boxes", "input_masks")
        )
        if points:
            clicks = torch.tensor([[[[one.x, one.y] for one in points]]]) * scale
            labels = torch.tensor([[[int(one.positive) for one in points]]])
            marks["input_points"] = clicks.to(self.device)
            marks["input_labels"] = labels.to(self.device)
        if box is not None:
            corners = torch.tensor([[[box.x_min, box.y_min, box.x_max, box.y_max]]])
            marks["input_boxes"] = (corners * scale.repeat(2)).to(self.device)
        if before is not None:
            marks["input_masks"] = before[None, None]
        several = len(points) == 1 and box is None and before is None
        logits, scores = self.model.marked(maps, marks, several=several)
        best = int(scores.argmax())
        return Marked(logits[best].float(), min(1.0, max(0.0, float(scores[best]))))

    def _look_at(self, pictures: Mapping[str, Rgb], keys: Sequence[str]) -> list[Features]:
        seen = self.look(self.pixels([pictures[key] for key in keys]))
        return [seen.row(place).owned() for place in range(len(keys))]

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


def _key(picture: Rgb) -> str:
    content = hashlib.blake2b(np.ascontiguousarray(picture).data, digest_size=16)
    return f"{picture.shape}{content.hexdigest()}"


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
