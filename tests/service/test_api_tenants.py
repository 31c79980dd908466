"""What one organisation has, another does not see: every route of the description is tried."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import AT_ONCE, IMAGE_BODY, PIXEL, PREDICTIONS, VIDEO, bearer, finish_next
from visionseg.predictions.installation import Installation

HIDDEN = (404, "not_found")
FORBIDDEN = (403, "insufficient_scope")
OPEN_TO_ALL = {"/healthz", "/readyz"}
ABOUT_NOBODY = {("GET", "/v1/vision-segment/models")}
OF_ONES_OWN: Mapping[tuple[str, str], Any] = {
    ("GET", PREDICTIONS): {"results": [], "next": None, "previous": None},
    ("POST", "/v1/vision-segment/deliveries/redeliver"): {"redelivered": 0},
}
"""What these answer to an organisation that has nothing."""
MAKES_ANEW = {("POST", PREDICTIONS), ("POST", VIDEO), ("POST", "/v1/files")}
RANGE = {"since": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}


@pytest.fixture
def stranger(installation: Installation, make_key: Callable[..., str]) -> Iterator[TestClient]:
    """A client of another organisation."""
    secret = make_key(organisation="elsewhere")
    with TestClient(create_app(installation), headers=bearer(secret)) as opened:
        yield opened


@pytest.fixture
def theirs(client: TestClient, installation: Installation) -> Mapping[str, str]:
    """Something of every kind that an address can name."""
    body = {**IMAGE_BODY, "webhook": "https://example.com/hook"}
    made = client.post(PREDICTIONS, json=body, headers=AT_ONCE).json()["id"]
    finish_next(installation)
    (artifact,) = client.get(f"{PREDICTIONS}/{made}").json()["artifacts"]
    file = client.post("/v1/files", content=PIXEL_BYTES).json()
    return {
        "prediction_id": made,
        "filename": artifact["url"].rpartition("/")[2],
        "file_id": file["id"],
        "number": "1",
        "name": "000001-000.ts",
        "key_id": "key_0",
        "worker_id": "worker_0",
        "url": file["url"],
    }


PIXEL_BYTES = base64.b64decode(PIXEL.rpartition(",")[2])


def _operations(client: TestClient) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


def _expected(method: str, path: str) -> tuple[int, str]:
    return FORBIDDEN if path.startswith("/v1/admin/") else HIDDEN


def test_no_route_shows_or_changes_what_another_organisation_has(
    client: TestClient, stranger: TestClient, theirs: Mapping[str, str]
) -> None:
    before = _state(client, theirs)
    for method, path in _operations(client):
        if path in OPEN_TO_ALL or (method, path) in ABOUT_NOBODY | MAKES_ANEW:
            continue
        address = path.format(**theirs)
        reply = stranger.request(method, address, json=RANGE if method == "POST" else None)
        if (method, path) in OF_ONES_OWN:
            assert reply.json() == OF_ONES_OWN[method, path]
            continue
        found = (reply.status_code, reply.json()["code"])
        assert found == _expected(method, path), f"{method} {path}"
    assert _state(client, theirs) == before


def test_no_route_tells_more_of_what_another_has_than_of_what_is_not_there(
    client: TestClient, stranger: TestClient, theirs: Mapping[str, str]
) -> None:
    nowhere = {**theirs, "prediction_id": "vs_" + "0" * 26, "filename": "x.png"}
    nowhere["file_id"] = "file_" + "0" * 26
    for method, path in _operations(client):
        if "{" not in path:
            continue
        there, missing = (
            stranger.request(method, path.format(**names), json={} if method == "POST" else None)
            for names in (theirs, nowhere)
        )
        assert _without_names(there.json(), theirs) == _without_names(missing.json(), nowhere)
        assert dict(there.headers).keys() == dict(missing.headers).keys()


def test_only_operators_list_across_organisations(
    stranger: TestClient, theirs: Mapping[str, str]
) -> None:
    for whose in ("*", "default", "elsewhere", "nobody"):
        reply = stranger.get(f"{PREDICTIONS}?organisation={whose}")
        assert (reply.status_code, reply.json()["code"]) == FORBIDDEN


def test_what_another_organisation_has_is_no_input(
    stranger: TestClient, theirs: Mapping[str, str]
) -> None:
    for image in (theirs["file_id"], theirs["url"]):
        body = {"input": {"image": image, "prompt": "person"}}
        reply = stranger.post(PREDICTIONS, json=body, headers=AT_ONCE)
        assert reply.status_code in {404, 422}, reply.text


def test_idempotency_keys_of_two_organisations_have_nothing_to_do_with_each_other(
    client: TestClient, stranger: TestClient
) -> None:
    headers = {**AT_ONCE, "Idempotency-Key": "the-same"}
    made = {
        one.post(PREDICTIONS, json=IMAGE_BODY, headers=headers).json()["id"]
        for one in (client, stranger)
    }
    assert len(made) == 2


def _state(client: TestClient, theirs: Mapping[str, str]) -> str:
    record = client.get(f"{PREDICTIONS}/{theirs['prediction_id']}").json()
    file = client.get(f"/v1/files/{theirs['file_id']}").json()
    sent = client.get(f"{PREDICTIONS}/{theirs['prediction_id']}/deliveries").json()
    return json.dumps([record, file, sent])


def _without_names(problem: dict[str, Any], names: Mapping[str, str]) -> str:
    told = json.dumps({**problem, "request_id": None})
    for name in sorted(names, key=lambda name: -len(names[name])):
        told = told.replace(names[name], f"<{name}>") if len(names[name]) > 1 else told
    return told
