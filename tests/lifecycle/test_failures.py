"""Every code that a worker can find, each in the record with its sentence."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from tests.fakes.segmenters import Broken, OutOfMemory
from tests.lifecycle.conftest import Client, picture, png_uri
from visionseg.config import Limits
from visionseg.contract.errors import ERRORS, ErrorCode
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from workers.bench import Bench
from workers.media import reading
from workers.segmenters.base import Segmenter

BROKEN_PNG = png_uri(picture())[:200]


def _refused(client: Client, made: PredictionId, code: ErrorCode) -> str:
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, code)
    assert record.error is not None
    assert record.output is None
    assert record.released_at is not None
    return record.error


def test_a_picture_that_breaks_off_is_not_an_image(client: Client, bench: Bench) -> None:
    made = client.image(image=BROKEN_PNG + "A" * (-len(BROKEN_PNG.partition(",")[2]) % 4))
    bench.take_a_turn()
    assert _refused(client, made, ErrorCode.NOT_AN_IMAGE)


def test_a_container_without_frames_is_not_a_video(client: Client, bench: Bench) -> None:
    head = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(200)
    uri = f"data:video/mp4;base64,{base64.b64encode(head).decode()}"
    made = client.video(video=uri)
    bench.take_a_turn()
    assert _refused(client, made, ErrorCode.NOT_A_VIDEO)


def test_a_file_that_crashes_its_decoder_ends_its_prediction_at_the_first_try(
    client: Client, bench: Bench, clip_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_TASKS", "tests.fakes.hostile")
    picture_made, video_made = client.image(), client.video(video=clip_uri)
    bench.take_a_turn()
    assert "broke its decoder" in _refused(client, picture_made, ErrorCode.NOT_AN_IMAGE)
    assert "broke its decoder" in _refused(client, video_made, ErrorCode.NOT_A_VIDEO)
    with bench.installation.database.connect() as connection:
        assert set(connection.execute(text("SELECT attempt FROM units")).scalars()) == {1}


def test_a_file_that_stalls_its_decoder_is_timed_out(
    client: Client, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_TASKS", "tests.fakes.stalling")
    _with_limits(bench, decode_stall_s=0.5)
    made = client.image()
    bench.take_a_turn()
    assert _refused(client, made, ErrorCode.DECODE_TIMEOUT)


def test_a_range_beyond_the_end_holds_no_frames(
    client: Client, bench: Bench, clip_uri: str
) -> None:
    made = client.video(video=clip_uri, start_time=100)
    bench.take_a_turn()
    assert _refused(client, made, ErrorCode.NO_FRAMES_IN_RANGE)


@pytest.mark.parametrize(
    "mark",
    [
        {"point_prompts": [{"x": 500, "y": 5, "frame_index": 0}]},
        {"point_prompts": [{"x": 5, "y": 5, "frame_index": 30}]},
        {"box_prompts": [{"x_min": -9, "y_min": 1, "x_max": -2, "y_max": 5}]},
    ],
)
def test_marks_beside_the_video_are_told(
    client: Client, bench: Bench, clip_uri: str, mark: dict[str, Any]
) -> None:
    made = client.video(video=clip_uri, **mark)
    bench.take_a_turn()
    _refused(client, made, ErrorCode.PROMPT_OUTSIDE)


def _with_limits(bench: Bench, **limits: Any) -> None:
    settings = bench.installation.settings.model_copy(update={"limits": Limits(**limits)})
    bench.installation = replace(bench.installation, settings=settings)


def test_a_video_of_too_many_frames_is_too_long(
    client: Client, bench: Bench, clip_uri: str
) -> None:
    made = client.video(video=clip_uri)
    _with_limits(bench, video_frames=20)
    bench.take_a_turn()
    _refused(client, made, ErrorCode.VIDEO_TOO_LONG)


def test_a_picture_of_too_many_pixels_is_too_large(client: Client, bench: Bench) -> None:
    made = client.image()
    _with_limits(bench, image_pixels=1000)
    bench.take_a_turn()
    _refused(client, made, ErrorCode.INPUT_TOO_LARGE)


def test_a_url_that_nobody_serves_is_unreachable(client: Client, bench: Bench) -> None:
    made = client.image(image="https://nobody.invalid/photo.jpg")
    bench.take_a_turn()
    _refused(client, made, ErrorCode.INPUT_UNREACHABLE)


def test_a_url_that_leads_into_the_network_is_refused(client: Client, bench: Bench) -> None:
    made = client.image(image="https://localhost/photo.jpg")
    bench.take_a_turn()
    _refused(client, made, ErrorCode.INPUT_REFUSED)


@pytest.mark.parametrize(
    ("segmenter", "code"),
    [(OutOfMemory(), ErrorCode.OUT_OF_MEMORY), (Broken(), ErrorCode.INTERNAL)],
)
def test_failures_in_passing_are_tried_again_and_then_told(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    segmenter: Segmenter,
    code: ErrorCode,
) -> None:
    made = client.image()
    bench = make_bench(segmenter)
    while client.read(made).status is not Status.FAILED:
        with installation.database.begin() as connection:
            connection.execute(text("UPDATE units SET not_before = clock_timestamp()"))
            connection.execute(text("UPDATE turns SET ready_at = clock_timestamp()"))
        bench.take_a_turn()
    with installation.database.connect() as connection:
        tries = connection.execute(text("SELECT attempt FROM units")).scalar_one()
    assert tries == installation.settings.lease.max_transient
    assert _refused(client, made, code) == ERRORS[code].sentence
    assert "trying again" in client.read(made).logs


def test_after_a_refused_input_the_worker_lives_on(client: Client, bench: Bench) -> None:
    refused = client.image(image="https://nobody.invalid/photo.jpg")
    good = client.image()
    bench.take_a_turn()
    assert client.read(refused).status is Status.FAILED
    assert client.read(good).status is Status.SUCCEEDED
