"""Loading the embedded model from the files that `visionseg weights fetch` brings."""

from __future__ import annotations

from visionseg.config import Models
from workers.segmenters.base import Segmenter
from workers.segmenters.lite.segmenter import LiteSegmenter


def load(settings: Models, _name: str) -> Segmenter:
    """The embedded model, ready. Raises `WeightsError`, saying what to run, without its files."""
    return LiteSegmenter(settings.cache, settings.threads)
