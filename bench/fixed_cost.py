"""`python -m bench.fixed_cost`: the real worker program, on a model that only takes its time.

It sleeps as long as SAM3's authors say that theirs takes on a data centre's GPU, and sees one
object in the middle. So what is measured beside it is the queue, not a model. The engine is
replaced when this module is imported, which pool processes do too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from visionseg.config import Models
from visionseg.contract.models import LITE
from workers.__main__ import main
from workers.masks import encode
from workers.segmenters import registry
from workers.segmenters.base import (
    FrameResult,
    ImagePrompts,
    Instance,
    Origin,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    VideoPrompts,
)
from workers.segmenters.registry import Engine

PICTURE_S = 0.030
"""A picture on an H200, as published with SAM3."""
FRAME_S = 1 / 26.5
"""A frame with one object on an H100, as published with SAM3."""
BATCH_FRAMES = 8


def middle(image: Rgb, object_id: int) -> tuple[Instance, ...]:
    """One object: a quarter of the picture."""
    height, width = image.shape[:2]
    box = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    mask = np.zeros((height, width), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    sides = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return (Instance(encode(mask), sides, 0.9, "thing", object_id),)


class FixedCostSession:
    """Takes `FRAME_S` a frame; its state is the number of frames it saw."""

    def __init__(self, seen: int) -> None:
        self._seen = seen

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """One object on each."""
        time.sleep(FRAME_S * len(frames))
        begun, self._seen = self._seen, self._seen + len(frames)
        return [FrameResult(begun + n, middle(frame, 1)) for n, frame in enumerate(frames)]

    def flush(self) -> list[FrameResult]:
        """Nothing is held back."""
        return []

    def state(self) -> bytes:
        """The number of frames."""
        return str(self._seen).encode()

    def close(self) -> None:
        """Nothing is held."""


class FixedCostSegmenter:
    """Takes `PICTURE_S` a picture."""

    name = LITE
    version = "fixed cost"
    origin = Origin()
    pictures_at_once = 1

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """One object on each."""
        time.sleep(PICTURE_S * len(images))
        return [list(middle(image, 0)) for image in images]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        """Goes on from the state."""
        return FixedCostSession(int(state or 0))

    def cautions(self, concepts: Sequence[str]) -> list[str]:
        """None."""
        return []


def load(settings: Models, name: str) -> FixedCostSegmenter:
    """At once."""
    return FixedCostSegmenter()


assert isinstance(registry.ENGINES, dict)
registry.ENGINES[LITE] = Engine("bench.fixed_cost", chunk_frames=256, batch_frames=BATCH_FRAMES)

if __name__ == "__main__":
    main()
