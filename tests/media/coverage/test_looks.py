"""How frames look, against what the ffmpeg program shows: turned, mirrored, deep, interlaced."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.media.ffmpeg import ffmpeg, pictures
from workers.media.cautions import Caution
from workers.media.decode import Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import FramePlan, select_frames
from workers.media.reading import read_frames, read_timeline
from workers.media.stitch import Piece, source_clock, stitch

Clip = Callable[[str], Path]
Made = Callable[[list[str]], Path]
PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=25", "-frames:v", "5"]
X264 = ["-c:v", "libx264", "-preset", "ultrafast"]
HALF_CLEAR = "colorchannelmixer=aa=0.5"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """A film of that recipe, the last word of which is its name."""

    def make(recipe: list[str]) -> Path:
        assert ffmpeg(recipe, tmp_path)
        return tmp_path / recipe[-1]

    return make


def first(path: Path, form: Form) -> tuple[FramePlan, npt.NDArray[np.uint8]]:
    plan = select_frames(read_timeline(path, Limits()))
    (frame,) = read_frames(path, Wanted(plan, range(1), form), Limits(), [])
    return plan, frame.pixels


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("flips", [(), ("h",), ("v",), ("h", "v")], ids="".join)
def test_frames_stand_as_ffmpeg_turns_and_flips_them(
    turned: int, flips: tuple[str, ...], made: Made
) -> None:
    made([*PICTURE, *X264, "-pix_fmt", "yuv420p", "plain.mp4"])
    marks = ["-display_rotation", str(turned), *(f"-display_{flip}flip" for flip in flips)]
    path = made([*marks, "-i", "plain.mp4", "-c", "copy", "turned.mp4"])
    _, planes = first(path, Form.PLANES)
    np.testing.assert_array_equal(planes.reshape(-1), pictures(path, pixels="yuv420p"))


@pytest.mark.parametrize("size", ["97x64", "96x65", "97x65"])
def test_odd_pictures_are_mirrored_too(size: str, made: Made) -> None:
    plain = [*PICTURE, "-vf", f"scale={size}", *X264, "-pix_fmt", "yuv444p", "plain.mp4"]
    straight, mirrored = (
        first(made(plain), Form.RGB),
        made([*["-display_hflip", "-i", "plain.mp4", "-c", "copy", "mirrored.mp4"]]),
    )
    plan, shown = first(mirrored, Form.RGB)
    np.testing.assert_array_equal(shown, straight[1][:, ::-1])
    _, planes = first(mirrored, Form.PLANES)
    again = av.VideoFrame.from_ndarray(planes, format="yuv420p").to_ndarray(format="rgb24")
    height, width = plan.picture.height, plan.picture.width
    assert np.abs(again[:height, :width].astype(int) - shown).mean() < 12


@pytest.mark.parametrize(
    ("coded", "name"),
    [
        ([*X264, "-pix_fmt", "yuv420p10le"], "deep.mp4"),
        ([*X264, "-pix_fmt", "yuv422p10le"], "deep422.mkv"),
        (["-c:v", "prores_ks"], "prores.mov"),
        (["-c:v", "libvpx-vp9", "-pix_fmt", "yuv440p"], "vp9.webm"),
        (["-c:v", "ffv1", "-pix_fmt", "gray16le"], "grey.mkv"),
        (["-c:v", "libx264rgb"], "rgb.mp4"),
    ],
)
def test_pixels_of_other_depths_and_samplings_are_those_of_ffmpeg(
    coded: list[str], name: str, made: Made
) -> None:
    path = made([*PICTURE, "-vf", "gblur=sigma=6", *coded, name])
    _, shown = first(path, Form.RGB)
    wanted = pictures(path, pixels="rgb24").reshape(shown.shape)
    difference = np.abs(shown.astype(int) - wanted)
    assert difference.mean() < 2
    assert difference.max() < 20  # at edges of colour, which two filters spread differently


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_high_dynamic_range_is_mapped_and_told(transfer: str, made: Made) -> None:
    told = f"setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}"
    path = made([*PICTURE, "-vf", told, *X264, "-pix_fmt", "yuv420p10le", "hdr.mp4"])
    timeline = read_timeline(path, Limits())
    assert timeline.cautions == (Caution.HIGH_DYNAMIC_RANGE,)
    assert (timeline.picture.matrix, timeline.picture.transfer) == (1, 1)
    assert first(path, Form.RGB)[1].std() > 20


@pytest.mark.parametrize(
    ("recipe", "caution"),
    [
        ([*X264, "-flags", "+ildct+ilme", "-vf", "setfield=tff", "a.mp4"], Caution.INTERLACED),
        (["-c:v", "mpeg2video", "-flags", "+ildct+ilme", "a.ts"], Caution.INTERLACED),
        (
            ["-vf", f"format=yuva444p10le,{HALF_CLEAR}", "-c:v", "prores_ks", "a.mov"],
            Caution.TRANSPARENT,
        ),
        (
            [
                "-vf",
                f"format=yuva420p,{HALF_CLEAR}",
                "-c:v",
                "libvpx-vp9",
                "-pix_fmt",
                "yuva420p",
                "a.webm",
            ],
            Caution.TRANSPARENT,
        ),
        (["-c:v", "qtrle", "-pix_fmt", "argb", "a.mov"], Caution.TRANSPARENT),
    ],
    ids=["h264", "mpeg2", "prores", "vp9", "qtrle"],
)
def test_what_no_result_shows_is_told(recipe: list[str], caution: Caution, made: Made) -> None:
    path = made([*PICTURE, *recipe])
    assert read_timeline(path, Limits()).cautions == (caution,)
    assert first(path, Form.RGB)[1].shape == (64, 96, 3)


def test_an_interlaced_frame_holds_both_fields_as_they_are_stored(made: Made) -> None:
    weave = ["-vf", "tinterlace=interleave_top,setfield=tff", "-flags", "+ildct+ilme"]
    path = made([*PICTURE, *weave, *X264, "-pix_fmt", "yuv420p", "woven.mp4"])
    _, planes = first(path, Form.PLANES)
    np.testing.assert_array_equal(planes.reshape(-1), pictures(path, pixels="yuv420p"))


@pytest.mark.parametrize(("name", "aspect"), [("wide.mp4", (4, 3)), ("stretched.mp4", (3, 4))])
def test_pixels_that_are_not_square_stay_so_in_the_written_video(
    name: str, aspect: tuple[int, int], clip: Clip, tmp_path: Path
) -> None:
    plan = select_frames(read_timeline(clip(name), Limits()))
    with PieceWriter(tmp_path / "piece.mp4", plan) as writer:
        for frame in read_frames(clip(name), Wanted(plan, range(5), Form.PLANES), Limits(), []):
            writer.write(frame.pixels, frame.pts)
    pieces = [Piece(tmp_path / "piece.mp4", range(5))]
    stitch(pieces, source_clock(plan, range(5)), tmp_path / "video.mp4")
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(*aspect)
    assert b"pasp" in (tmp_path / "video.mp4").read_bytes()
