"""Sound and picture of a written video: flashes and beeps that began together still do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media.ffmpeg import ffmpeg
from workers.media.decode import Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import cut_audio, read_frames, read_timeline
from workers.media.stitch import Piece, source_clock, stitch

FRAME_S = 0.04
FLASHES = [
    *["-f", "lavfi", "-i", "color=black:size=64x48:rate=25:duration=6"],
    *["-f", "lavfi", "-i", "aevalsrc='sin(2*PI*1000*t)*lt(mod(t,1),0.1)':s=48000:d=6"],
    *["-vf", "drawbox=color=white:t=fill:enable='lt(mod(t,1),0.1)'", "-c:v", "libx264", "-g", "20"],
]
RECIPES = {
    "aac.mp4": [*FLASHES, "-c:a", "aac"],
    "edited.mp4": ["-ss", "0.7", "-i", "aac.mp4", "-c", "copy"],
    "late.ts": ["-i", "aac.mp4", "-c", "copy", "-output_ts_offset", "7"],
    "pcm.mov": [*FLASHES, "-c:a", "pcm_s16le"],
    "opus.mkv": [*FLASHES, "-c:a", "libopus"],
    "mp3.avi": [*FLASHES, "-c:a", "libmp3lame"],
    "aac.flv": [*FLASHES, "-c:a", "aac"],
    "vorbis.mkv": [*FLASHES, "-c:a", "libvorbis"],
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, recipe in RECIPES.items():
        assert ffmpeg([*recipe, name], folder), name
    return folder


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, None), (1.3, 4.7)])
def test_sound_is_in_time_to_the_frame(
    name: str, start_s: float, end_s: float | None, films: Path, tmp_path: Path
) -> None:
    path = films / name
    plan = select_frames(read_timeline(path, Limits()), start_s, end_s)
    with PieceWriter(tmp_path / "piece.mp4", plan) as writer:
        wanted = Wanted(plan, range(len(plan)), Form.PLANES)
        for frame in read_frames(path, wanted, Limits(), []):
            writer.write(frame.pixels, frame.pts)
    cut_audio(path, tmp_path / "sound.mp4", plan, Limits())
    pieces = [Piece(tmp_path / "piece.mp4", range(len(plan)))]
    clock = source_clock(plan, range(len(plan)))
    stitch(pieces, clock, tmp_path / "video.mp4", tmp_path / "sound.mp4")
    flashes = list(begins(brightness(tmp_path / "video.mp4")))
    beeps = list(begins(loudness(tmp_path / "video.mp4")))
    assert len(flashes) >= 3
    assert len(flashes) == len(beeps)
    assert max(abs(a - b) for a, b in zip(flashes, beeps, strict=True)) <= FRAME_S


def begins(signal: Iterator[tuple[float, float]]) -> Iterator[float]:
    """When a signal of times and values, 0-1, comes up after 0.2 s of silence."""
    quiet_since = 0.0
    for time, value in signal:
        if value > 0.3:
            if time - quiet_since > 0.2:
                yield time
            quiet_since = time


def brightness(path: Path) -> Iterator[tuple[float, float]]:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield float(frame.time or 0), float(frame.to_ndarray(format="gray").mean() / 255)


def loudness(path: Path) -> Iterator[tuple[float, float]]:
    resampler = av.AudioResampler(format="fltp", layout="mono")
    with av.open(str(path)) as container:
        for heard in container.decode(audio=0):
            for frame in resampler.resample(heard):
                samples = np.abs(frame.to_ndarray()[0])
                for at in range(0, samples.size, 48):
                    loud = float(samples[at : at + 48].max())
                    yield float(frame.time or 0) + at / frame.sample_rate, loud
