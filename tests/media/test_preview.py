"""Segments of a live preview: small, each playable alone, together without a gap."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from workers.media.encode import PieceWriter
from workers.media.plan import FramePlan, Picture
from workers.media.preview import HZ, preview_clock, write_segments

WIDTH, HEIGHT = 1282, 722
PICTURE = Picture(
    width=WIDTH,
    height=HEIGHT,
    rotation=0,
    pixel_aspect=Fraction(4, 3),
    matrix=1,
    primaries=1,
    transfer=1,
    tone_mapped=False,
)


def _plan(times_ms: list[int]) -> FramePlan:
    return FramePlan(
        pts=np.array(times_ms, np.int64),
        source_index=np.arange(len(times_ms)),
        origin=times_ms[0],
        time_base=Fraction(1, 1000),
        rate=Fraction(10),
        picture=PICTURE,
        seekable=True,
        has_audio=False,
    )


def _piece(path: Path, plan: FramePlan) -> Path:
    planes = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    with PieceWriter(path, plan) as writer:
        for number, pts in enumerate(plan.pts.tolist()):
            planes[:HEIGHT] = 40 + 4 * (number % 40)
            writer.write(planes, pts)
    return path


def _frames(path: Path) -> list[tuple[int, int, int]]:
    """Timestamp in ticks of 90 kHz, width and height of each frame."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(round(frame.time * HZ), frame.width, frame.height) for frame in frames if frame.time]


def test_segments_hold_every_frame_at_its_time(tmp_path: Path) -> None:
    plan = _plan([1000, 1040, 1200, 1900, 4800, 5100, 5133, 9000, 9050])
    ticks = (preview_clock(plan, None) + 900).tolist()
    segments = write_segments(_piece(tmp_path / "piece.mp4", plan), tmp_path, ticks)
    assert [segment.path.name for segment in segments] == ["000.ts", "001.ts"]
    shown = [frame for segment in segments for frame in _frames(segment.path)]
    first = shown[0][0]
    assert [pts - first for pts, _, _ in shown] == [tick - ticks[0] for tick in ticks[:-1]]
    assert {(width, height) for _, width, height in shown} == {(640, 360)}
    assert [segment.length_s for segment in segments] == [4.1, 4.05]


def test_each_segment_begins_anew_and_shows_frames_in_the_order_of_their_coding(
    tmp_path: Path,
) -> None:
    plan = _plan(list(range(0, 9000, 500)))
    ticks = preview_clock(plan, None).tolist()
    for segment in write_segments(_piece(tmp_path / "piece.mp4", plan), tmp_path, ticks):
        with av.open(str(segment.path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            context = container.streams.video[0].codec_context
        assert (context.sample_aspect_ratio, context.colorspace) == (Fraction(4, 3), 1)
        assert packets[0].is_keyframe
        assert all(packet.pts == packet.dts for packet in packets)


@pytest.mark.parametrize(("fps", "last_s"), [(None, 8.1), (0.1, 12.0), (20.0, 0.15)])
def test_a_long_stillness_is_shortened_so_that_players_never_wait_long(
    fps: float | None, last_s: float
) -> None:
    clock = preview_clock(_plan([0, 60_000, 660_000]), fps)
    assert (np.diff(clock) > 0).all()
    assert (np.diff(clock) <= 4 * HZ).all()
    assert int(clock[-1]) == round(last_s * HZ)


def test_times_too_close_for_the_clock_still_rise() -> None:
    plan = replace(_plan([0, 1, 2, 3]), time_base=Fraction(1, 1_000_000))
    assert preview_clock(plan, None).tolist() == [0, 1, 2, 3, 9000]


@pytest.mark.parametrize("frames", [2, 4])
def test_a_piece_of_another_length_is_no_piece(tmp_path: Path, frames: int) -> None:
    piece = _piece(tmp_path / "piece.mp4", _plan([0, 100, 200]))
    with pytest.raises(ValueError, match="frames"):
        write_segments(piece, tmp_path, [9000 * number for number in range(frames + 1)])
