"""The engines by name: how their work is cut, and how they are loaded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from visionseg.config import Models
from visionseg.contract.models import MODELS, Family
from workers.segmenters.base import Segmenter


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an engine's `load(settings, name) -> Segmenter` stands, and how its videos are cut.

    `chunk_frames` processed frames make about 10 s of its work; `batch_frames` go in at once.
    """

    module: str
    chunk_frames: int
    batch_frames: int
    name: str = ""

    def load(self, settings: Models) -> Segmenter:
        """The loaded model; minutes for a large one. Raises what names the missing files."""
        segmenter: Segmenter = importlib.import_module(self.module).load(settings, self.name)
        return segmenter


FAMILIES: Mapping[Family, Engine] = {
    Family.LITE: Engine("workers.segmenters.lite.loading", chunk_frames=100, batch_frames=1),
    Family.SAM3: Engine("workers.segmenters.sam3.loading", chunk_frames=160, batch_frames=8),
    Family.SAM3_LITE_TEXT: Engine(
        "workers.segmenters.sam3.lite_text", chunk_frames=160, batch_frames=8
    ),
    Family.SAM2: Engine("workers.segmenters.sam2.loading", chunk_frames=240, batch_frames=8),
}
ENGINES: Mapping[str, Engine] = {
    name: replace(FAMILIES[card.family], name=name) for name, card in MODELS.items()
}
