"""Children that die, hang, hoard and lie: the file is refused, and the worker lives on."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from tests.crews import until
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media import reading
from workers.media.audio import UNREADABLE, NoSound
from workers.media.checkpoints import no_checkpoint
from workers.media.decode import Wanted
from workers.media.jail import parents
from workers.media.jail.decoding import Decoding, Task, _sealed_memory
from workers.media.jail.parents import ChildError
from workers.media.jail.results import Nothing
from workers.media.limits import JailMode, Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames

MIB = 1024 * 1024
Clip = Callable[[str], Path]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "input"
    path.write_bytes(b"whatever")
    return path


def hostile(deed: str, **more: Any) -> Task:
    return Task(f"tests.fakes.hostile:{deed}", ErrorCode.NOT_A_VIDEO, **more)


def refusal_of(task: Task, file: Path, limits: Limits | None = None) -> Refusal:
    with (
        pytest.raises(Refusal) as caught,
        Decoding(task, file, limits or Limits(), no_checkpoint) as decoding,
    ):
        decoding.result(Nothing)
    return caught.value


@pytest.mark.parametrize(
    ("deed", "exit_code"),
    [
        ("crash", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
        ("call_what_is_forbidden", -signal.SIGSYS),
        ("leave", 0),
    ],
)
def test_a_file_that_ends_its_decoder_is_unreadable_and_never_tried_again(
    deed: str, exit_code: int, file: Path
) -> None:
    with capture_logs() as logs:
        refusal = refusal_of(hostile(deed), file)
    assert refusal.code == ErrorCode.NOT_A_VIDEO
    assert not refusal.kind.retryable
    assert "broke its decoder" in refusal.detail
    assert [(line["event"], line["exit_code"]) for line in logs] == [("decoder_died", exit_code)]


@pytest.mark.parametrize("deed", ["hoard", "need_too_much"])
def test_a_file_that_needs_too_much_memory_is_too_large(deed: str, file: Path) -> None:
    refusal = refusal_of(hostile(deed), file, Limits(memory_bytes=1024 * MIB))
    assert refusal.code == ErrorCode.INPUT_TOO_LARGE
    assert "memory" in refusal.detail


def test_a_picture_beyond_the_memory_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "input"
    Image.new("RGBA", (5000, 5000)).save(path, "PNG", compress_level=1)
    with pytest.raises(Refusal) as caught:
        reading.open_image(path, Limits(memory_bytes=600 * MIB))
    assert caught.value.code == ErrorCode.INPUT_TOO_LARGE


def test_a_video_beyond_the_memory_is_too_large_and_misses_no_frame(clip: Clip) -> None:
    path = clip("large.mp4")
    plan = select_frames(reading.read_timeline(path, Limits()))
    wanted, missing = Wanted(plan, range(2), Form.RGB), list[int]()
    with pytest.raises(Refusal) as caught:
        list(reading.read_frames(path, wanted, Limits(memory_bytes=256 * MIB), missing))
    assert caught.value.code == ErrorCode.INPUT_TOO_LARGE
    assert not missing


def test_a_silent_decoder_is_timed_out(file: Path) -> None:
    assert refusal_of(hostile("hang"), file, Limits(stall_s=0.5)).code == ErrorCode.DECODE_TIMEOUT


def test_a_decoder_that_lives_for_ever_is_timed_out(file: Path) -> None:
    with capture_logs() as logs:
        refusal = refusal_of(hostile("live_for_ever"), file, Limits(decode_s=0.5))
    assert refusal.code == ErrorCode.DECODE_TIMEOUT
    assert [line["event"] for line in logs] == ["decoder_timed_out"]


def test_processor_time_ends_a_decoder_that_nobody_waits_for(file: Path) -> None:
    limits = Limits(decode_s=0.1)
    with Decoding(hostile("burn"), file, limits, no_checkpoint) as decoding:
        until(lambda: decoding._poll.poll(0))
        with pytest.raises(Refusal) as caught:
            decoding.result(Nothing)
    assert caught.value.code == ErrorCode.DECODE_TIMEOUT


def test_a_killed_decoder_may_be_tried_again(file: Path) -> None:
    with Decoding(hostile("tell_process"), file, Limits(), no_checkpoint) as decoding:
        blocks = decoding.blocks()
        os.kill(next(blocks)[0], signal.SIGKILL)
        with pytest.raises(Refusal) as caught:
            next(blocks)
    assert caught.value.code == ErrorCode.OUT_OF_MEMORY
    assert caught.value.kind.retryable


def test_a_stop_reaches_a_decoder_that_hangs(file: Path) -> None:
    stop_at = time.monotonic() + 0.5

    def stop() -> None:
        if time.monotonic() > stop_at:
            raise InterruptedError

    with (
        pytest.raises(InterruptedError),
        Decoding(hostile("hang"), file, Limits(), stop) as decoding,
    ):
        decoding.result(Nothing)


def test_a_refusal_comes_through_word_by_word(file: Path) -> None:
    refusal = refusal_of(hostile("refuse"), file)
    assert (refusal.code, refusal.detail) == (ErrorCode.VIDEO_TOO_LONG, "an hour")
    assert refusal.detail_zh == "一小时"


def test_a_fault_of_ours_is_told_as_one(file: Path) -> None:
    with (
        pytest.raises(ChildError, match="ZeroDivisionError: a fault of ours"),
        Decoding(hostile("break_down"), file, Limits(), no_checkpoint) as decoding,
    ):
        decoding.result(Nothing)


FILLED = {"kind": "filled", "slot": 0, "size": 1, "number": 0}
REFUSED = {"kind": "refused", "code": "not_a_video", "detail": "a", "detail_zh": "b"}


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize(
    "message",
    [
        framed(b""),
        framed(b"\xff\xfe"),
        framed(b"[" * 10_000),
        framed(b'{"kind": "alive", "more": 1}'),
        framed(b'{"kind": "command"}'),
        framed(json.dumps({**FILLED, "slot": 1}).encode()),
        framed(json.dumps({**FILLED, "slot": -1}).encode()),
        framed(json.dumps({**FILLED, "size": 4097}).encode()),
        framed(json.dumps({**FILLED, "size": "1"}).encode()),
        framed(json.dumps({**FILLED, "size": True}).encode()),
        framed(json.dumps({**FILLED, "number": -1}).encode()),
        framed(json.dumps({**REFUSED, "code": "internal"}).encode()),
        framed(json.dumps({**REFUSED, "detail": "a" * 501}).encode()),
        framed(json.dumps({"kind": "done", "result": 1}).encode()),
        b"\xff" * 4,
        (16 * 1024 + 1).to_bytes(4, "little"),
    ],
    ids=lambda message: repr(message[:70]),
)
def test_what_no_child_of_ours_says_is_not_believed(message: bytes, file: Path) -> None:
    task = hostile("lie", data=message, slot_bytes=4096)
    with (
        capture_logs() as logs,
        pytest.raises(Refusal, match="broke its decoder"),
        Decoding(task, file, Limits(stall_s=20), no_checkpoint) as decoding,
    ):
        next(decoding.blocks())
    assert [line["event"] for line in logs] == ["decoder_distrusted"]


@pytest.mark.parametrize("message", [FILLED, {"kind": "done", "result": {"more": 1}}])
def test_answers_that_nobody_asked_for_are_not_believed(
    message: dict[str, Any], file: Path
) -> None:
    task = hostile("lie", data=framed(json.dumps(message).encode()), slot_bytes=4096)
    assert refusal_of(task, file, Limits(stall_s=20)).code == ErrorCode.NOT_A_VIDEO


def test_a_child_that_hangs_up_and_lives_on_is_not_waited_for(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "STATUS_WAIT_S", 0.5)
    assert refusal_of(hostile("hang_up"), file).code == ErrorCode.NOT_A_VIDEO


def test_a_child_that_takes_no_slot_back_does_not_hold_its_parent(file: Path) -> None:
    task = hostile("never_take_slots_back", slot_bytes=4096)
    with (
        pytest.raises(Refusal, match="broke its decoder"),
        Decoding(task, file, Limits(), no_checkpoint) as decoding,
    ):
        deque(decoding.blocks(), maxlen=0)


def test_no_child_can_cut_the_memory_off(file: Path) -> None:
    with (
        pytest.raises(ChildError, match="PermissionError"),
        Decoding(hostile("cut_memory_off"), file, Limits(), no_checkpoint) as decoding,
    ):
        decoding.result(Nothing)


def test_answers_that_do_not_fit_the_file_are_not_believed(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still, film = tmp_path / "still", clip("cfr.mp4")
    Image.new("RGB", (8, 8)).save(still, "PNG")
    plan = select_frames(reading.read_timeline(film, Limits()))
    monkeypatch.setattr(reading, "_TASKS", "tests.fakes.liars")
    for read in (
        lambda: reading.open_image(still, Limits()),
        lambda: list(reading.read_frames(film, Wanted(plan, range(2), Form.RGB), Limits(), [])),
    ):
        with pytest.raises(Refusal, match="broke its decoder"):
            read()
    with pytest.raises(NoSound, match=UNREADABLE):
        reading.cut_audio(film, tmp_path / "sound.mp4", plan, Limits())
    assert not (tmp_path / "sound.mp4").exists()


@pytest.mark.parametrize(
    "narrow", [{"decoded_frames": 4}, {"duration_s": 3.9}, {"frame_pixels": 999_999}]
)
def test_a_timeline_beyond_the_limits_is_not_believed(
    narrow: dict[str, Any], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_TASKS", "tests.fakes.liars")
    assert reading.read_timeline(file, Limits()).pts.size == 5
    with pytest.raises(Refusal, match="broke its decoder"):
        reading.read_timeline(file, replace(Limits(), **narrow))


@pytest.mark.parametrize(
    "lie",
    [
        "falling_timestamps",
        "half_a_timestamp",
        "no_timestamps",
        "far_timestamps",
        "late_timestamps",
    ],
)
def test_timestamps_that_cannot_be_are_not_believed(lie: str, file: Path) -> None:
    task = Task(f"tests.fakes.liars:{lie}", ErrorCode.NOT_A_VIDEO)
    with (
        pytest.raises(Refusal, match="broke its decoder"),
        Decoding(task, file, Limits(), no_checkpoint) as decoding,
    ):
        reading._timestamps(decoding, Limits())


def test_a_child_fills_no_disk(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    with (
        pytest.raises(ChildError, match="File too large"),
        Decoding(
            hostile("fill_disk", file_bytes=MIB), file, Limits(), no_checkpoint, target=target
        ) as decoding,
    ):
        decoding.result(Nothing)
    assert target.stat().st_size == MIB


def test_the_memory_keeps_its_size_even_outside_the_jail() -> None:
    with ExitStack() as stack:
        ring = _sealed_memory(stack, 8192)
        for size in (0, 4096, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(ring, size)


def test_sound_that_kills_its_decoder_leaves_the_video_silent(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = clip("cfr.mp4")
    plan = select_frames(reading.read_timeline(film, Limits()))
    monkeypatch.setattr(reading, "_TASKS", "tests.fakes.hostile")
    with pytest.raises(NoSound, match=UNREADABLE):
        reading.cut_audio(film, tmp_path / "sound.mp4", plan, Limits())


def test_both_ways_of_reading_agree_to_the_byte(clip: Clip, tmp_path: Path) -> None:
    film = clip("pcm.mkv")
    here, jailed = (Limits(jail=mode) for mode in (JailMode.OFF, JailMode.REQUIRE))
    plans = [select_frames(reading.read_timeline(film, limits)) for limits in (here, jailed)]
    written = []
    for limits, plan in zip((here, jailed), plans, strict=True):
        plan.save(tmp_path / "plan")
        reading.cut_audio(film, tmp_path / "sound.mp4", plan, limits)
        pictures = reading.read_frames(film, Wanted(plan, range(9), Form.PLANES), limits, [])
        written.append(
            (
                (tmp_path / "plan").read_bytes(),
                (tmp_path / "sound.mp4").read_bytes(),
                np.stack([frame.pixels for frame in pictures]).tobytes(),
            )
        )
    assert written[0] == written[1]
