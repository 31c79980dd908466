"""Choosing frames by range, stride and number."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.plan import (
    Picture,
    Ticks,
    Timeline,
    load_plan,
    mean_rate,
    read_plan,
    select_frames,
)

PICTURE = Picture(
    width=120,
    height=161,
    rotation=90,
    pixel_aspect=Fraction(4, 3),
    matrix=5,
    primaries=2,
    transfer=2,
    tone_mapped=False,
)
TIMELINE = Timeline(
    pts=np.arange(100, dtype=np.int64) * 512 + 7000,
    time_base=Fraction(1, 12800),
    rate=Fraction(25),
    picture=PICTURE,
    seekable=True,
    has_audio=True,
    codec="h264",
    container="mov",
)


def ticks(*values: int) -> Ticks:
    return np.array(values, np.int64)


def test_everything_is_chosen_by_default() -> None:
    plan = select_frames(TIMELINE)
    assert plan.source_index.tolist() == list(range(100))
    assert plan.pts.tolist() == TIMELINE.pts.tolist()
    assert plan.rate == 25


def test_a_range_holds_its_start_and_not_its_end() -> None:
    plan = select_frames(TIMELINE, 0.4, 0.6)
    assert plan.source_index.tolist() == [10, 11, 12, 13, 14]
    assert plan.time_s(0) == 0.4
    assert plan.span_s() == (Fraction(2, 5), Fraction(3, 5))


def test_a_time_between_frames_begins_with_the_next() -> None:
    assert select_frames(TIMELINE, 0.41, 0.49).source_index.tolist() == [11, 12]


def test_stride_counts_from_the_start_of_the_range() -> None:
    plan = select_frames(TIMELINE, 0.4, None, stride=30)
    assert plan.source_index.tolist() == [10, 40, 70]
    assert plan.rate == Fraction(25, 30)


def test_max_frames_counts_processed_frames() -> None:
    assert select_frames(TIMELINE, stride=2, max_frames=3).source_index.tolist() == [0, 2, 4]


@pytest.mark.parametrize(("start_s", "end_s"), [(4.0, None), (0.41, 0.43), (2.0, 1.0)])
def test_a_range_without_frames_is_refused(start_s: float, end_s: float | None) -> None:
    with pytest.raises(Refusal) as caught:
        select_frames(TIMELINE, start_s, end_s)
    assert caught.value.code == ErrorCode.NO_FRAMES_IN_RANGE


@given(st.integers(0, 99), st.integers(1, 100), st.integers(1, 7))
def test_a_range_is_what_comparing_times_gives(first: int, frames: int, stride: int) -> None:
    start_s, end_s = first / 25, (first + frames) / 25
    wanted = [n for n in range(100) if start_s <= n / 25 < end_s][::stride]
    assert select_frames(TIMELINE, start_s, end_s, stride).source_index.tolist() == wanted


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = select_frames(replace(TIMELINE, seekable=False), 0.5, 3.0, 7, 5)
    plan.save(tmp_path / "a.plan")
    loaded = load_plan(tmp_path / "a.plan")
    assert loaded.pts.tolist() == plan.pts.tolist()
    assert loaded.source_index.tolist() == plan.source_index.tolist()
    assert loaded.picture == plan.picture
    assert (loaded.origin, loaded.time_base, loaded.rate) == (7000, plan.time_base, plan.rate)
    assert (loaded.seekable, loaded.has_audio) == (False, True)
    loaded.save(tmp_path / "b.plan")
    assert (tmp_path / "a.plan").read_bytes() == (tmp_path / "b.plan").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.plan", "b.plan"]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_plan_tells_of_a_mirrored_picture_and_only_then(mirrored: bool) -> None:
    file = io.BytesIO()
    timeline = replace(TIMELINE, picture=replace(PICTURE, mirrored=mirrored))
    select_frames(timeline).write(file)
    assert (b"mirrored" in file.getvalue()) == mirrored
    file.seek(0)
    assert read_plan(file).picture == timeline.picture


@pytest.mark.parametrize(
    ("pts", "base", "told", "rate"),
    [
        (ticks(0, 1001, 2002), Fraction(1, 30000), None, Fraction(30000, 1001)),
        (ticks(0, 33, 67, 100), Fraction(1, 1000), Fraction(30000, 1001), Fraction(30000, 1001)),
        (ticks(0, 40, 80), Fraction(1, 1000), Fraction(90000), Fraction(25)),
        (ticks(0, 1, 2), Fraction(1, 1000), None, Fraction(240)),
        (ticks(0, 10), Fraction(1), None, Fraction(1)),
        (ticks(0), Fraction(1, 1000), None, Fraction(25)),
    ],
    ids=["counted", "told", "told wrongly", "too fast", "too slow", "one frame"],
)
def test_the_mean_rate_is_believable(
    pts: Ticks, base: Fraction, told: Fraction | None, rate: Fraction
) -> None:
    assert mean_rate(pts, base, told) == rate
