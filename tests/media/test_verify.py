"""Results that were damaged between writing and checking are found; whole ones pass."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.damage import DAMAGES, Damage, flip
from workers.media.archive import join_zips, write_zip
from workers.media.clock import source_clock, steady_clock
from workers.media.decode import Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import JailMode, Limits
from workers.media.names import INDEX_NAME
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.png import encode_mask
from workers.media.reading import cut_audio, read_frames, read_timeline
from workers.media.stitch import Piece, stitch
from workers.media.sums import BrokenOutput, FileSum, PacketSum, summing
from workers.media.verify import Mp4, check_mp4, check_zip

Clip = Callable[[str], Path]

SIZE = (64, 48)
FRAMES = 30


@dataclass(frozen=True)
class Written:
    """An mp4 and what it should be; the piece that it was made of."""

    path: Path
    wanted: Mp4
    piece: Piece


@pytest.fixture(params=["source", "steady"])
def written(request: pytest.FixtureRequest, clip: Clip, tmp_path: Path) -> Written:
    """A film with sound, and one whose frames are B-frames too at a rate of its own."""
    source, limits = clip("cfr.mp4"), Limits(jail=JailMode.OFF)
    plan = select_frames(read_timeline(source, limits), 0.5, None, 2, FRAMES)
    span = range(len(plan))
    with PieceWriter(tmp_path / "piece.mp4", plan) as writer:
        for frame in read_frames(source, Wanted(plan, span, Form.PLANES), limits, []):
            writer.write(frame.pixels, frame.pts)
    piece = Piece(tmp_path / "piece.mp4", span, writer.sum)
    clock = steady_clock(FRAMES, 29.97) if request.param == "steady" else source_clock(plan, span)
    sound = tmp_path / "sound.mp4"
    cut_audio(source, sound, plan, limits)
    target = tmp_path / "video.mp4"
    sums = stitch([piece], clock, target, sound if request.param == "source" else None)
    return Written(target, Mp4(plan.picture, clock, sums), piece)


damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)


def test_whole_films_pass_as_pieces_and_joined(written: Written) -> None:
    check_mp4(written.path, written.wanted)
    sums = {"video": written.wanted.sums["video"]}
    assert written.piece.sum == sums["video"]


@damages
def test_a_damaged_film_is_found(written: Written, damage: Damage) -> None:
    damage(written.path)
    with pytest.raises(BrokenOutput):
        check_mp4(written.path, written.wanted)


def test_a_film_of_other_times_is_found(written: Written) -> None:
    clock = written.wanted.clock
    for change in (1, -1):
        pts = clock.pts.copy()
        pts[7] += change
        late = replace(written.wanted, clock=replace(clock, pts=pts))
        with pytest.raises(BrokenOutput, match="times"):
            check_mp4(written.path, late)
    slow = replace(clock, time_base=clock.time_base * Fraction(3, 2))
    with pytest.raises(BrokenOutput, match="times"):
        check_mp4(written.path, replace(written.wanted, clock=slow))


def test_a_film_of_another_number_of_frames_or_size_is_found(written: Written) -> None:
    fewer = replace(written.wanted.clock, pts=written.wanted.clock.pts[:-1])
    with pytest.raises(BrokenOutput, match="times"):
        check_mp4(written.path, replace(written.wanted, clock=fewer))
    wide = replace(written.wanted.picture, width=162)
    with pytest.raises(BrokenOutput, match="size"):
        check_mp4(written.path, replace(written.wanted, picture=wide))


def test_pictures_that_cannot_be_decoded_are_found(written: Written, tmp_path: Path) -> None:
    """Though sums and times are right: the encoder itself wrote nonsense."""
    data = bytearray(written.path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 6000] = bytes(6000)
    written.path.write_bytes(data)
    with pytest.raises(BrokenOutput, match=r"decoded|read"):
        check_mp4(written.path, written.wanted)


def test_a_damaged_piece_is_not_joined(written: Written, tmp_path: Path) -> None:
    flip(0.6)(written.piece.path)
    with pytest.raises(BrokenOutput, match="what was encoded"):
        stitch([written.piece], written.wanted.clock, tmp_path / "again.mp4")
    assert not (tmp_path / "again.mp4").exists()


NAMES = [f"mask_{number:06d}_0001.png" for number in range(5)]


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    """Five masks in two parts, and an index."""
    noise = np.random.default_rng(0).random((SIZE[1], SIZE[0])) < 0.5
    parts = []
    for number, names in enumerate((NAMES[:2], NAMES[2:])):
        parts.append(tmp_path / f"{number}.zip")
        with write_zip(parts[-1]) as archive:
            for name in names:
                archive.add(name, encode_mask(noise))
    (tmp_path / INDEX_NAME).write_text(json.dumps({"frames": list(range(99))}))
    names = join_zips(parts, tmp_path / "whole.zip", tmp_path / INDEX_NAME)
    assert names == [*NAMES, INDEX_NAME]
    return tmp_path / "whole.zip"


def test_a_whole_zip_passes(zipped: Path) -> None:
    check_zip(zipped, [*NAMES, INDEX_NAME], SIZE)


@damages
def test_a_damaged_zip_is_found(zipped: Path, damage: Damage) -> None:
    damage(zipped)
    with pytest.raises(BrokenOutput):
        check_zip(zipped, [*NAMES, INDEX_NAME], SIZE)


@pytest.mark.parametrize(
    "names", [NAMES, [*NAMES[::-1], INDEX_NAME], [*NAMES, INDEX_NAME, "more.png"], NAMES[1:]]
)
def test_a_zip_of_other_names_is_found(zipped: Path, names: list[str]) -> None:
    with pytest.raises(BrokenOutput, match="holds"):
        check_zip(zipped, names, SIZE)


def test_a_zip_of_pictures_of_another_size_is_found(zipped: Path) -> None:
    with pytest.raises(BrokenOutput, match="size"):
        check_zip(zipped, [*NAMES, INDEX_NAME], (SIZE[0], SIZE[1] + 1))


def test_an_entry_that_is_no_picture_is_found(tmp_path: Path) -> None:
    with write_zip(tmp_path / "a.zip") as archive:
        archive.add("a.png", b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(BrokenOutput, match="no PNG"):
        check_zip(tmp_path / "a.zip", ["a.png"], SIZE)
    assert zipfile.ZipFile(tmp_path / "a.zip").testzip() is None


@damages
def test_a_damaged_file_is_not_what_was_summed(tmp_path: Path, damage: Damage) -> None:
    with summing(tmp_path / "a") as file:
        for number in range(1000):
            file.say(f"line {number}\n")
    file.sum.check(tmp_path / "a")
    assert file.sum == FileSum.of((tmp_path / "a").read_bytes())
    damage(tmp_path / "a")
    with pytest.raises(BrokenOutput):
        file.sum.check(tmp_path / "a")


def test_sums_count_from_nothing() -> None:
    assert PacketSum() == PacketSum(0, 0)
    assert FileSum.of(b"") == FileSum()
