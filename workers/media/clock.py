"""When the frames of a written video are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from workers.media.plan import FramePlan, Ticks


@dataclass(frozen=True, slots=True)
class Clock:
    """When each frame of the joined video is shown, in ticks of `time_base`; the first at 0."""

    pts: Ticks
    time_base: Fraction
    last_frame: int
    """How long the last frame is shown, in ticks."""


def source_clock(plan: FramePlan, indexes: Sequence[int]) -> Clock:
    """Frames keep the times they have in the source."""
    base = Fraction(1, plan.time_base.denominator)
    pts = (plan.pts[list(indexes)] - plan.pts[indexes[0]]) * plan.time_base.numerator
    return Clock(pts, base, max(1, round(1 / (plan.rate * base))))


def steady_clock(frames: int, fps: float) -> Clock:
    """Frame `n` is shown at n / fps seconds."""
    base = 1 / Fraction(str(fps)).limit_denominator(100_000)
    ticks = base.numerator
    return Clock(np.arange(frames, dtype=np.int64) * ticks, Fraction(1, base.denominator), ticks)
