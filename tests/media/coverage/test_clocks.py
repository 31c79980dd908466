"""Times of frames: to the tick those that ffmpeg tells, and a clock that rises where none does."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.media.ffmpeg import ffmpeg, pictures, shown_times
from workers.masks import encode as encode_mask
from workers.media.cautions import Caution
from workers.media.decode import Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import FramePlan, Ticks, select_frames
from workers.media.reading import read_frames, read_timeline
from workers.media.stitch import Piece, source_clock, stitch
from workers.media.timestamps import UNKNOWN, clock_of

Clip = Callable[[str], Path]

KINDS = ["cfr.mp4", "vfr.mp4", "edited.mp4", "late.ts", "open.ts", "turned.mp4", "hidden.webm"]
TICK = Fraction(1, 1000)


def spans(plan: FramePlan, parts: int) -> list[range]:
    """The plan in so many parts, as even as they can be."""
    bounds = [len(plan) * part // parts for part in range(parts + 1)]
    return [range(first, last) for first, last in pairwise(bounds)]


def write_video(path: Path, plan: FramePlan, parts: int, target: Path) -> None:
    """Writes the planned frames in so many pieces, and joins them."""
    pieces = []
    for span in spans(plan, parts):
        pieces.append(Piece(target.with_name(f"{parts}-{span.start}.mp4"), span))
        with PieceWriter(pieces[-1].path, plan) as writer:
            for frame in read_frames(path, Wanted(plan, span, Form.PLANES), Limits(), []):
                writer.write(frame.pixels, frame.pts)
    stitch(pieces, source_clock(plan, range(len(plan))), target)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("start_s", "end_s", "stride", "parts"), [(0.0, None, 1, 1), (0.77, 3.33, 3, 7)]
)
def test_the_written_video_shows_the_frames_at_their_times_in_the_source(
    name: str,
    start_s: float,
    end_s: float | None,
    stride: int,
    parts: int,
    clip: Clip,
    tmp_path: Path,
) -> None:
    path, told = clip(name), shown_times(clip(name))
    plan = select_frames(read_timeline(path, Limits()), start_s, end_s, stride)
    write_video(path, plan, parts, tmp_path / "video.mp4")
    times = [time - told[0] for time in told]
    end = Fraction(str(end_s)) if end_s else times[-1] + 1
    wanted = [time for time in times if Fraction(str(start_s)) <= time < end][::stride]
    assert shown_times(tmp_path / "video.mp4") == [time - wanted[0] for time in wanted]


@pytest.mark.parametrize("name", ["vfr.mp4", "open.ts", "packed.avi"])
def test_fifty_parts_give_the_masks_of_one(name: str, clip: Clip) -> None:
    plan = select_frames(read_timeline(clip(name), Limits()))

    def masks(parts: int) -> list[str]:
        wanted = [Wanted(plan, span, Form.RGB) for span in spans(plan, parts)]
        frames = (f for part in wanted for f in read_frames(clip(name), part, Limits(), []))
        return [encode_mask(frame.pixels[..., 0] > 128).counts for frame in frames]

    assert masks(1) == masks(min(50, len(plan)))


def test_fifty_pieces_show_the_frames_of_one_at_the_same_times(clip: Clip, tmp_path: Path) -> None:
    """The encoder begins each piece anew, so the coded pixels are near and not the same."""
    plan = select_frames(read_timeline(clip("cfr.mp4"), Limits()))
    shown = []
    for parts in (1, 50):
        target = tmp_path / f"{parts}.mp4"
        write_video(clip("cfr.mp4"), plan, parts, target)
        frames = pictures(target, pixels="gray", frames=len(plan))
        shown.append((shown_times(target), frames.reshape(len(plan), 120, 160).astype(int)))
    (times, whole), (times_of_pieces, pieced) = shown
    assert times == times_of_pieces
    same = np.abs(whole - pieced).mean((1, 2))
    following = np.abs(whole[:-1] - pieced[1:]).mean((1, 2))
    assert same.max() < 4
    assert (same[:-1] < following).all()


def test_a_recording_whose_clock_is_set_back_goes_on_one_frame_later(tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1"]
    assert ffmpeg([*picture, "-c:v", "libx264", "one.ts"], tmp_path)
    (tmp_path / "input.ts").write_bytes((tmp_path / "one.ts").read_bytes() * 2)
    timeline = read_timeline(tmp_path / "input.ts", Limits())
    assert np.diff(timeline.pts).tolist() == [3600] * 49
    assert timeline.cautions == (Caution.BROKEN_CLOCK,)
    plan, missing = select_frames(timeline), list[int]()
    frames = read_frames(
        tmp_path / "input.ts", Wanted(plan, range(50), Form.RGB), Limits(), missing
    )
    assert [frame.source_index for frame in frames] == list(range(50))


def test_a_change_of_size_is_told(clip: Clip, tmp_path: Path) -> None:
    path = tmp_path / "input.ts"
    path.write_bytes(clip("mpeg2.ts").read_bytes())
    assert read_timeline(path, Limits()).cautions == ()
    ffmpeg(["-i", clip("small.ts"), "-c:v", "mpeg2video", "small.ts"], tmp_path)
    path.write_bytes(path.read_bytes() + (tmp_path / "small.ts").read_bytes())
    assert Caution.SIZE_CHANGES in read_timeline(path, Limits()).cautions


def ticks(*values: int) -> Ticks:
    return np.array(values, np.int64)


NONE = UNKNOWN


@pytest.mark.parametrize(
    ("pts", "dts", "clock", "told", "broken"),
    [
        ((3, 5, 9), (0, 1, 2), (3, 5, 9), True, False),
        ((0, 120, 40, 80, 240), (0, 40, 80, 120, 160), (0, 40, 80, 120, 240), False, False),
        ((0, NONE, 80, NONE), (0, 40, 80, 120), (0, 40, 80, 120), False, False),
        ((NONE, NONE, NONE), (NONE, NONE, NONE), (0, 33, 66), False, True),
        ((5, 5, 5), (5, 5, 5), (0, 33, 66), False, True),
        ((5, NONE, 5), (5, NONE, 5), (0, 33, 66), False, True),
        ((0, 40, 80, 80, 120), (0, 0, 0, 0, 0), (0, 40, 80, 120, 160), False, True),
        (
            (*range(1000, 1680, 40), *range(0, 680, 40)),
            (0,) * 34,
            range(1000, 2360, 40),
            False,
            True,
        ),
    ],
    ids=["rising", "reordered", "some", "none", "equal", "neither", "twice", "set back"],
)
def test_every_clock_rises(
    pts: tuple[int, ...], dts: tuple[int, ...], clock: tuple[int, ...], told: bool, broken: bool
) -> None:
    made = clock_of(ticks(*pts), ticks(*dts), TICK, Fraction(30))
    assert made.pts.tolist() == list(clock)
    assert (made.told, made.broken) == (told, broken)
