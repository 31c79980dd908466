"""What a video shows, against a plain decode; and files that are no videos."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.limits import Limits
from workers.media.reading import read_timeline

Clip = Callable[[str], Path]

KINDS = [
    "cfr.mp4",
    "vfr.mp4",
    "edited.mp4",
    "late.ts",
    "open.ts",
    "open.mp4",
    "mpeg2.ts",
    "plain.mkv",
    "hidden.webm",
    "packed.avi",
    "moving.gif",
    "turned.mp4",
    "odd.mp4",
    "odd.mkv",
    "hevc.mp4",
    "single.mp4",
]


def refused(path: Path, limits: Limits) -> ErrorCode:
    with pytest.raises(Refusal) as caught:
        read_timeline(path, limits)
    return caught.value.code


@pytest.mark.parametrize("name", KINDS)
def test_a_timeline_holds_exactly_the_frames_that_are_shown(
    name: str, clip: Clip, shown: Callable[[Path], list[tuple[int, object]]], limits: Limits
) -> None:
    timeline = read_timeline(clip(name), limits)
    assert timeline.pts.tolist() == [pts for pts, _ in shown(clip(name))]


def test_size_rate_and_sound_are_told(clip: Clip, limits: Limits) -> None:
    timeline = read_timeline(clip("cfr.mp4"), limits)
    assert (timeline.picture.width, timeline.picture.height) == (160, 120)
    assert timeline.rate == Fraction(25)
    assert timeline.duration_s == 4.0
    assert timeline.has_audio
    assert timeline.codec == "h264"
    assert not read_timeline(clip("vfr.mp4"), limits).has_audio


def test_a_turned_video_has_its_upright_size(clip: Clip, limits: Limits) -> None:
    picture = read_timeline(clip("turned.mp4"), limits).picture
    assert (picture.width, picture.height, picture.rotation) == (120, 160, 90)
    assert picture.coded_size == (160, 120)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(5000),
        b"just some text\n" * 100,
        b"#EXTM3U\n#EXTINF:1,\ncfr.mp4\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile cfr.mp4\n",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        b"%!PS-Adobe-3.0\nshowpage\n",
        b"\x00\x00\x00\x18ftypmp42" + random.Random(5).randbytes(5000),
        b"\x1a\x45\xdf\xa3" + random.Random(5).randbytes(5000),
        b"RIFF\x00\x10\x00\x00AVI " + bytes(4000),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_video_is_refused_whatever_its_name(
    content: bytes, clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    (tmp_path / "cfr.mp4").write_bytes(clip("cfr.mp4").read_bytes())
    path = tmp_path / "input.mp4"
    path.write_bytes(content)
    assert refused(path, limits) == ErrorCode.NOT_A_VIDEO


def test_sound_alone_is_no_video(clip: Clip, limits: Limits) -> None:
    assert refused(clip("sound.mp4"), limits) == ErrorCode.NOT_A_VIDEO


def test_a_video_cut_off_in_its_middle_keeps_the_frames_before(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    whole = clip("plain.mkv").read_bytes()
    path = tmp_path / "input.mkv"
    path.write_bytes(whole[: len(whole) // 2])
    frames = read_timeline(path, limits).pts.size
    assert 20 < frames < 100


def test_a_video_without_its_table_of_contents_is_refused(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    whole = clip("cfr.mp4").read_bytes()
    path = tmp_path / "input.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(path, limits) == ErrorCode.NOT_A_VIDEO


@pytest.mark.parametrize("name", ["cfr.mp4", "late.ts"])
@pytest.mark.parametrize(
    ("narrow", "code"),
    [
        ({"frame_pixels": 160 * 120 - 1}, ErrorCode.INPUT_TOO_LARGE),
        ({"decoded_frames": 99}, ErrorCode.VIDEO_TOO_LONG),
        ({"duration_s": 3.9}, ErrorCode.VIDEO_TOO_LONG),
    ],
    ids=["pixels", "frames", "seconds"],
)
def test_a_video_beyond_a_limit_is_refused(
    name: str, narrow: dict[str, Any], code: ErrorCode, clip: Clip, limits: Limits
) -> None:
    assert refused(clip(name), replace(limits, **narrow)) == code


def test_a_gif_of_huge_size_is_refused_before_it_is_decoded(tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "input.gif"
    Image.new("P", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert refused(path, limits) in (ErrorCode.INPUT_TOO_LARGE, ErrorCode.NOT_A_VIDEO)
