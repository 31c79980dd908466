"""Loading SAM3 from a folder of its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

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


class LargeNetwork(Protocol):
    """A network that keeps what its encoder made of the pictures seen last."""

    @property
    def vision_encoder(self) -> Any:  # noqa: ANN401 - a module of torch, which is not loaded here
        """What each picture and frame goes through."""
        ...

    def keep_pictures(self, most: int) -> None:
        """Keeps so many from now on."""
        ...


class LargeSegmenter(Segmenter, Protocol):
    """A segmenter with a network of its own."""

    @property
    def network(self) -> LargeNetwork:
        """What computes."""
        ...


Large = TypeVar("Large", bound=LargeSegmenter)


@dataclass(frozen=True, slots=True)
class Weights:
    """Where a model's weights are, and how they are to compute: `batch` pictures at once, by what
    the backend `compiled` of torch makes of the encoder, if one is named.
    """

    folder: Path
    numerics: Numerics
    batch: int
    compiled: str = ""

    @property
    def version(self) -> str:
        """Everything on which results depend to the bit."""
        kind = "bf16" if self.numerics.bfloat16 else "fp32"
        told = f"{self.folder.name} {kind} transformers {version('transformers')}"
        by = f" {self.compiled}" if self.compiled else ""
        return f"{told} batch {self.batch}{by}"

    @property
    def origin(self) -> Origin:
        """What the provenance of a result tells of the model."""
        from workers.segmenters.sam3.precision import name_of  # noqa: PLC0415 - it imports torch

        return Origin(name_of(self.numerics.device), sums(self.folder), PACKAGES)


def load(settings: Models, name: str = SAM3) -> Sam3Segmenter:
    """SAM3, ready, from what SAM3_WEIGHTS names; nothing is fetched.

    Raises `WeightsError`, saying what to do, where the packages, the weights or the GPU are
    missing, and `RuntimeError` where torchvision does not fit torch.
    """
    return ready(settings, name, _make)


def ready(settings: Models, name: str, make: Callable[[Weights], Large]) -> Large:
    """A model made of its weights, its caches as large as the settings say, and warm.

    `make` may import torch. Raises as `load` does.
    """
    folder = check(settings, name)
    numerics, batch = _choose_numerics(settings)
    segmenter = make(Weights(folder, numerics, batch, settings.sam3_compile))
    segmenter.network.keep_pictures(settings.sam3_pictures_kept)
    if settings.sam3_compile:
        _compile(segmenter, settings.sam3_compile)
    elif settings.sam3_warm_up:
        warm_up(segmenter)
    return segmenter


def _compile(segmenter: LargeSegmenter, backend: str) -> None:
    from workers.segmenters.sam3 import compiling  # noqa: PLC0415 - it imports torch

    encoder = segmenter.network.vision_encoder
    compiling.compile_encoder(encoder, backend, lambda: warm_up(segmenter))


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


def _choose_numerics(settings: Models) -> tuple[Numerics, int]:
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


def _make(weights: Weights) -> Sam3Segmenter:
    from workers.segmenters.sam3.segmenter import Sam3Segmenter  # noqa: PLC0415 - it imports torch
    from workers.segmenters.sam3.weights import read_network  # noqa: PLC0415 - likewise

    network = read_network(weights.folder, weights.numerics, weights.batch)
    return Sam3Segmenter(network, weights.version, weights.origin)
