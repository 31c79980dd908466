"""SAM3's detector alone, for models that take words on pictures and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from transformers import Sam3LiteTextModel, Sam3Processor

from workers.segmenters.base import Origin, SessionOptions, VideoPrompts
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.precision import Numerics
from workers.segmenters.sam3.segmenter import Sam3Segmenter
from workers.segmenters.sam3.tracking import TrackingModel
from workers.segmenters.sam3.weights import read_model


@dataclass(frozen=True, slots=True)
class Detector:
    """What of a `TrackingModel` answers words on pictures."""

    detector_model: Any
    differences: Differences


class WordsOnlySegmenter(Sam3Segmenter):
    """A model without a tracker; the API lets no clicks, boxes or videos come here."""

    def __init__(
        self, name: str, network: Network, version: str, origin: Origin | None = None
    ) -> None:
        super().__init__(network, version, origin)
        self.name = name

    def open_session(
        self,
        prompts: VideoPrompts,
        options: SessionOptions,
        state: bytes | None = None,
    ) -> NoReturn:
        """Raises `NotImplementedError`: it follows nothing."""
        raise NotImplementedError(f"{self.name} takes no videos")


def read_detector(folder: Path, numerics: Numerics, batch: int) -> Network:
    """The network of a folder's weights, on its device.

    Raises `WeightsError` where the folder holds something else, or not all of it.
    """
    model, processor = read_model(
        Sam3LiteTextModel, Sam3Processor, folder, numerics, "SAM3-LiteText"
    )
    detector = cast("TrackingModel", Detector(model, Differences()))
    return Network(detector, processor, numerics, batch)
