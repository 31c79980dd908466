"""Long work on media shows that it lives, and stops where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workers.media.limits import JailMode, Limits
from workers.media.plan import select_frames
from workers.media.reading import cut_audio, read_timeline


class StoppedError(Exception):
    """What a checkpoint raises."""


def _refuse() -> None:
    raise StoppedError


@pytest.fixture
def source(clip: Callable[[str], Path]) -> Path:
    return clip("cfr.mp4")


def test_reading_a_timeline_can_be_stopped(source: Path, limits: Limits) -> None:
    with pytest.raises(StoppedError):
        read_timeline(source, limits, _refuse)


def test_a_sign_of_life_comes_with_every_frame_of_a_timeline(source: Path) -> None:
    signs: list[None] = []
    timeline = read_timeline(source, Limits(jail=JailMode.OFF), lambda: signs.append(None))
    assert len(signs) >= timeline.pts.size


def test_cutting_sound_can_be_stopped_and_leaves_nothing(
    source: Path, tmp_path: Path, limits: Limits
) -> None:
    plan = select_frames(read_timeline(source, limits))
    with pytest.raises(StoppedError):
        cut_audio(source, tmp_path / "audio.mp4", plan, limits, _refuse)
    assert list(tmp_path.iterdir()) == []
