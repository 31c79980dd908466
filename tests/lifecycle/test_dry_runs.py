"""Dry runs: the input is read, the work is told and not done, and nothing is left of it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.lifecycle.conftest import Client, MakeClient
from tests.serving import with_limits
from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import LITE
from visionseg.contract.reply import Plan, PlanRefusal
from visionseg.contract.status import Status
from visionseg.predictions.again import send_again
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import delete_expired_files, fail_overdue
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from visionseg.records import speeds
from workers.app import Parent
from workers.bench import Bench

DRY: dict[str, Any] = {"dry_run": True}
BROKEN = f"data:video/mp4;base64,{base64.b64encode(b'....ftypisom' + bytes(500)).decode()}"


def _plan(client: Client, made: PredictionId) -> Plan:
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    assert (record.output, record.artifacts, record.progress.frames_done) == (None, [], 0)
    assert record.plan is not None
    return record.plan


def _files(installation: Installation) -> list[Path]:
    return [path for path in installation.settings.storage.files.rglob("*") if path.is_file()]


def _units(installation: Installation) -> list[tuple[str, str]]:
    with installation.database.connect() as connection:
        rows = connection.execute(text("SELECT kind, lane FROM units ORDER BY id"))
        return [(row.kind, row.lane) for row in rows]


def test_a_dry_run_of_a_video_tells_its_work_and_leaves_nothing(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    with installation.database.begin() as connection:
        speeds.measure(connection, LITE, "chunk", 16.0, 8)
    Parent(installation, [*GPU_LANES, *CPU_LANES], 2, [LITE]).beat()
    made = client.video(DRY, video=clip_uri)
    assert client.read(made).plan is None
    bench.take_a_turn()
    told = Plan(frames=30, chunks=4, output_bytes=1440, estimated_s=60.0, queue_s=4.0)
    assert _plan(client, made) == told
    assert _units(installation) == [("plan", "media")]
    delete_expired_files(installation)
    assert _files(installation) == []


def test_a_dry_run_of_a_picture_needs_no_model(
    installation: Installation, client: Client, bench: Bench
) -> None:
    bench.segmenters = {}
    made = client.image(DRY)
    bench.take_a_turn()
    plan = _plan(client, made)
    assert (plan.frames, plan.chunks, plan.estimated_s, plan.queue_s) == (1, 1, 1.0, None)
    delete_expired_files(installation)
    assert _files(installation) == []


@pytest.mark.parametrize(
    ("kind", "given", "code"),
    [
        ("video", {"start_time": 100}, "no_frames_in_range"),
        ("video", {"point_prompts": [{"x": 1, "y": 900}]}, "prompt_outside"),
        ("image", {"point_prompts": [{"x": 1, "y": 900}]}, "prompt_outside"),
    ],
)
def test_what_is_wrong_with_the_request_is_told_in_the_plan(
    client: Client, bench: Bench, clip_uri: str, kind: str, given: dict[str, Any], code: str
) -> None:
    if kind == "video":
        made = client.video(DRY, video=clip_uri, **given)
    else:
        made = client.image(DRY, **given)
    bench.take_a_turn()
    plan = _plan(client, made)
    assert plan.refusal is not None
    assert (plan.refusal.code, plan.frames) == (code, None)


def test_what_is_too_large_is_told_in_the_plan(
    installation: Installation, client: Client, bench: Bench, clip_uri: str
) -> None:
    bench.installation = with_limits(installation, image_pixels=100, video_frames=10)
    picture, video = client.image(DRY), client.video(DRY, video=clip_uri)
    bench.take_a_turn()
    refusals = [_plan(client, made).refusal for made in (picture, video)]
    codes = [refusal.code for refusal in refusals if refusal is not None]
    assert codes == ["input_too_large", "video_too_long"]


def test_a_broken_file_is_a_failure_as_ever(client: Client, bench: Bench) -> None:
    made = client.video(DRY, video=BROKEN)
    bench.take_a_turn()
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, "not_a_video")
    assert record.plan is None


def test_caps_are_told_in_the_plan_and_a_dry_run_fills_none(
    installation: Installation, caller: Caller, bench: Bench
) -> None:
    capped = Client(with_limits(installation, open_per_key=1), caller)
    before = capped.image(DRY)
    with pytest.raises(Refusal) as refused:
        capped.image(DRY)  # dry runs are bounded too, by their own number
    assert refused.value.code is ErrorCode.RATE_LIMITED
    bench.take_a_turn()
    assert _plan(capped, before).refusal is None
    real = capped.image()
    dry = capped.image(DRY)
    with pytest.raises(Refusal):
        capped.image()
    bench.lanes = CPU_LANES
    bench.take_a_turn()
    refusal = _plan(capped, dry).refusal
    assert refusal == PlanRefusal(
        code="rate_limited",
        detail="This API key has 1 predictions that are not final; it may have 1.",
    )
    assert capped.read(real).status is Status.STARTING


def test_an_open_dry_run_does_not_count_as_a_prediction(
    installation: Installation, caller: Caller
) -> None:
    capped = Client(with_limits(installation, open_per_key=1, queued_predictions=1), caller)
    capped.image(DRY)
    capped.image()
    with pytest.raises(Refusal) as refused:
        capped.image()
    assert refused.value.code is ErrorCode.QUEUE_FULL


def test_a_dry_run_begins_though_its_key_has_all_it_may_run_and_takes_no_place(
    installation: Installation, make_client: MakeClient
) -> None:
    capped = make_client(max_running=1)
    capped.image()
    assert claim(installation.database, GPU_LANES, [LITE], "host/1/2", 30) is not None
    dry = capped.image(DRY)
    held = claim(installation.database, CPU_LANES, [], "host/1/3", 30)
    assert held is not None
    assert held.prediction_id == dry
    other = make_client(max_running=1)
    other.image(DRY)
    assert claim(installation.database, CPU_LANES, [], "host/1/4", 30) is not None
    other.image()
    assert claim(installation.database, GPU_LANES, [LITE], "host/1/5", 30) is not None


def test_dry_runs_end_as_others_do_by_a_cancel_or_a_deadline(
    installation: Installation, client: Client
) -> None:
    canceled, late = client.image(DRY), client.image({**DRY, "deadline_s": 1})
    assert cancel(installation, canceled)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE predictions SET deadline = now() - interval '1 s'"))
    fail_overdue(installation)
    assert client.read(canceled).status is Status.CANCELED
    assert client.read(late).error_code == "deadline_exceeded"
    delete_expired_files(installation)
    assert _files(installation) == []


def test_a_dry_run_sent_again_is_one_and_its_webhook_is_told(
    installation: Installation, client: Client, bench: Bench
) -> None:
    asked = {**DRY, "webhook": "https://example.com/hook"}
    made = client.image(asked, image="https://example.com/street.jpg")
    cancel(installation, made)
    again = send_again(installation, made)
    query = text("SELECT kind FROM units WHERE prediction_id = :id ORDER BY seq")
    with installation.database.connect() as connection:
        assert connection.execute(query, {"id": again}).scalars().all() == ["fetch", "plan"]
        told = connection.execute(text("SELECT prediction_id, event FROM deliveries")).all()
    assert [tuple(row) for row in told] == [(made, "completed")]
