"""Pieces encoded apart and joined: every frame, at its exact time, however many pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer

from workers.media import stitch as stitching
from workers.media.decode import VideoFrame, Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import FramePlan, select_frames
from workers.media.reading import cut_audio, read_frames, read_timeline
from workers.media.stitch import (
    BrokenOutput,
    Piece,
    check_mp4,
    source_clock,
    steady_clock,
    stitch,
)

Clip = Callable[[str], Path]
Times = Callable[[Path], list[Fraction]]


def plan_of(path: Path, stride: int = 1) -> FramePlan:
    return select_frames(read_timeline(path, Limits()), 0.5, None, stride)


def read_planes(source: Path, plan: FramePlan, span: range) -> Iterator[VideoFrame]:
    return read_frames(source, Wanted(plan, span, Form.PLANES), Limits(), [])


def encode(source: Path, plan: FramePlan, bounds: Sequence[int], folder: Path) -> list[Piece]:
    pieces = []
    for first, last in pairwise(bounds):
        piece = Piece(folder / f"{first}.mp4", range(first, last))
        with PieceWriter(piece.path, plan) as writer:
            for frame in read_planes(source, plan, range(first, last)):
                writer.write(frame.pixels, frame.pts)
        pieces.append(piece)
    return pieces


def has_format(container: InputContainer) -> bool:
    """Whether its sound has a sample format, which for these codecs only a decoder knows."""
    context = container.streams.audio[0].codec_context
    return bool(context.format)


def frame_bytes(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def length_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


@pytest.mark.parametrize(
    ("name", "stride"),
    [
        ("cfr.mp4", 1),
        ("cfr.mp4", 7),
        ("vfr.mp4", 1),
        ("edited.mp4", 1),
        ("late.ts", 2),
        ("packed.avi", 1),
        ("odd_turned.mp4", 3),
        ("moving.gif", 1),
        ("moving.webp", 1),
    ],
)
@pytest.mark.parametrize("parts", [1, 4])
def test_joined_pieces_are_exact_in_frames_and_times(
    name: str, stride: int, parts: int, clip: Clip, times: Times, tmp_path: Path
) -> None:
    plan = plan_of(clip(name), stride)
    bounds = [len(plan) * part // parts for part in range(parts + 1)]
    pieces = encode(clip(name), plan, bounds, tmp_path)
    target = tmp_path / "joined.mp4"
    stitch(pieces, source_clock(plan, range(len(plan))), target)
    check_mp4(target, len(plan), plan)
    wanted = [int(pts - plan.pts[0]) * plan.time_base for pts in plan.pts]
    assert times(target) == wanted
    assert length_s(target) == pytest.approx(float(wanted[-1] + 1 / plan.rate), abs=0.01)
    alone = [shown for piece in pieces for shown in frame_bytes(piece.path)]
    assert frame_bytes(target) == alone


def test_pieces_of_one_frame_join(clip: Clip, times: Times, tmp_path: Path) -> None:
    plan = plan_of(clip("vfr.mp4"), 10)
    pieces = encode(clip("vfr.mp4"), plan, range(len(plan) + 1), tmp_path)
    target = tmp_path / "joined.mp4"
    stitch(pieces, source_clock(plan, range(len(plan))), target)
    assert times(target) == [int(pts - plan.pts[0]) * plan.time_base for pts in plan.pts]


def test_frames_that_are_missing_leave_a_gap(clip: Clip, times: Times, tmp_path: Path) -> None:
    source = clip("cfr.mp4")
    plan = plan_of(source)
    kept = [0, 1, 2, 5, 6]
    with PieceWriter(tmp_path / "a.mp4", plan) as writer:
        for index in kept:
            for frame in read_planes(source, plan, range(index, index + 1)):
                writer.write(frame.pixels, frame.pts)
    target = tmp_path / "joined.mp4"
    stitch([Piece(tmp_path / "a.mp4", kept)], source_clock(plan, kept), target)
    assert times(target) == [Fraction(index, 25) for index in kept]


@pytest.mark.parametrize("fps", [5, 29.97, 60, 0.5, 12.5])
def test_with_fps_frame_n_is_shown_at_n_over_fps(
    fps: float, clip: Clip, times: Times, tmp_path: Path
) -> None:
    plan = plan_of(clip("vfr.mp4"), 2)
    pieces = encode(clip("vfr.mp4"), plan, [0, 7, len(plan)], tmp_path)
    target = tmp_path / "joined.mp4"
    stitch(pieces, steady_clock(len(plan), fps), target)
    rate = Fraction(str(fps))
    assert times(target) == [index / rate for index in range(len(plan))]
    assert length_s(target) == pytest.approx(len(plan) / fps, abs=0.01)


def test_the_index_stands_before_the_data_and_shape_and_colour_are_told(
    clip: Clip, tmp_path: Path
) -> None:
    plan = plan_of(clip("odd.mp4"))
    stitch(
        encode(clip("odd.mp4"), plan, [0, 10], tmp_path),
        source_clock(plan, range(10)),
        tmp_path / "joined.mp4",
    )
    data = (tmp_path / "joined.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "joined.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height) == (162, 92)


def test_pixels_survive_the_encoder(clip: Clip, tmp_path: Path) -> None:
    source = clip("odd_turned.mp4")
    plan = plan_of(source)
    encode(source, plan, [0, 3], tmp_path)
    frame = next(read_planes(source, plan, range(1)))
    shown = np.frombuffer(frame_bytes(tmp_path / "0.mp4")[0], np.uint8)
    wanted = frame.pixels.reshape(-1)
    assert np.abs(shown.astype(int) - wanted).mean() < 4


def test_sound_goes_along(clip: Clip, tmp_path: Path) -> None:
    plan = plan_of(clip("cfr.mp4"))
    pieces = encode(clip("cfr.mp4"), plan, [0, 40, len(plan)], tmp_path)
    cut_audio(clip("cfr.mp4"), tmp_path / "sound.mp4", plan, Limits())
    target = tmp_path / "joined.mp4"
    stitch(pieces, source_clock(plan, range(len(plan))), target, tmp_path / "sound.mp4")
    check_mp4(target, len(plan), plan)
    with av.open(str(target)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert samples / 44100 == pytest.approx(3.5, abs=0.05)


@pytest.mark.parametrize(
    "name", ["cfr.mp4", "short_sound.mkv", "pcm.mkv", "opus.mkv", "ac3.mkv", "flac.mkv"]
)
def test_no_decoder_is_opened_for_the_sound_of_a_client(
    name: str, clip: Clip, tmp_path: Path
) -> None:
    plan = plan_of(clip(name))
    pieces = encode(clip(name), plan, [0, 10], tmp_path)
    sound = tmp_path / "sound.mp4"
    cut_audio(clip(name), sound, plan, Limits())
    with av.open(str(sound)) as read, stitching._open(sound) as shunned:
        assert has_format(read)
        assert not has_format(shunned)
    stitch(pieces, source_clock(plan, range(10)), tmp_path / "joined.mp4", sound)
    with stitching._open(tmp_path / "joined.mp4") as joined:
        assert not has_format(joined)
    with av.open(str(tmp_path / "joined.mp4")) as joined:
        assert sum(frame.samples for frame in joined.decode(audio=0)) > 10_000


def test_a_piece_with_other_frames_than_told_is_a_fault(clip: Clip, tmp_path: Path) -> None:
    plan = plan_of(clip("cfr.mp4"))
    pieces = encode(clip("cfr.mp4"), plan, [0, 5], tmp_path)
    wrong = [Piece(pieces[0].path, range(6))]
    with pytest.raises(BrokenOutput, match="5 frames, not 6"):
        stitch(wrong, source_clock(plan, range(6)), tmp_path / "joined.mp4")
    assert not (tmp_path / "joined.mp4").exists()


def test_pieces_of_different_settings_are_a_fault(clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    small, large = plan_of(clip("odd.mp4")), plan_of(clip("cfr.mp4"))
    pieces = [
        *encode(clip("odd.mp4"), small, [0, 2], tmp_path / "other"),
        *encode(clip("cfr.mp4"), large, [2, 4], tmp_path),
    ]
    with pytest.raises(BrokenOutput, match="settings"):
        stitch(pieces, source_clock(large, range(4)), tmp_path / "joined.mp4")


def test_a_check_finds_a_wrong_number_of_frames(clip: Clip) -> None:
    plan = select_frames(read_timeline(clip("cfr.mp4"), Limits()))
    check_mp4(clip("cfr.mp4"), 100, plan)
    with pytest.raises(BrokenOutput, match="100 frames"):
        check_mp4(clip("cfr.mp4"), 99, plan)


def test_a_piece_given_up_leaves_nothing_behind(clip: Clip, tmp_path: Path) -> None:
    source = clip("cfr.mp4")
    plan = plan_of(source)

    def give_up() -> None:
        with PieceWriter(tmp_path / "piece.mp4", plan) as writer:
            for frame in read_planes(source, plan, range(20)):
                writer.write(frame.pixels, frame.pts)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        give_up()
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_encoder_reaches_the_caller(clip: Clip, tmp_path: Path) -> None:
    plan = plan_of(clip("cfr.mp4"))
    planes = np.zeros((180, 160), np.uint8)

    def write_backwards() -> None:
        with PieceWriter(tmp_path / "absent" / "piece.mp4", plan) as writer:
            writer.write(planes, 0)

    with pytest.raises(FileNotFoundError):
        write_backwards()
