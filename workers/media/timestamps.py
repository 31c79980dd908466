"""Timestamps of shown frames as a clock that rises, whatever a container wrote."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from workers.media.plan import Ticks

UNKNOWN = -(1 << 62)
"""Stands for a timestamp that is not there."""

_MOST_REORDERED = 16  # frames that H.264 and HEVC may hold back


class Clock(NamedTuple):
    """Strictly rising timestamps of frames in the order they are shown.

    `told` says whether each frame itself tells the time that stands here, so that it can be found
    by it; `broken`, whether times were made up.
    """

    pts: Ticks
    told: bool
    broken: bool


def clock_of(pts: Ticks, dts: Ticks, base: Fraction, rate: Fraction) -> Clock:
    """The clock of frames shown in this order, from their own timestamps and their packets' dts.

    Frames of AVI and ASF tell the times at which they are decoded, a few places out of order: the
    n-th shown frame gets the n-th of those. Where times go back for good, as at the joint of two
    recordings, the next frame follows at the mean distance. Where some are unknown all are spaced
    by `rate`, rounded down to ticks of `base`.
    """
    if rises(pts):
        return Clock(pts, told=True, broken=False)
    filled = np.where(pts == UNKNOWN, dts, pts)
    steps = np.diff(filled)
    if (filled == UNKNOWN).any() or not (steps > 0).any():
        return Clock(_even(pts.size, base, rate), told=False, broken=True)
    if _is_reordered(filled):
        filled = np.sort(filled)
        steps = np.diff(filled)
    back = steps <= 0
    steps[back] = max(1, int(np.median(steps[~back])))
    mended = filled[0] + np.concatenate([[0], np.cumsum(steps)])
    return Clock(mended, told=False, broken=bool(back.any()))


def rises(pts: Ticks) -> bool:
    """Whether all timestamps are known and each is later than the one before."""
    return bool(pts.size and pts.min() != UNKNOWN and (np.diff(pts) > 0).all())


def _is_reordered(pts: Ticks) -> bool:
    places = np.argsort(pts, kind="stable")
    return int(np.abs(places - np.arange(pts.size)).max()) <= _MOST_REORDERED


def _even(frames: int, base: Fraction, rate: Fraction) -> Ticks:
    step = max(Fraction(1), 1 / (rate * base))
    return np.arange(frames, dtype=np.int64) * step.numerator // step.denominator
