"""EfficientDet-Lite0: boxes of the 80 COCO nouns."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from workers.segmenters.base import Box, Rgb
from workers.segmenters.lite.regions import box_overlap

Floats = npt.NDArray[np.float32]

_SIDE = 320  # pixels of the model's square input
_LEVELS = range(3, 8)  # strides 8 to 128, as in EfficientDet (Tan et al., 2020)
_ANCHOR_SCALE = 3.0  # of the Lite models; the full ones use 4
_RATIOS = (1.0, 2.0, 0.5)  # width over height
_SAME_OBJECT = 0.5  # overlap over which two boxes of one noun are one object


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: its noun, the model's raw score 0-1, and its box in pixels of the picture."""

    noun: str
    raw_score: float
    box: Box


class Detector:
    """A loaded detector. Not for use by several threads at once."""

    def __init__(self, path: Path, threads: int) -> None:
        with zipfile.ZipFile(path) as metadata:
            self.nouns = metadata.read("labels.txt").decode().splitlines()
        self._model = Interpreter(str(path), num_threads=threads)
        self._model.allocate_tensors()
        self._input = self._model.get_input_details()[0]["index"]
        outputs = {int(out["shape"][-1]): out["index"] for out in self._model.get_output_details()}
        self._boxes_output = outputs.pop(4)
        self._scores_output = outputs.popitem()[1]
        self._anchors = _anchors()

    def detect(self, picture: Rgb, raw_threshold: float) -> list[Detection]:
        """Objects scoring `raw_threshold` or more, best first, each once."""
        self._model.set_tensor(self._input, _square(picture)[None])
        self._model.invoke()
        scores = self._model.get_tensor(self._scores_output)[0]
        best, classes = scores.max(1), scores.argmax(1)
        likely = np.flatnonzero(best >= raw_threshold)
        likely = likely[np.argsort(-best[likely], kind="stable")]
        offsets = self._model.get_tensor(self._boxes_output)[0][likely]
        boxes = _decode(offsets, self._anchors[likely], picture.shape[0], picture.shape[1])
        found = (
            Detection(self.nouns[int(classes[index])], float(best[index]), box)
            for index, box in zip(likely, boxes, strict=True)
        )
        return _each_once(found)


def _square(picture: Rgb) -> Rgb:
    return cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )


def _anchors() -> Floats:
    """Centre y, centre x, height and width of every anchor, in the order of the outputs."""
    rows = [row for level in _LEVELS for row in _anchors_of(2**level)]
    return np.array(rows, np.float32)


def _anchors_of(stride: int) -> Iterator[tuple[float, float, float, float]]:
    cells = -(-_SIDE // stride)
    step = _SIDE / cells
    for y, x in np.ndindex(cells, cells):
        for octave in range(3):
            side = _ANCHOR_SCALE * step * 2 ** (octave / 3)
            for ratio in _RATIOS:
                root = ratio**0.5
                yield (y + 0.5) * step, (x + 0.5) * step, side / root, side * root


def _decode(offsets: Floats, anchors: Floats, height: int, width: int) -> list[Box]:
    """Boxes in pixels of the picture: centre offsets and log sizes, relative to the anchors."""
    centre = offsets[:, :2] * anchors[:, 2:] + anchors[:, :2]
    half = np.exp(offsets[:, 2:]) * anchors[:, 2:] / 2
    scale = np.array([height, width], np.float32) / _SIDE
    low = ((centre - half) * scale).clip(0, [height, width])
    high = ((centre + half) * scale).clip(0, [height, width])
    return [
        Box(float(x_min), float(y_min), float(x_max), float(y_max))
        for (y_min, x_min), (y_max, x_max) in zip(low, high, strict=True)
    ]


def _each_once(found: Iterator[Detection]) -> list[Detection]:
    """Greedy non-maximum suppression by noun; boxes without area are dropped."""
    kept: list[Detection] = []
    for one in found:
        rivals = (other.box for other in kept if other.noun == one.noun)
        if _has_area(one.box) and all(box_overlap(one.box, box) <= _SAME_OBJECT for box in rivals):
            kept.append(one)
    return kept


def _has_area(box: Box) -> bool:
    return box.x_max - box.x_min >= 1 and box.y_max - box.y_min >= 1
