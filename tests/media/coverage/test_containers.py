"""Every container with every codec that ffmpeg writes into it: each frame is read, at its time."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from tests.media.ffmpeg import ffmpeg, shown_times
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.decode import Wanted
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import read_frames, read_timeline

FRAMES = 20
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-frames:v", str(FRAMES)]
YUV = ["-pix_fmt", "yuv420p"]
CODECS: dict[str, list[str]] = {
    "h264": ["libx264", "-g", "10", "-bf", "2", *YUV],
    "hevc": ["libx265", "-x265-params", "log-level=none:keyint=10:pools=1", *YUV],
    "vp8": ["libvpx", "-g", "10", "-auto-alt-ref", "1", "-lag-in-frames", "8", *YUV],
    "vp9": ["libvpx-vp9", "-g", "10", "-lag-in-frames", "8", *YUV],
    "av1": ["libaom-av1", "-g", "10", "-cpu-used", "8", "-lag-in-frames", "4", *YUV],
    "mpeg1": ["mpeg1video", "-bf", "2", "-g", "10"],
    "mpeg2": ["mpeg2video", "-bf", "2", "-g", "10"],
    "mpeg4": ["mpeg4", "-bf", "2", "-g", "10"],
    "prores": ["prores_ks"],
    "mjpeg": ["mjpeg", "-pix_fmt", "yuvj420p"],
    "flv1": ["flv"],
    "h263": ["h263", "-s", "176x144"],
    "wmv2": ["wmv2"],
    "theora": ["libtheora"],
    "ffv1": ["ffv1"],
    "png": ["png"],
    "dv": ["dvvideo", "-s", "720x576", *YUV],
    "rawvideo": ["rawvideo", *YUV],
    "gif": ["gif"],
}
CONTAINERS = {
    "mp4": "mp4",
    "mov": "mov",
    "mkv": "matroska",
    "webm": "webm",
    "avi": "avi",
    "ts": "mpegts",
    "flv": "flv",
    "mpg": "mpeg",
    "asf": "asf",
    "ogv": "ogg",
    "gif": "gif",
}


def pairs() -> list[tuple[str, str]]:
    return list(itertools.product(CODECS, CONTAINERS))


@pytest.mark.parametrize(("codec", "container"), pairs())
def test_each_frame_is_read_at_its_time(codec: str, container: str, tmp_path: Path) -> None:
    path = tmp_path / f"input.{container}"
    written = ffmpeg([*PICTURE, "-c:v", *CODECS[codec], "-f", CONTAINERS[container], path])
    if not written:
        print("CANT", codec, container)
        return
    told = shown_times(path)
    print("TOLD", codec, container, len(told))
    if not told:
        with pytest.raises(Refusal) as caught:
            read_timeline(path, Limits())
        assert caught.value.code is ErrorCode.NOT_A_VIDEO
        return
    timeline = read_timeline(path, Limits())
    times = [int(pts) * timeline.time_base for pts in timeline.pts]
    assert [time - times[0] for time in times] == [time - told[0] for time in told]
    assert len(times) == FRAMES
    plan, missing = select_frames(timeline), list[int]()
    wanted = Wanted(plan, range(len(plan)), Form.RGB)
    assert sum(1 for _ in read_frames(path, wanted, Limits(), missing)) == FRAMES
    assert not missing
