"""Loading SAM 2.1 from a folder of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visionseg.config import Models
from workers.segmenters.sam3.loading import Weights, ready

if TYPE_CHECKING:
    from workers.segmenters.sam2.segmenter import Sam2Segmenter


def load(settings: Models, name: str) -> Sam2Segmenter:
    """The model, ready, from what MODEL_WEIGHTS names; nothing is fetched.

    Raises as `workers.segmenters.sam3.loading.load` does.
    """

    def make(weights: Weights) -> Sam2Segmenter:
        from workers.segmenters.sam2 import network, segmenter  # noqa: PLC0415 - they import torch

        tracker = network.read_tracker(weights.folder, weights.numerics, weights.batch)
        return segmenter.Sam2Segmenter(name, tracker, weights.version, weights.origin)

    return ready(settings, name, make)
