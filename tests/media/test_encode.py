"""Equal frames come out in equal bytes, whatever stood in memory before."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from threading import Thread

import numpy as np
import numpy.typing as npt
import pytest

from workers.media.encode import PieceWriter
from workers.media.plan import FramePlan, Picture

FRAMES = 12
TIMES = 40
BT709 = 1


def _plan(width: int, height: int) -> FramePlan:
    picture = Picture(width, height, 0, Fraction(1), BT709, BT709, BT709, tone_mapped=False)
    pts = np.arange(FRAMES, dtype=np.int64)
    rate = Fraction(25)
    return FramePlan(pts, pts, 0, 1 / rate, rate, picture, seekable=True, has_audio=False)


def _frames(width: int, height: int) -> list[npt.NDArray[np.uint8]]:
    """A bright bar that moves over a slope."""
    rows, columns = np.mgrid[:height, :width]
    made = []
    for number in range(FRAMES):
        luma = ((3 * columns + rows + 2 * number) % 180 + 40).astype(np.uint8)
        luma[height // 4 : height // 2, width // 8 + 2 * number : width // 3 + 2 * number] = 220
        made.append(np.concatenate([luma, np.full((height // 2, width), 100, np.uint8)]))
    return made


def _litter(noise: np.random.Generator) -> None:
    """Leaves memory behind that was written to."""
    sizes = noise.integers(100, 300_000, 20)
    for block in [np.full(size, noise.integers(256), np.uint8) for size in sizes]:
        del block


@pytest.mark.parametrize(("width", "height"), [(48, 48), (240, 136), (336, 180), (128, 72)])
def test_equal_frames_are_equal_bytes(width: int, height: int, tmp_path: Path) -> None:
    plan, frames = _plan(width, height), _frames(width, height)
    noise = np.random.default_rng(0)
    seen = set()
    for number in range(TIMES):
        litter = Thread(target=_litter, args=(noise,))  # the writer's thread inherits its memory
        litter.start()
        litter.join()
        path = tmp_path / f"{number}.mp4"
        with PieceWriter(path, plan) as writer:
            for pts, frame in enumerate(frames):
                writer.write(frame.copy(), pts)
        seen.add(path.read_bytes())
    assert len(seen) == 1
