"""Every container with every codec that ffmpeg writes into it: each frame is read, at its time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.documents import ROOT, rows
from tests.media.ffmpeg import ffmpeg, shown_times
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.cautions import SENTENCES
from workers.media.decode import Wanted
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import Timeline, select_frames
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
    "theora": ["libtheora", "-g", "1"],
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


READ = {
    "mp4": "h264 hevc vp9 av1 mpeg1 mpeg2 mpeg4 mjpeg ffv1 png",
    "mov": "h264 hevc mpeg1 mpeg2 mpeg4 prores mjpeg flv1 h263 wmv2 theora ffv1 png dv gif",
    "mkv": " ".join(CODECS),
    "webm": "vp8 vp9 av1",
    "avi": "h264 vp8 vp9 av1 mpeg1 mpeg2 mpeg4 prores mjpeg flv1 h263 wmv2 theora ffv1 png dv "
    "rawvideo",
    "ts": "h264 hevc mpeg1 mpeg2 mpeg4",
    "flv": "h264 hevc vp9 av1 flv1",
    "mpg": "h264 hevc mpeg1 mpeg2 mpeg4",
    "asf": "h264 vp8 vp9 av1 mpeg1 mpeg2 mpeg4 mjpeg flv1 h263 wmv2 theora ffv1 png dv rawvideo",
    "ogv": "vp8 theora",
    "gif": "gif",
}
"""What ffmpeg writes and reads again."""

PAIRS = [(codec, container) for container, codecs in READ.items() for codec in codecs.split()]


def written(codec: str, container: str, folder: Path) -> Path | None:
    path = folder / f"input.{container}"
    coded = [*PICTURE, "-c:v", *CODECS[codec], "-f", CONTAINERS[container]]
    return path if ffmpeg([*coded, path]) else None


@pytest.mark.parametrize(("codec", "container"), PAIRS)
def test_each_frame_is_read_at_its_time(codec: str, container: str, tmp_path: Path) -> None:
    path = written(codec, container, tmp_path)
    assert path
    timeline = read_timeline(path, Limits())
    assert from_first(seconds(timeline)) == from_first(shown_times(path))
    assert timeline.pts.size == FRAMES
    plan, missing = select_frames(timeline), list[int]()
    wanted = Wanted(plan, range(FRAMES), Form.RGB)
    frames = read_frames(path, wanted, Limits(), missing)
    assert [frame.source_index for frame in frames] == list(range(FRAMES))
    assert not missing


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_ffmpeg_cannot_write_or_read_is_in_no_list_and_is_refused(
    container: str, tmp_path: Path
) -> None:
    for codec in set(CODECS) - set(READ[container].split()):
        path = written(codec, container, tmp_path)
        if path:
            assert shown_times(path) == []
            with pytest.raises(Refusal) as caught:
                read_timeline(path, Limits())
            assert caught.value.code is ErrorCode.NOT_A_VIDEO


@pytest.mark.parametrize(
    ("document", "head"), [("docs/inputs.md", "Container"), ("docs/zh/inputs.md", "容器")]
)
def test_the_documents_list_what_is_tested(document: str, head: str) -> None:
    told = dict(rows(ROOT / document, head))
    assert told == READ


@pytest.mark.parametrize(
    ("document", "head"), [("docs/inputs.md", "Warning"), ("docs/zh/inputs.md", "警告")]
)
def test_the_documents_list_every_caution(document: str, head: str) -> None:
    assert set(SENTENCES.values()) <= {sentence for sentence, _ in rows(ROOT / document, head)}


def seconds(timeline: Timeline) -> list[Fraction]:
    return [int(pts) * timeline.time_base for pts in timeline.pts]


def from_first(times: list[Fraction]) -> list[Fraction]:
    """A decoder that holds frames back moves all times of an AVI or ASF by the same distance."""
    return [time - times[0] for time in times]
