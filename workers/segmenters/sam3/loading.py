"""Loading SAM3 from a folder of its weights."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visionseg.artifacts.hub import find_weights, sums
from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from workers.segmenters.base import ImagePrompts, Origin

if TYPE_CHECKING:
    from workers.segmenters.sam3.segmenter import Sam3Segmenter

PACKAGES = ("torch", "torchvision", "transformers")


def load(settings: Models) -> Sam3Segmenter:
    """SAM3, ready, from what SAM3_WEIGHTS names; nothing is fetched.

    Raises `WeightsError`, saying what to do, where the packages, the weights or the GPU are
    missing, and `RuntimeError` where torchvision does not fit torch.
    """
    folder = check(settings)
    segmenter = _load(folder, settings)
    if settings.sam3_warm_up:
        warm_up(segmenter)
    return segmenter


def check(settings: Models) -> Path:
    """The folder of the weights; loads nothing, so that a mistake is told before anything starts.

    Raises `WeightsError`, saying what to do, where packages or weights are missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise WeightsError(
            f"SAM3 needs packages that are not installed: {', '.join(missing)}. Install the extra "
            "`sam3`: pip install 'visionseg[sam3]'"
        )
    return find_weights(settings.sam3_weights)


def warm_up(segmenter: Sam3Segmenter) -> None:
    """Runs one small picture, so that the first client does not wait for what is set up then."""
    picture = np.zeros((64, 64, 3), np.uint8)
    segmenter.segment([picture], [ImagePrompts(concepts=("object",))], lambda: False)


def _load(folder: Path, settings: Models) -> Sam3Segmenter:
    from workers.segmenters.sam3 import operators, precision  # noqa: PLC0415 - they import torch

    operators.check_torchvision()
    operators.install()
    try:
        numerics = precision.choose(settings.sam3_device, settings.sam3_precision)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    from workers.segmenters.sam3.segmenter import Sam3Segmenter  # noqa: PLC0415 - likewise
    from workers.segmenters.sam3.weights import read_network  # noqa: PLC0415 - likewise

    batch = settings.sam3_batch or (8 if numerics.device.type == "cuda" else 1)
    network = read_network(folder, numerics, batch)
    kind = "bf16" if numerics.bfloat16 else "fp32"
    told = f"{folder.name} {kind} transformers {version('transformers')} batch {batch}"
    origin = Origin(precision.name_of(numerics.device), sums(folder), PACKAGES)
    return Sam3Segmenter(network, told, origin)
