"""Loading SAM3 with a small text encoder: SAM3's detector without its tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visionseg.config import Models
from workers.segmenters.sam3.loading import Weights, ready

if TYPE_CHECKING:
    from workers.segmenters.sam3.words_only import WordsOnlySegmenter


def load(settings: Models, name: str) -> WordsOnlySegmenter:
    """The model, ready, from what MODEL_WEIGHTS names; nothing is fetched.

    Raises as `workers.segmenters.sam3.loading.load` does.
    """

    def make(weights: Weights) -> WordsOnlySegmenter:
        from workers.segmenters.sam3 import words_only  # noqa: PLC0415 - it imports torch

        network = words_only.read_detector(weights.folder, weights.numerics, weights.batch)
        return words_only.WordsOnlySegmenter(name, network, weights.version, weights.origin)

    return ready(settings, name, make)
