"""The embedded model and the free stills, loaded once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from visionseg.artifacts.weights import FETCH_COMMAND, locate, names_of, wrong_files
from visionseg.config import Models
from workers.segmenters.base import ImagePrompts, Instance, Rgb
from workers.segmenters.lite.segmenter import LiteSegmenter

Find = Callable[[Rgb, ImagePrompts], list[Instance]]


@pytest.fixture(scope="session")
def stills() -> dict[str, Rgb]:
    """Every free still by its file name."""
    cache, names = Models().cache, names_of("still")
    if missing := wrong_files(cache, names):
        pytest.skip(f"{', '.join(missing)} not there: run `{FETCH_COMMAND}`")
    found: dict[str, Rgb] = {}
    for name in names:
        with Image.open(locate(cache, name)) as picture:
            found[name] = np.asarray(picture.convert("RGB"), np.uint8)
    return found


@pytest.fixture(scope="session")
def lite() -> LiteSegmenter:
    """The embedded model, loaded."""
    cache = Models().cache
    if missing := wrong_files(cache, names_of("model")):
        pytest.skip(f"{', '.join(missing)} not there: run `{FETCH_COMMAND}`")
    return LiteSegmenter(cache, threads=2)


@pytest.fixture(scope="session")
def find(lite: LiteSegmenter) -> Find:
    """Segments one picture."""

    def segment(picture: Rgb, prompts: ImagePrompts) -> list[Instance]:
        return lite.segment([picture], [prompts], lambda: False)[0]

    return segment
