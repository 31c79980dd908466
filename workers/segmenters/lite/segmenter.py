"""The embedded model: pictures and videos on a CPU, 80 nouns, boxes and clicks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from visionseg.artifacts.weights import lock, names_of
from workers.segmenters.base import (
    ImagePrompts,
    Instance,
    Origin,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import combine, inside
from workers.segmenters.lite.apart import ApartSession
from workers.segmenters.lite.concepts import known_concepts
from workers.segmenters.lite.finder import LiteFinder, shrunk
from workers.segmenters.lite.following import FollowingSession
from workers.segmenters.lite.outlines import FINE
from workers.segmenters.lite.scene import Scene, load_models
from workers.segmenters.lite.state import VERSION

_PACKAGES = ("ai-edge-litert", "onnxruntime")
_LONGEST_SIDE = 1024  # pixels: the size at which a picture is looked at


class LiteSegmenter:
    """EfficientDet-Lite0, DeepLab v3 and U2-Net-p together; not for several threads at once.

    `weights_folder` holds the files that `visionseg weights fetch` brings; raises `WeightsError`
    where one is missing. Equal inputs give equal masks wherever `threads` is the same: OpenCV is
    set to one thread, because its optical flow depends on how many there are.
    """

    name = "embedded/lite"
    version = VERSION
    pictures_at_once = 1

    def __init__(self, weights_folder: Path, threads: int) -> None:
        cv2.setNumThreads(1)
        self._models = load_models(weights_folder, threads)
        weights = {name: lock()[name].sha256 for name in names_of("model")}
        self.origin = Origin("cpu", weights, _PACKAGES)

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """The instances of each picture, best score first, masks at the picture's size.

        Pictures are looked at with a longer side of at most 1024 pixels. Raises `Refusal` for a
        prompt outside its picture, and for an unknown concept where nothing shows what is meant.
        """
        pairs = zip(images, prompts, strict=True)
        return [self._segment_one(image, asked, should_stop) for image, asked in pairs]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        """A session of `FollowingSession` or, without propagation, of `ApartSession`.

        Raises `ValueError` for a foreign `state` and `Refusal` for an unknown concept.
        """
        shown = bool(prompts.points or prompts.boxes)
        asked = replace(prompts, concepts=known_concepts(prompts.concepts, shown=shown))
        if options.propagate:
            return FollowingSession(self._models, asked, options, state)
        return ApartSession(self._models, asked, state)

    def cautions(self, concepts: Sequence[str]) -> list[str]:  # noqa: ARG002 - one of the interface
        """Nothing: what is not understood is told when a prediction is submitted."""
        return []

    def _segment_one(
        self, image: Rgb, prompts: ImagePrompts, should_stop: ShouldStop
    ) -> list[Instance]:
        if should_stop():
            raise Stopped
        shape = (image.shape[0], image.shape[1])
        asked = inside(prompts, *shape)
        shown = bool(prompts.points or prompts.boxes)
        asked = replace(asked, concepts=known_concepts(prompts.concepts, shown=shown))
        scene = Scene(self._models, shrunk(image, _LONGEST_SIDE), should_stop)
        found = combine(LiteFinder(scene, shape, FINE), asked)
        found.sort(key=lambda one: -one.score)
        drawn = (one.instance(shape) for one in found)
        return [instance for instance in drawn if instance.mask.area]
