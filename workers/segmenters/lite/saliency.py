"""U2-Net-p: the outline of whatever fills a crop."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from workers.segmenters.base import Rgb
from workers.segmenters.lite.regions import Confidence

FINE_SIDE = 320
"""Pixels of the square a crop is scaled to: the side the model was trained with."""
QUICK_SIDE = 192
"""A side that costs 0.4 times as much."""

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, as in training
_SPREAD = np.array([0.229, 0.224, 0.225], np.float32)

# The file fixes its input at 1 x 3 x 320 x 320, though nothing in its graph needs that. These are
# the dimensions as protobuf writes them (onnx.proto, TensorShapeProto: dim_value is field 1,
# dim_param field 2); a name takes as many bytes as the number it stands in for.
_FIXED_SIDES = b"\x0a\x03\x08\xc0\x02" * 2
_FREE_SIDES = b"\x0a\x03\x12\x01H\x0a\x03\x12\x01W"


class Saliency:
    """A loaded model."""

    def __init__(self, path: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        content = path.read_bytes().replace(_FIXED_SIDES, _FREE_SIDES)
        self._model = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._input = self._model.get_inputs()[0].name
        self._output = self._model.get_outputs()[0].name

    def foreground(self, crop: Rgb, side: int = FINE_SIDE) -> Confidence:
        """The confidence that a pixel belongs to what fills the crop, at the crop's size."""
        height, width = crop.shape[:2]
        shrinks = min(height, width) > side
        small = cv2.resize(
            crop, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        answer = self._model.run([self._output], {self._input: _normalised(small)})[0][0, 0]
        return cv2.resize(_stretched(answer), (width, height)).astype(np.float32, copy=False)


def _normalised(picture: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    values = picture.astype(np.float32)
    values = (values / max(float(values.max()), 1.0) - _MEAN) / _SPREAD
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def _stretched(answer: npt.NDArray[np.float32]) -> Confidence:
    low, high = float(answer.min()), float(answer.max())
    stretched: Confidence = (answer - low) / max(high - low, 1e-6)
    return stretched
