"""Clips of every awkward kind, made by ffmpeg when a test first asks for one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.media.ffmpeg import ffmpeg
from workers.masks import Rle, encode
from workers.media.limits import JailMode, Limits

Clip = Callable[[str], Path]
Shown = list[tuple[int, npt.NDArray[np.uint8]]]

PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4"]
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:duration=4"]
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-g", "25"]
OPEN_GOP = ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=20:bframes=3"]
UNEVEN = ["-vf", "select='not(mod(n\\,3))+not(mod(n\\,7))'", "-fps_mode", "vfr"]
RECIPES: dict[str, list[str]] = {
    "cfr.mp4": [*PICTURE, *SOUND, *X264, "-c:a", "aac"],
    "vfr.mp4": [*PICTURE, *UNEVEN, *X264],
    "edited.mp4": ["-ss", "1.5", "-i", "cfr.mp4", "-c", "copy"],
    "late.ts": ["-i", "cfr.mp4", "-c", "copy", "-output_ts_offset", "5"],
    "open.ts": [*PICTURE, *OPEN_GOP],
    "open.mp4": [*PICTURE, *OPEN_GOP],
    "small.ts": [*PICTURE, "-vf", "scale=80:60", *X264, "-output_ts_offset", "4"],
    "mpeg2.ts": [*PICTURE, *SOUND, "-c:v", "mpeg2video", "-bf", "2", "-q:v", "5"],
    "plain.mkv": ["-i", "cfr.mp4", "-c", "copy"],
    "pcm.mkv": [*PICTURE, *SOUND, *X264, "-c:a", "pcm_s16le"],
    "hidden.webm": [*PICTURE, "-c:v", "libvpx", "-auto-alt-ref", "1", "-lag-in-frames", "16"],
    "packed.avi": [*PICTURE, "-c:v", "mpeg4", "-bf", "2", "-q:v", "5"],
    "moving.gif": [*PICTURE, "-vf", "fps=10,scale=80:60"],
    "moving.webp": [*PICTURE, "-vf", "fps=10,scale=80:60", "-c:v", "libwebp_anim"],
    "turned.mp4": ["-display_rotation", "90", "-i", "cfr.mp4", "-c", "copy"],
    "turned180.mp4": ["-display_rotation", "180", "-i", "cfr.mp4", "-c", "copy"],
    "odd.mp4": [*PICTURE, "-vf", "scale=161:91", "-pix_fmt", "yuv444p", "-c:v", "libx264"],
    "odd.mkv": [*PICTURE, "-vf", "scale=81:61", "-pix_fmt", "yuv420p", "-c:v", "ffv1"],
    "odd_turned.mp4": ["-display_rotation", "90", "-i", "odd.mp4", "-c", "copy"],
    "full_range.mp4": [*PICTURE, "-pix_fmt", "yuvj420p", *X264],
    "hevc.mp4": [*PICTURE, "-c:v", "libx265", "-x265-params", "log-level=error:open-gop=1"],
    "sound.mp4": [*SOUND, "-c:a", "aac"],
    "short_sound.mkv": [*PICTURE, *SOUND, "-af", "atrim=end=1", *X264, "-c:a", "libmp3lame"],
    "ac3.mkv": [*PICTURE, *SOUND, *X264, "-c:a", "ac3"],
    "flac.mkv": [*PICTURE, *SOUND, *X264, "-c:a", "flac"],
    "opus.mkv": [*PICTURE, *SOUND, *X264, "-c:a", "libopus"],
    "stretched.mp4": ["-display_rotation", "90", "-i", "wide.mp4", "-c", "copy"],
    "wide.mp4": [*PICTURE, "-vf", "setsar=4/3", *X264],
    "hdr.mp4": [
        *[*PICTURE, "-pix_fmt", "yuv420p10le", *X264, "-vf"],
        "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084",
    ],
    "strange.mp4": [*PICTURE, "-vf", "setparams=colorspace=ycgco", "-pix_fmt", "yuv420p", *X264],
    "large.mp4": [*PICTURE, "-vf", "scale=3840:2160", "-frames:v", "2", *X264],
    "single.mp4": [*PICTURE, "-frames:v", "1", *X264],
}


def _rgb(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    return frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _parent(recipe: list[str]) -> str | None:
    return next((part for part in recipe if part in RECIPES), None)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The path of the clip of that name."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str) -> Path:
        path = folder / name
        parent = _parent(RECIPES[name])
        if parent:
            make(parent)
        if not path.exists():
            assert ffmpeg([*RECIPES[name], name], folder)
        return path

    return make


@pytest.fixture(scope="session")
def shown() -> Callable[[Path], Shown]:
    """Every frame of a file with its pts, by a plain reading from start to end, not turned."""

    def read(path: Path) -> Shown:
        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            return [(frame.pts or 0, _rgb(frame)) for frame in frames]

    return read


@pytest.fixture(scope="session")
def times() -> Callable[[Path], list[Fraction]]:
    """When each frame of a file is shown, in seconds."""

    def read(path: Path) -> list[Fraction]:
        with av.open(str(path)) as container:
            frames = container.decode(video=0)
            return [(frame.pts or 0) * Fraction(frame.time_base or 0) for frame in frames]

    return read


@pytest.fixture(params=[JailMode.OFF, JailMode.PREFER], ids=["here", "jailed"])
def limits(request: pytest.FixtureRequest) -> Limits:
    """The default limits; a test that asks for them runs in this process and in a jailed one."""
    return Limits(jail=request.param)


@pytest.fixture
def disc() -> Callable[[int, int, int], Rle]:
    """A disc in a picture of that height and width; `seed` moves it."""

    def make(height: int, width: int, seed: int) -> Rle:
        y, x = np.mgrid[:height, :width]
        center_y, center_x = height * (0.3 + 0.05 * (seed % 9)), width * (0.2 + 0.07 * (seed % 9))
        return encode((y - center_y) ** 2 + (x - center_x) ** 2 < (height / 5) ** 2)

    return make
