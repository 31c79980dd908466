"""Animated GIF and WebP as videos, against what the ffmpeg program shows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.media.ffmpeg import ffmpeg, pictures, shown_times
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.cautions import Caution
from workers.media.decode import Wanted
from workers.media.limits import Limits
from workers.media.pixels import Form, Rgb
from workers.media.plan import select_frames
from workers.media.reading import read_frames, read_timeline

FILM = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=1.2"]


def frames_of(path: Path, limits: Limits, parts: int = 1) -> list[Rgb]:
    plan, missing, read = select_frames(read_timeline(path, limits)), list[int](), []
    for part in range(parts):
        span = range(len(plan) * part // parts, len(plan) * (part + 1) // parts)
        read += list(read_frames(path, Wanted(plan, span, Form.RGB), limits, missing))
    assert [frame.index for frame in read] == list(range(len(plan)))
    assert not missing
    return [frame.pixels for frame in read]


@pytest.mark.parametrize("name", ["film.webp", "film.gif"])
@pytest.mark.parametrize("parts", [1, 5])
def test_every_frame_is_read_at_its_time(
    name: str, parts: int, tmp_path: Path, limits: Limits
) -> None:
    assert ffmpeg([*FILM, *["-lossless", "1"] * (name == "film.webp"), name], tmp_path)
    path = tmp_path / name
    timeline = read_timeline(path, limits)
    assert [int(pts) * timeline.time_base for pts in timeline.pts] == shown_times(path)
    assert timeline.pts.size == 12
    wanted = pictures(path, pixels="rgb24", frames=12).reshape(12, 48, 64, 3)
    np.testing.assert_array_equal(frames_of(path, limits, parts), wanted)


def webp(durations: int | list[int], alpha: int = 255, frames: int = 3) -> bytes:
    data = io.BytesIO()
    made = [Image.new("RGBA", (16, 16), (255, 40 * n, 0, alpha)) for n in range(frames)]
    made[0].save(
        data, "WEBP", save_all=True, append_images=made[1:], duration=durations, lossless=True
    )
    return data.getvalue()


def test_frames_of_a_webp_last_as_long_as_it_says(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    path.write_bytes(webp([30, 500, 70]))
    timeline = read_timeline(path, limits)
    assert timeline.pts.tolist() == [0, 30, 530]
    assert timeline.cautions == ()


def test_frames_of_no_length_follow_one_another_evenly(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    path.write_bytes(webp(0))
    timeline = read_timeline(path, limits)
    assert timeline.pts.tolist() == [0, 40, 80]
    assert timeline.cautions == (Caution.BROKEN_CLOCK,)


def test_clear_pixels_of_a_webp_stand_on_white(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    path.write_bytes(webp(40, alpha=0))
    assert (np.array(frames_of(path, limits)) == 255).all()


def test_a_still_webp_is_a_film_of_one_frame(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input"
    path.write_bytes(webp(40, frames=1))
    assert len(frames_of(path, limits)) == 1


@pytest.mark.parametrize(
    ("narrow", "code"),
    [
        (Limits(frame_pixels=255), ErrorCode.INPUT_TOO_LARGE),
        (Limits(decoded_frames=2), ErrorCode.VIDEO_TOO_LONG),
        (Limits(duration_s=0.07), ErrorCode.VIDEO_TOO_LONG),
    ],
)
def test_a_webp_beyond_a_limit_is_refused(narrow: Limits, code: ErrorCode, tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(webp(40))
    with pytest.raises(Refusal) as caught:
        read_timeline(path, narrow)
    assert caught.value.code is code


def test_a_webp_cut_off_is_read_to_the_cut_or_refused(tmp_path: Path, limits: Limits) -> None:
    whole, path = webp(40, frames=9), tmp_path / "input"
    for end in range(20, len(whole), 30):
        path.write_bytes(whole[:end])
        try:
            assert 0 < len(frames_of(path, limits)) <= 9
        except Refusal as refusal:
            assert refusal.code is ErrorCode.NOT_A_VIDEO  # noqa: PT017 - reading it is right too
