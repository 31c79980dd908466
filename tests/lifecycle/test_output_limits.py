"""Results too large to make, disks without room, and organisations that have stored enough."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.lifecycle.conftest import Client
from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer, with_limits
from tests.stores import named, stored, try_again_now
from visionseg.config import Limits
from visionseg.contract.errors import ErrorCode
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation
from visionseg.predictions.quota import Quota
from visionseg.predictions.sweep import delete_expired_files
from workers.bench import Bench
from workers.jobs.limits import media_limits
from workers.media.limits import Limits as MediaLimits

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(1000)
FORMATS = ("mp4", "frames", "masks", "coco_rle")


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_result_that_would_be_too_large_is_refused_before_any_work_with_the_estimate(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, output_format: str
) -> None:
    made = client.video(video=clip_uri, output_format=output_format)
    dry = client.video({"dry_run": True}, video=clip_uri, output_format=output_format)
    bench.installation = with_limits(installation, output_bytes=1000)
    bench.take_a_turn()
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.OUTPUT_TOO_LARGE)
    assert record.error is not None
    assert f"The result as {output_format} would have about 0.0 GiB" in record.error
    assert record.progress.frames_done == 0
    plan = client.read(dry).plan
    assert plan is not None
    assert plan.refusal is not None
    assert plan.refusal.code == ErrorCode.OUTPUT_TOO_LARGE


def test_a_dry_run_tells_about_how_large_the_result_would_be(
    client: Client, bench: Bench, clip_uri: str
) -> None:
    asked = [client.video({"dry_run": True}, video=clip_uri, output_format=f) for f in FORMATS]
    picture = client.image({"dry_run": True})
    bench.take_a_turn()
    plans = [client.read(one).plan for one in (*asked, picture)]
    told = [plan and plan.output_bytes for plan in plans]
    assert told == [1440, 138_240, 37_843, 55_680, None]


@pytest.mark.parametrize("output_format", ["mp4", "coco_rle"])
def test_a_result_that_grows_beyond_its_estimate_is_given_up(
    installation: Installation,
    client: Client,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    output_format: str,
) -> None:
    made = client.video(video=clip_uri, output_format=output_format)
    claimed = bench._claim(bench.lanes)
    assert claimed is not None
    bench._perform(claimed, lambda: None)  # the plan is made by its estimate
    bench.installation = with_limits(installation, output_bytes=1500)
    bench.take_a_turn()
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.OUTPUT_TOO_LARGE)
    assert stored(installation) == named(installation)


def _until_final(bench: Bench, client: Client, made: PredictionId) -> None:
    while client.read(made).status not in FINAL:
        bench.take_a_turn()
        try_again_now(bench.installation)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_without_room_on_the_disk_nothing_is_begun_and_the_code_tells(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, kind: str
) -> None:
    made = client.image() if kind == "image" else client.video(video=clip_uri)
    bench.installation = with_limits(installation, spare_bytes=2**60)
    bench.take_a_turn()
    assert "try 1 failed (storage_full), trying again" in client.read(made).logs
    before = stored(installation)
    _until_final(bench, client, made)
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.STORAGE_FULL)
    assert stored(installation) == before == named(installation)


def test_room_is_wanted_for_the_whole_estimate_before_the_first_frame(
    installation: Installation, client: Client, bench: Bench, clip_uri: str
) -> None:
    made = client.video(video=clip_uri, output_format="frames")
    free = installation.store.free_bytes()
    bench.installation = with_limits(installation, spare_bytes=free - 130_000)
    store = bench.installation.store
    object.__setattr__(store, "free_bytes", lambda: free)
    bench.take_a_turn()
    record = client.read(made)
    assert "ingest: try 1 failed (storage_full), trying again" in record.logs
    bench.installation = with_limits(installation, spare_bytes=free - 2_000_000)
    _until_final(bench, client, made)
    assert client.read(made).status is Status.SUCCEEDED


def _fresh(installation: Installation) -> Installation:
    """The same with nothing remembered."""
    return replace(installation, quota=Quota())


def test_an_organisation_that_has_stored_enough_is_refused_until_something_goes(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    limited = with_limits(installation, store_quota_bytes=1500)
    ours, theirs = bearer(make_key()), bearer(make_key(organisation="other"))
    with TestClient(create_app(limited), headers=ours) as http:
        kept = http.post("/v1/files", content=PICTURE)
        assert kept.status_code == 201
    with TestClient(create_app(_fresh(limited)), headers=ours) as http:
        more = http.post("/v1/files", content=PICTURE)
        assert (more.status_code, more.json()["code"]) == (507, "storage_quota")
        streamed = http.post("/v1/files", content=iter([PICTURE]))
        assert (streamed.status_code, streamed.json()["code"]) == (507, "storage_quota")
        assert http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).status_code == 202
    full = with_limits(_fresh(installation), store_quota_bytes=1000)
    with TestClient(create_app(full), headers=ours) as http:
        refused = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_quota")
        assert "0.00 GiB" in refused.json()["detail"]
        other = http.post(PREDICTIONS, json=IMAGE_BODY, headers={**AT_ONCE, **theirs})
        assert other.status_code == 202
        http.delete(f"/v1/files/{kept.json()['id']}")
    delete_expired_files(installation)
    with TestClient(create_app(with_limits(_fresh(installation), store_quota_bytes=1000))) as http:
        again = http.post(PREDICTIONS, json=IMAGE_BODY, headers={**AT_ONCE, **ours})
        assert again.status_code == 202


def test_every_limit_of_the_media_path_is_a_setting() -> None:
    numbers = {
        name: 1000 + index
        for index, (name, field) in enumerate(Limits.model_fields.items())
        if field.annotation in {int, float}
    }
    taken = media_limits(Limits(**numbers, jail="off"))  # type: ignore[arg-type]  # by name
    fields = {field.name: getattr(taken, field.name) for field in dataclasses.fields(MediaLimits)}
    assert fields.pop("jail") == "off"
    assert set(fields.values()) <= set(numbers.values())
    assert len(set(fields.values())) == len(fields)
    assert media_limits(Limits()) == MediaLimits()
