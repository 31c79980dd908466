"""One picture and what the models say about it, each asked once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from visionseg.artifacts.weights import locate
from workers.segmenters.base import Rgb, ShouldStop, Stopped
from workers.segmenters.lite.detector import Detection, Detector
from workers.segmenters.lite.regions import Confidence, Window
from workers.segmenters.lite.saliency import Saliency
from workers.segmenters.lite.semantic import CLASS_OF, Semantic, class_on

RAW_FLOOR = 0.1
"""The lowest raw detection score worth looking at."""


@dataclass(frozen=True, slots=True)
class Models:
    """The three loaded models. Not for use by several threads at once."""

    detector: Detector
    semantic: Semantic
    saliency: Saliency


def load_models(weights_folder: Path, threads: int) -> Models:
    """Loads the models; raises `WeightsError` where a file is missing."""
    return Models(
        Detector(locate(weights_folder, "object_detector.tflite"), threads),
        Semantic(locate(weights_folder, "deeplab_v3.tflite"), threads),
        Saliency(locate(weights_folder, "u2netp.onnx"), threads),
    )


class Scene:
    """A picture before the models; every question raises `Stopped` once the work should stop."""

    def __init__(self, models: Models, picture: Rgb, should_stop: ShouldStop) -> None:
        self.picture = picture
        self.shape = (picture.shape[0], picture.shape[1])
        self._models = models
        self._should_stop = should_stop
        self._detections: list[Detection] | None = None
        self._classes: Confidence | None = None

    def detections(self) -> list[Detection]:
        """All objects of known nouns scoring `RAW_FLOOR` or more, best first."""
        if self._detections is None:
            self._go_on()
            self._detections = self._models.detector.detect(self.picture, RAW_FLOOR)
        return self._detections

    def class_in(self, noun: str, window: Window) -> Confidence | None:
        """The confidence in a noun inside a window, the whole picture seen at once.

        None where the semantic model does not know the noun.
        """
        if noun not in CLASS_OF:
            return None
        if self._classes is None:
            self._go_on()
            self._classes = self._models.semantic.classes(self.picture)
        return window.cut(class_on(self._classes, CLASS_OF[noun], self.shape))

    def class_near(self, noun: str, window: Window) -> Confidence | None:
        """The confidence in a noun inside a window, nothing but the window seen."""
        if noun not in CLASS_OF:
            return None
        self._go_on()
        classes = self._models.semantic.classes(window.cut(self.picture))
        return class_on(classes, CLASS_OF[noun], window.shape)

    def foreground(self, window: Window, side: int) -> Confidence:
        """The confidence in whatever fills a window, scaled to a square of `side` pixels."""
        self._go_on()
        return self._models.saliency.foreground(window.cut(self.picture), side)

    def _go_on(self) -> None:
        if self._should_stop():
            raise Stopped
