"""Submitting, reading and canceling: whole records."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.testclient import TestClient

from tests.serving import (
    AT_ONCE,
    IMAGE_BODY,
    PIXEL,
    PREDICTIONS,
    VIDEO,
    VIDEO_BODY,
    bearer,
    finish_next,
    give,
    take,
)
from visionseg.predictions.installation import Installation

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
WARNING = "facebook/sam3 is not installed here; embedded/lite (not SAM3) answered."


def _submit(
    client: TestClient, route: str = PREDICTIONS, body: Mapping[str, Any] = IMAGE_BODY
) -> dict[str, Any]:
    reply = client.post(route, json=body, headers=AT_ONCE)
    assert reply.status_code == 202, reply.text
    record: dict[str, Any] = reply.json()
    return record


def _moments(record: dict[str, Any]) -> dict[str, Any]:
    """Takes the times out of a record, after a look at their form."""
    names = ("created_at", "started_at", "completed_at", "released_at", "deadline")
    taken = {name: record.pop(name) for name in names}
    assert all(value is None or MOMENT.fullmatch(value) for value in taken.values())
    return taken


def _urls(prediction_id: str) -> dict[str, str]:
    here = f"http://testserver{PREDICTIONS}/{prediction_id}"
    return {"get": here, "cancel": f"{here}/cancel", "events": f"{here}/events", "web": here}


def test_a_fresh_record_says_starting_and_echoes_the_input(client: TestClient) -> None:
    record = _submit(client)
    moments = _moments(record)
    assert [name for name, value in moments.items() if value] == ["created_at", "deadline"]
    prediction_id = record.pop("id")
    assert re.fullmatch(r"vs_[0-9a-f]{26}", prediction_id)
    assert record == {
        "kind": "image",
        "status": "starting",
        "provider": "wujie",
        "model": "facebook/sam3",
        "version": None,
        "input": {"image": PIXEL, "prompt": "person"},
        "output": None,
        "error": None,
        "error_code": None,
        "logs": "",
        "metrics": {},
        "plan": None,
        "provenance": None,
        "rendered_from": None,
        "warnings": [WARNING],
        "progress": {
            "frames_done": 0,
            "frames_total": 1,
            "fps": None,
            "eta_s": None,
            "stage": "queued",
        },
        "queue": {"position": 0, "eta_s": None},
        "artifacts": [],
        "urls": _urls(prediction_id),
    }


def test_a_finished_record_holds_a_small_output_as_a_data_uri(
    client: TestClient, installation: Installation
) -> None:
    given = {"image": PIXEL, "include_scores": True, "include_boxes": True}
    _submit(client, body={"model": "embedded/lite", "input": given})
    prediction_id = finish_next(installation, b"a mask")
    record = client.get(f"{PREDICTIONS}/{prediction_id}").json()
    assert all(_moments(record).values())
    expires_at = record["artifacts"][0].pop("expires_at")
    assert MOMENT.fullmatch(expires_at)
    timed = {name: record["metrics"].pop(name) for name in ("predict_time", "total_time")}
    assert all(value >= 0 for value in timed.values())
    assert record["progress"].pop("fps") > 0
    assert record == {
        "id": prediction_id,
        "kind": "image",
        "status": "succeeded",
        "provider": "wujie",
        "model": "embedded/lite",
        "version": None,
        "input": given,
        "output": f"data:image/png;base64,{base64.b64encode(b'a mask').decode()}",
        "error": None,
        "error_code": None,
        "logs": "done\n",
        "metrics": {"frames": 1},
        "scores": [0.75],
        "boxes": [[1, 2, 3, 4]],
        "plan": None,
        "provenance": None,
        "rendered_from": None,
        "warnings": [],
        "progress": {"frames_done": 1, "frames_total": 1, "eta_s": None, "stage": "succeeded"},
        "queue": {"position": None, "eta_s": None},
        "artifacts": [
            {
                "name": "mask_000.png",
                "url": f"http://testserver/api/vision-segment/outputs/{prediction_id}_mask_000.png",
                "content_type": "image/png",
                "size_bytes": 6,
                "sha256": hashlib.sha256(b"a mask").hexdigest(),
            }
        ],
        "urls": _urls(prediction_id),
    }


def test_an_output_above_the_limit_is_a_url_of_this_service(
    client: TestClient, installation: Installation
) -> None:
    _submit(client)
    prediction_id = finish_next(installation, bytes(256 * 1024 + 1))
    record = client.get(f"{PREDICTIONS}/{prediction_id}").json()
    assert record["output"] == record["artifacts"][0]["url"]
    assert client.get(record["output"]).content == bytes(256 * 1024 + 1)
    assert "scores" not in record
    assert "boxes" not in record


def test_a_long_data_uri_is_echoed_as_a_url_that_serves_the_input(client: TestClient) -> None:
    data = base64.b64decode(PIXEL.partition(",")[2]) + bytes(5000)
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    record = _submit(client, body={"input": {"image": uri}})
    assert record["input"]["image"].startswith("http://testserver/api/vision-segment/outputs/vs_")
    assert client.get(record["input"]["image"]).content == data


def test_a_file_of_this_service_can_be_an_input(
    client: TestClient, installation: Installation
) -> None:
    _submit(client)
    finished = client.get(f"{PREDICTIONS}/{finish_next(installation)}").json()
    url = finished["artifacts"][0]["url"]
    assert _submit(client, body={"input": {"image": url}})["input"] == {"image": url}


def test_links_stand_on_the_public_url_when_one_is_set(
    client: TestClient, installation: Installation
) -> None:
    http = installation.settings.http
    object.__setattr__(http, "public_url", "https://seg.example.com/")
    reply = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    here = f"https://seg.example.com{PREDICTIONS}/{reply.json()['id']}"
    assert reply.headers["location"] == here
    assert reply.json()["urls"]["get"] == here


def test_a_video_is_read_and_canceled_under_both_addresses(client: TestClient) -> None:
    made = _submit(client, VIDEO, VIDEO_BODY)
    assert made["kind"] == "video"
    for route in (VIDEO, PREDICTIONS):
        assert client.get(f"{route}/{made['id']}").json()["id"] == made["id"]
    reply = client.post(f"{VIDEO}/{made['id']}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "canceled")


def test_the_video_address_knows_no_pictures(client: TestClient) -> None:
    made = _submit(client)
    for reply in (
        client.get(f"{VIDEO}/{made['id']}"),
        client.get(f"{VIDEO}/{made['id']}/events"),
        client.post(f"{VIDEO}/{made['id']}/cancel"),
    ):
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert client.get(f"{PREDICTIONS}/{made['id']}").json()["status"] == "starting"


def test_cancel_is_final_at_once_and_again_changes_nothing(client: TestClient) -> None:
    made = _submit(client)
    first = client.post(f"{PREDICTIONS}/{made['id']}/cancel")
    second = client.post(f"{PREDICTIONS}/{made['id']}/cancel")
    assert (first.status_code, first.json()["status"]) == (200, "canceled")
    assert second.json() == first.json()


def test_cancel_after_success_answers_the_finished_record(
    client: TestClient, installation: Installation
) -> None:
    _submit(client)
    prediction_id = finish_next(installation)
    reply = client.post(f"{PREDICTIONS}/{prediction_id}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")


def test_released_at_follows_when_the_worker_lets_go(
    client: TestClient, installation: Installation
) -> None:
    made = _submit(client)
    take(installation)
    canceled = client.post(f"{PREDICTIONS}/{made['id']}/cancel").json()
    assert canceled["completed_at"]
    assert canceled["released_at"] is None


def test_an_unchanged_record_is_304_and_an_open_one_says_when_to_ask_again(
    client: TestClient, installation: Installation
) -> None:
    made = _submit(client)
    address = f"{PREDICTIONS}/{made['id']}"
    first = client.get(address)
    assert first.headers["etag"].startswith('W/"')
    assert first.headers["retry-after"] == "1"
    again = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    give(installation, take(installation), b"a mask")
    changed = client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert changed.json()["status"] == "succeeded"
    assert "retry-after" not in changed.headers


def test_another_organisation_sees_nothing(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    made = _submit(client)
    other = bearer(make_key(organisation="other"))
    address = f"{PREDICTIONS}/{made['id']}"
    replies = [
        client.get(address, headers=other),
        client.get(f"{address}/events", headers=other),
        client.post(f"{address}/cancel", headers=other),
    ]
    assert [(one.status_code, one.json()["code"]) for one in replies] == [(404, "not_found")] * 3
    assert client.get(PREDICTIONS, headers=other).json()["results"] == []
    assert client.get(address).json()["status"] == "starting"
