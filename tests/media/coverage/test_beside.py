"""What stands in a file beside its picture and sound, and never disturbs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.media.ffmpeg import ffmpeg
from workers.media.audio import NoSound
from workers.media.decode import Wanted
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import cut_audio, read_frames, read_timeline

FRAMES = 25
FILM = [
    *["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1"],
    *["-f", "lavfi", "-i", "sine=duration=1", "-i", "words.srt", "-i", "cover.png"],
    *["-c:v", "libx264", "-c:a", "aac"],
]
PICTURE_AND_SOUND = ["-map", "0", "-map", "1"]
WORDS = [*PICTURE_AND_SOUND, "-map", "2"]
RECIPES = {
    "words.mkv": [*WORDS, "-c:s", "srt"],
    "words.mp4": [*WORDS, "-c:s", "mov_text"],
    "styled.mkv": [*WORDS, "-c:s", "ass", "-attach", "words.srt", "-metadata:s:t", "mimetype=a/b"],
    "clock.mov": [*PICTURE_AND_SOUND, "-timecode", "01:00:00:00"],
    "chapters.mp4": [*PICTURE_AND_SOUND, "-map_metadata", "2", "-map_chapters", "2"],
    "cover.mp4": [
        *["-map", "3", *PICTURE_AND_SOUND, "-c:v:0", "png", "-disposition:v:0", "attached_pic"],
        *["-c:v:1", "libx264"],
    ],
    "two_pictures.mkv": [*PICTURE_AND_SOUND, "-map", "0"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("beside")
    (made / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,900\n字幕 <b>words</b>\n")
    assert ffmpeg(["-f", "lavfi", "-i", "testsrc=size=32x32", "-frames:v", "1", "cover.png"], made)
    return made


def check(path: Path, sound: Path) -> None:
    plan, missing = select_frames(read_timeline(path, Limits())), list[int]()
    assert (plan.picture.width, plan.picture.height) == (64, 48)
    wanted = Wanted(plan, range(len(plan)), Form.RGB)
    assert sum(1 for _ in read_frames(path, wanted, Limits(), missing)) == FRAMES
    assert not missing
    cut_audio(path, sound, plan, Limits())
    assert sound.stat().st_size > 1000


@pytest.mark.parametrize("name", RECIPES)
def test_other_streams_do_not_disturb(name: str, folder: Path, tmp_path: Path) -> None:
    assert ffmpeg([*FILM, *RECIPES[name], name], folder)
    check(folder / name, tmp_path / "sound.mp4")


def test_sound_of_an_unknown_codec_costs_only_the_sound(folder: Path, tmp_path: Path) -> None:
    assert ffmpeg([*FILM, *PICTURE_AND_SOUND, "plain.mkv"], folder)
    path = tmp_path / "input.mkv"
    path.write_bytes((folder / "plain.mkv").read_bytes().replace(b"A_AAC", b"A_ZZZ"))
    plan = select_frames(read_timeline(path, Limits()))
    assert len(plan) == FRAMES
    with pytest.raises(NoSound, match="could not be read"):
        cut_audio(path, tmp_path / "sound.mp4", plan, Limits())


@pytest.mark.parametrize("name", ["title.mp4", "title.avi", "title.mkv"])
def test_words_in_an_old_encoding_do_not_disturb(name: str, folder: Path, tmp_path: Path) -> None:
    title = ["-metadata", "title=Cafe_ole"]
    assert ffmpeg([*FILM, *PICTURE_AND_SOUND, *title, name], folder)
    path = tmp_path / name
    path.write_bytes((folder / name).read_bytes().replace(b"Cafe_ole", b"Caf\xe9 ol\xe9"))
    check(path, tmp_path / "sound.mp4")
