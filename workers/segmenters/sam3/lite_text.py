"""Loading SAM3 with a small text encoder: SAM3's detector without its tracker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visionseg.config import Models
from workers.segmenters.sam3.loading import check, choose_numerics, origin_of, tell, warm_up

if TYPE_CHECKING:
    from workers.segmenters.sam3.words_only import WordsOnlySegmenter


def load(settings: Models, name: str) -> WordsOnlySegmenter:
    """The model, ready, from what MODEL_WEIGHTS names; nothing is fetched.

    Raises as `workers.segmenters.sam3.loading.load` does.
    """
    segmenter = _load(check(settings, name), settings, name)
    if settings.sam3_warm_up:
        warm_up(segmenter)
    return segmenter


def _load(folder: Path, settings: Models, name: str) -> WordsOnlySegmenter:
    numerics, batch = choose_numerics(settings)
    from workers.segmenters.sam3.words_only import (  # noqa: PLC0415 - it imports torch
        WordsOnlySegmenter,
        read_detector,
    )

    network = read_detector(folder, numerics, batch)
    network.keep_pictures(settings.sam3_pictures_kept)
    told, origin = tell(folder, numerics, batch), origin_of(folder, numerics)
    return WordsOnlySegmenter(name, network, told, origin)
