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
from visionseg.contract.models import SAM3
from workers.segmenters.base import Origin, Segmenter, probe

if TYPE_CHECKING:
    from workers.segmenters.sam3.precision import Numerics
    from workers.segmenters.sam3.segmenter import Sam3Segmenter

PACKAGES = ("torch", "torchvision", "transformers")


def load(settings: Models, name: str = SAM3) -> Sam3Segmenter:
    """SAM3, ready, from what SAM3_WEIGHTS names; nothing is fetched.

    Raises `WeightsError`, saying what to do, where the packages, the weights or the GPU are
    missing, and `RuntimeError` where torchvision does not fit torch.
    """
    folder = check(settings, name)
    segmenter = _load(folder, settings)
    if settings.sam3_warm_up:
        warm_up(segmenter)
    return segmenter


def check(settings: Models, name: str = SAM3) -> Path:
    """The folder of a model's weights; loads nothing, so that a mistake is told at the start.

    Raises `WeightsError`, saying what to do, where packages or weights are missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise WeightsError(
            f"{name} needs packages that are not installed: {', '.join(missing)}. Install the "
            "extra `sam3`: pip install 'visionseg[sam3]'"
        )
    return find_weights(settings.weights.get(name, ""), name)


def warm_up(segmenter: Segmenter) -> None:
    """Runs one small picture, so that the first client does not wait for what is set up then."""
    picture = np.zeros((64, 64, 3), np.uint8)
    segmenter.segment([picture], [probe(segmenter.name)], lambda: False)


def choose_numerics(settings: Models) -> tuple[Numerics, int]:
    """How numbers are held, and how many pictures go in at once.

    Raises `WeightsError` for settings that do not fit this machine, and `RuntimeError` where
    torchvision does not fit torch.
    """
    from workers.segmenters.sam3 import operators, precision  # noqa: PLC0415 - they import torch

    operators.check_torchvision()
    operators.install()
    try:
        numerics = precision.choose(settings.sam3_device, settings.sam3_precision)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    return numerics, settings.sam3_batch or (8 if numerics.device.type == "cuda" else 1)


def tell(folder: Path, numerics: Numerics, batch: int) -> str:
    """A segmenter's version: everything on which its results depend to the bit."""
    kind = "bf16" if numerics.bfloat16 else "fp32"
    return f"{folder.name} {kind} transformers {version('transformers')} batch {batch}"


def origin_of(folder: Path, numerics: Numerics) -> Origin:
    """What the provenance of a result tells of the model in a folder."""
    from workers.segmenters.sam3.precision import name_of  # noqa: PLC0415 - it imports torch

    return Origin(name_of(numerics.device), sums(folder), PACKAGES)


def _load(folder: Path, settings: Models) -> Sam3Segmenter:
    numerics, batch = choose_numerics(settings)
    from workers.segmenters.sam3.segmenter import Sam3Segmenter  # noqa: PLC0415 - it imports torch
    from workers.segmenters.sam3.weights import read_network  # noqa: PLC0415 - likewise

    network = read_network(folder, numerics, batch)
    network.keep_pictures(settings.sam3_pictures_kept)
    return Sam3Segmenter(network, tell(folder, numerics, batch), origin_of(folder, numerics))
