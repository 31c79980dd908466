"""DeepLab v3: where on a picture the 20 things of PASCAL VOC are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from workers.segmenters.base import Rgb
from workers.segmenters.lite.regions import Confidence

# COCO's noun for each VOC class that has one (VOC 2012, in its order, after the background).
_CLASSES = (
    *("airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep", "couch"),
    *("train", "tv"),
)
CLASS_OF = {noun: index for index, noun in enumerate(_CLASSES, start=1)} | {"truck": 7}
"""The class of each noun that the model knows; it takes trucks for cars."""


class Semantic:
    """A loaded model. Not for use by several threads at once."""

    def __init__(self, path: Path, threads: int) -> None:
        self._model = Interpreter(str(path), num_threads=threads)
        self._model.allocate_tensors()
        details = self._model.get_input_details()[0]
        self._input, self._side = details["index"], int(details["shape"][1])
        self._output = self._model.get_output_details()[0]["index"]

    def classes(self, picture: Rgb) -> Confidence:
        """The confidence in each class: 257 x 257 x 21, for the picture scaled to a square."""
        small = cv2.resize(picture, (self._side, self._side), interpolation=cv2.INTER_AREA)
        self._model.set_tensor(self._input, small[None].astype(np.float32) / 127.5 - 1)
        self._model.invoke()
        return _softmax(self._model.get_tensor(self._output)[0])


def class_on(classes: Confidence, index: int, shape: tuple[int, int]) -> Confidence:
    """The confidence in one class at the size of a picture."""
    height, width = shape
    return cv2.resize(classes[..., index], (width, height)).astype(np.float32, copy=False)


def _softmax(logits: npt.NDArray[np.float32]) -> Confidence:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Confidence = powers / powers.sum(-1, keepdims=True)
    return shares
