"""Reading planned frames, in any part and of any kind, against a plain decode."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.media.ffmpeg import pictures
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.decode import VideoFrame, Wanted
from workers.media.limits import Limits
from workers.media.pixels import Form, split_planes
from workers.media.plan import FramePlan, select_frames
from workers.media.reading import read_frames, read_timeline

Clip = Callable[[str], Path]
Frames = list[tuple[int, npt.NDArray[np.uint8]]]

KINDS = [
    "cfr.mp4",
    "vfr.mp4",
    "edited.mp4",
    "late.ts",
    "open.ts",
    "open.mp4",
    "mpeg2.ts",
    "hidden.webm",
    "packed.avi",
    "moving.gif",
    "turned.mp4",
    "turned180.mp4",
    "odd.mp4",
    "odd.mkv",
    "hevc.mp4",
]


def plan_of(path: Path, limits: Limits, stride: int = 1) -> FramePlan:
    return select_frames(read_timeline(path, limits), 0.6, 3.1, stride)


def first_frame(path: Path, plan: FramePlan, limits: Limits, form: Form) -> VideoFrame:
    return next(read_frames(path, Wanted(plan, range(1), form), limits, []))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("stride", "parts"), [(1, 5), (3, 2)])
def test_parts_of_a_plan_give_the_frames_of_a_plain_reading(
    name: str,
    stride: int,
    parts: int,
    clip: Clip,
    shown: Callable[[Path], Frames],
    limits: Limits,
) -> None:
    path = clip(name)
    plan, plain = plan_of(path, limits, stride), shown(path)
    turns = plan.picture.rotation // 90
    bounds = [len(plan) * part // parts for part in range(parts + 1)]
    read, missing = [], list[int]()
    for first, last in pairwise(bounds):
        wanted = Wanted(plan, range(first, last), Form.RGB)
        for frame in read_frames(path, wanted, limits, missing):
            pts, pixels = plain[frame.source_index]
            assert frame.pts == pts
            np.testing.assert_array_equal(frame.pixels, np.rot90(pixels, turns))
            read.append(frame.index)
    assert read == list(range(len(plan)))
    assert not missing


@pytest.mark.parametrize("name", ["cfr.mp4", "turned.mp4", "turned180.mp4"])
def test_frames_stand_upright_as_ffmpeg_turns_them(name: str, clip: Clip, limits: Limits) -> None:
    path = clip(name)
    plan = select_frames(read_timeline(path, limits))
    planes = first_frame(path, plan, limits, Form.PLANES).pixels
    np.testing.assert_array_equal(planes.reshape(-1), pictures(path, pixels="yuv420p"))


@pytest.mark.parametrize("name", ["odd.mp4", "odd.mkv", "odd_turned.mp4"])
def test_odd_sides_are_padded_by_repetition(name: str, clip: Clip, limits: Limits) -> None:
    path = clip(name)
    plan = select_frames(read_timeline(path, limits))
    height, width = plan.picture.height, plan.picture.width
    assert first_frame(path, plan, limits, Form.RGB).pixels.shape == (height, width, 3)
    luma, *_ = split_planes(first_frame(path, plan, limits, Form.PLANES).pixels)
    assert luma.shape == (height + 1, width + 1)
    np.testing.assert_array_equal(luma[-1], luma[-2])
    np.testing.assert_array_equal(luma[:, -1], luma[:, -2])


@pytest.mark.parametrize("name", ["full_range.mp4", "odd.mp4", "odd_turned.mp4", "moving.gif"])
def test_planes_show_what_rgb_shows(name: str, clip: Clip, limits: Limits) -> None:
    path = clip(name)
    plan = select_frames(read_timeline(path, limits))
    rgb, planes = (first_frame(path, plan, limits, form).pixels for form in Form)
    shown = av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24")
    difference = np.abs(shown[: rgb.shape[0], : rgb.shape[1]].astype(int) - rgb)
    assert np.median(difference) <= 2
    assert difference.mean() < 12


def test_arrays_are_the_callers_own(clip: Clip, limits: Limits) -> None:
    path = clip("cfr.mp4")
    plan = select_frames(read_timeline(path, limits))
    frames = read_frames(path, Wanted(plan, range(20), Form.PLANES), limits, [])
    first = next(frames)
    before = first.pixels.copy()
    for frame in frames:
        frame.pixels[:] = 0
    np.testing.assert_array_equal(first.pixels, before)
    assert before.any()


def test_a_frame_that_cannot_be_decoded_is_left_out_and_told(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    whole = clip("plain.mkv")
    plan = select_frames(read_timeline(whole, limits))
    path = tmp_path / "input.mkv"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    missing: list[int] = []
    wanted = Wanted(plan, range(100), Form.RGB)
    read = [frame.index for frame in read_frames(path, wanted, limits, missing)]
    assert len(read) > 20
    assert missing
    assert sorted(read + missing) == list(range(100))


def test_a_checkpoint_ends_the_reading(clip: Clip, limits: Limits) -> None:
    def stop() -> None:
        raise InterruptedError

    path = clip("cfr.mp4")
    plan = select_frames(read_timeline(path, limits))
    with pytest.raises(InterruptedError):
        list(read_frames(path, Wanted(plan, range(50), Form.RGB), limits, [], stop))


def test_an_empty_span_reads_nothing(clip: Clip, limits: Limits) -> None:
    path = clip("cfr.mp4")
    plan = select_frames(read_timeline(path, limits))
    assert not list(read_frames(path, Wanted(plan, range(5, 5), Form.RGB), limits, []))


def test_a_colour_encoding_that_nobody_reads_is_refused(clip: Clip, limits: Limits) -> None:
    path = clip("strange.mp4")
    plan = select_frames(read_timeline(path, limits))
    with pytest.raises(Refusal) as caught:
        first_frame(path, plan, limits, Form.RGB)
    assert caught.value.code == ErrorCode.NOT_A_VIDEO


def test_high_dynamic_range_becomes_plain_bt709(clip: Clip, limits: Limits) -> None:
    path = clip("hdr.mp4")
    plan = select_frames(read_timeline(path, limits))
    picture = plan.picture
    assert picture.tone_mapped
    assert (picture.matrix, picture.primaries, picture.transfer) == (1, 1, 1)
    assert first_frame(path, plan, limits, Form.PLANES).pixels.shape == (180, 160)
    assert first_frame(path, plan, limits, Form.RGB).pixels.std() > 30


def test_pixels_that_are_not_square_stay_so_when_turned(clip: Clip, limits: Limits) -> None:
    assert read_timeline(clip("wide.mp4"), limits).picture.pixel_aspect == Fraction(4, 3)
    assert read_timeline(clip("stretched.mp4"), limits).picture.pixel_aspect == Fraction(3, 4)


def test_the_first_size_wins_when_the_size_changes(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    path = tmp_path / "input.ts"
    path.write_bytes(clip("open.ts").read_bytes() + clip("small.ts").read_bytes())
    plan = select_frames(read_timeline(path, limits))
    assert len(plan) == 200
    wanted = Wanted(plan, range(200), Form.RGB)
    shapes = {frame.pixels.shape for frame in read_frames(path, wanted, limits, [])}
    assert shapes == {(120, 160, 3)}
