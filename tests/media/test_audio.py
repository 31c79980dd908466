"""The sound of the processed range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from visionseg.artifacts.store import is_full
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.audio import NoSound
from workers.media.limits import Limits
from workers.media.plan import FramePlan, select_frames
from workers.media.reading import cut_audio, read_timeline

Clip = Callable[[str], Path]


def plan_of(
    path: Path, limits: Limits, start_s: float = 0.0, end_s: float | None = None
) -> FramePlan:
    return select_frames(read_timeline(path, limits), start_s, end_s)


def heard(path: Path) -> tuple[str, float, float]:
    """Codec, first time and length in seconds."""
    with av.open(str(path)) as container:
        name = container.streams.audio[0].codec_context.name
        frames = list(container.decode(audio=0))
        length = sum(frame.samples for frame in frames) / frames[0].sample_rate
        return name, float(frames[0].time or 0), length


@pytest.mark.parametrize("name", ["cfr.mp4", "late.ts", "mpeg2.ts", "plain.mkv", "pcm.mkv"])
@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, None), (1.4, 3.0)])
def test_sound_covers_the_range_and_begins_at_zero(
    name: str, start_s: float, end_s: float | None, clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    path = tmp_path / "sound.mp4"
    cut_audio(clip(name), path, plan_of(clip(name), limits, start_s, end_s), limits)
    _, first, length = heard(path)
    assert first == pytest.approx(0, abs=0.06)
    assert length == pytest.approx((end_s or 4.0) - start_s, abs=0.08)


def test_sound_that_mp4_holds_is_copied(clip: Clip, tmp_path: Path, limits: Limits) -> None:
    path = tmp_path / "sound.mp4"
    cut_audio(clip("cfr.mp4"), path, plan_of(clip("cfr.mp4"), limits), limits)
    copied, original = path.read_bytes(), clip("cfr.mp4").read_bytes()
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    assert len(packets) > 100
    assert all(packet in copied and packet in original for packet in packets)


def test_a_video_without_sound_says_so(clip: Clip, tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(NoSound, match="no sound"):
        cut_audio(clip("vfr.mp4"), tmp_path / "sound.mp4", plan_of(clip("vfr.mp4"), limits), limits)
    assert not list(tmp_path.iterdir())


def test_sound_that_ends_before_the_range_says_so(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    silent = clip("short_sound.mkv")
    with pytest.raises(NoSound, match="in that range"):
        cut_audio(silent, tmp_path / "sound.mp4", plan_of(silent, limits, 3.0), limits)


def test_a_full_disk_is_a_failure_and_not_a_video_without_sound(
    clip: Clip, tmp_path: Path, limits: Limits
) -> None:
    plan = plan_of(clip("cfr.mp4"), limits)
    (tmp_path / ".sound.mp4.part").symlink_to("/dev/full")
    with pytest.raises((OSError, Refusal)) as failed:
        cut_audio(clip("cfr.mp4"), tmp_path / "sound.mp4", plan, limits)
    told = failed.value
    assert is_full(told) or (isinstance(told, Refusal) and told.code is ErrorCode.STORAGE_FULL)
    assert list(tmp_path.iterdir()) == []
