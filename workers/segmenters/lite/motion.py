"""From one frame to the next: where each pixel came from, and whether the scene was cut."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from workers.segmenters.base import Rgb

Grey = npt.NDArray[np.uint8]
"""A frame in grey, height x width."""
Soft = npt.NDArray[np.uint8]
"""How surely each pixel belongs to an object, 0-255, height x width."""
Flow = npt.NDArray[np.float32]
"""For each pixel of a frame, how far away on the frame before it was: height x width x (x, y)."""

_SMALLEST_SIDE = 16  # pixels: the flow works on patches of 8 and cannot do with less
_THUMBNAIL = (64, 36)
# Measured on 7 stills: every cut between two is below both, no pan of up to 120 pixels a frame is
# below the second, no flash below the first.
_CUT_LIKENESS = 0.7  # correlation with the frame before, moved to where the flow says it went
_CUT_SHARED_TONES = 0.84  # shared part of the grey-level histograms


def grey_of(frame: Rgb) -> Grey:
    """The frame in grey."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def flow_between(before: Grey, now: Grey) -> Flow:
    """Dense optical flow (DIS, Kroeger et al., 2016) from a frame back to the one before.

    No motion is told of frames under 16 pixels high or wide.
    """
    if min(now.shape) < _SMALLEST_SIDE:
        return np.zeros((*now.shape, 2), np.float32)
    # A new object each time: it would begin from its last answer, which no state carries along.
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow: Flow = method.calc(now, before, None)  # type: ignore[call-overload] # None is no hint
    return flow


def carried(values: npt.NDArray[np.uint8], flow: Flow) -> npt.NDArray[np.uint8]:
    """What stood on the frame before, moved to where it is now."""
    height, width = values.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = cv2.remap(values, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return moved.astype(np.uint8, copy=False)


def is_cut(before: Grey, now: Grey, flow: Flow) -> bool:
    """Whether a new scene begins: no motion explains the frame, and its tones are others."""
    if np.minimum(_tones(before), _tones(now)).sum() >= _CUT_SHARED_TONES:
        return False
    return _likeness(_thumbnail(carried(before, flow)), _thumbnail(now)) < _CUT_LIKENESS


def _likeness(first: Grey, second: Grey) -> float:
    """The correlation of two pictures; 0 where one of them is blank."""
    one, two = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float((one * two).sum()) / spread if spread else 0.0


def _thumbnail(grey: Grey) -> Grey:
    return cv2.resize(grey, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _tones(grey: Grey) -> npt.NDArray[np.float64]:
    counts, _ = np.histogram(grey, bins=32, range=(0, 256))
    return counts / grey.size
