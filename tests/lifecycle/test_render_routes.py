"""The route that renders: the same submission as the others, about the masks of a prediction."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.lifecycle.conftest import Client
from tests.serving import AT_ONCE, PREDICTIONS, VIDEO, bearer, wait_until
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.delete import delete
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import delete_expired_files
from workers.bench import Bench


@pytest.fixture
def http(installation: Installation, make_key: Callable[..., str]) -> Iterator[TestClient]:
    with TestClient(create_app(installation), headers=bearer(make_key())) as opened:
        yield opened


@pytest.fixture
def source(client: Client, bench: Bench, clip_uri: str) -> PredictionId:
    made = client.video(video=clip_uri, max_frames=4)
    bench.take_a_turn()
    return made


def _body(**changed: Any) -> dict[str, Any]:
    return {"input": changed}


@pytest.mark.parametrize("resource", [PREDICTIONS, VIDEO])
def test_a_render_is_answered_as_every_submission(
    http: TestClient, client: Client, bench: Bench, source: PredictionId, resource: str
) -> None:
    route = f"{resource}/{source}/render"
    reply = http.post(route, json=_body(output_format="masks"), headers=AT_ONCE)
    assert reply.status_code == 202
    record = reply.json()
    assert reply.headers["location"].endswith(f"{PREDICTIONS}/{record['id']}")
    assert (record["status"], record["rendered_from"]) == ("starting", source)
    bench.take_a_turn()
    done = http.get(record["urls"]["get"]).json()
    assert done["status"] == "succeeded"
    assert [artifact["name"] for artifact in done["artifacts"]] == ["masks.zip", "index.json"]
    assert http.get(done["artifacts"][0]["url"]).content[:2] == b"PK"


def test_without_a_preference_the_answer_holds_until_the_render_is_done(
    http: TestClient, client: Client, bench: Bench, source: PredictionId
) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(http.post, f"{VIDEO}/{source}/render", json=_body(fps=2))
        wait_until(lambda: len(http.get(PREDICTIONS).json()["results"]) == 2)
        bench.take_a_turn()
        reply = held.result()
    assert reply.status_code == 200
    assert reply.json()["status"] == "succeeded"
    assert reply.json()["input"]["fps"] == 2


def test_an_idempotency_key_binds_the_source_too(
    http: TestClient, client: Client, bench: Bench, source: PredictionId
) -> None:
    headers = {**AT_ONCE, "Idempotency-Key": "one"}
    route = f"{PREDICTIONS}/{source}/render"
    first = http.post(route, json=_body(), headers=headers)
    second = http.post(route, json=_body(), headers=headers)
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotent-replayed"] == "true"
    bench.take_a_turn()
    other = http.post(f"{PREDICTIONS}/{first.json()['id']}/render", json=_body(), headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"mask_color": "pink"}, "/input/mask_color"),
        ({"threshold": 0.1}, "/input/threshold"),
        ({"save_overlay": True}, "/input/save_overlay"),
        ({"fps": 0}, "/input/fps"),
    ],
)
def test_only_what_a_render_can_change_is_taken(
    http: TestClient, source: PredictionId, changed: dict[str, Any], pointer: str
) -> None:
    reply = http.post(f"{PREDICTIONS}/{source}/render", json=_body(**changed))
    assert reply.status_code == 422
    assert [problem["pointer"] for problem in reply.json()["errors"]] == [pointer]
    dry = http.post(f"{PREDICTIONS}/{source}/render", json={"input": {}, "dry_run": True})
    assert [problem["pointer"] for problem in dry.json()["errors"]] == ["/dry_run"]


def test_null_leaves_a_field_as_it_was_and_gives_fps_back_to_the_source(
    http: TestClient, client: Client, bench: Bench, clip_uri: str
) -> None:
    made = client.video(video=clip_uri, max_frames=2, fps=3, mask_color="red")
    bench.take_a_turn()
    asked = _body(fps=None, mask_color=None)
    reply = http.post(f"{PREDICTIONS}/{made}/render", json=asked, headers=AT_ONCE)
    assert reply.json()["input"] == {**client.read(made).input, "fps": None}
    bench.take_a_turn()
    assert client.read(reply.json()["id"]).status is Status.SUCCEEDED


def test_what_is_not_there_is_told_apart(
    http: TestClient,
    installation: Installation,
    client: Client,
    bench: Bench,
    source: PredictionId,
    make_key: Callable[..., str],
) -> None:
    def code(one: str, resource: str = PREDICTIONS, **headers: str) -> tuple[int, str]:
        reply = http.post(f"{resource}/{one}/render", json=_body(), headers=headers)
        return reply.status_code, reply.json()["code"]

    assert code("vs_" + 26 * "0") == (404, "not_found")
    assert code("nonsense") == (404, "not_found")
    stranger = bearer(make_key(organisation="other"))
    assert code(source, **stranger) == (404, "not_found")
    picture = client.image()
    assert code(picture, VIDEO) == (404, "not_found")
    assert code(picture) == (422, "not_renderable")
    delete(installation, source)
    assert code(source) == (410, "gone")
    assert len(http.get(PREDICTIONS).json()["results"]) == 2


def test_the_routes_and_their_bodies_are_described(
    http: TestClient, client: Client, bench: Bench, source: PredictionId
) -> None:
    picture = client.image()
    bench.take_a_turn()
    described = http.get("/openapi.json").json()
    assert f"{PREDICTIONS}/{{prediction_id}}/render" in described["paths"]
    told = described["paths"][f"{VIDEO}/{{prediction_id}}/render"]["post"]
    schema = told["requestBody"]["content"]["application/json"]["schema"]
    names = [one["$ref"].rpartition("/")[2] for one in schema["anyOf"]]
    assert names == ["VideoRender", "ImageRender"]
    for example in told["requestBody"]["content"]["application/json"]["examples"].values():
        of = picture if "mask_only" in example["value"]["input"] else source
        reply = http.post(f"{PREDICTIONS}/{of}/render", json=example["value"], headers=AT_ONCE)
        assert reply.status_code == 202, reply.text
    assert set(names) <= described["components"]["schemas"].keys()


def test_an_upload_deleted_under_a_render_goes_when_that_is_done(
    http: TestClient, installation: Installation, client: Client, bench: Bench, clip_uri: str
) -> None:
    clip = base64.b64decode(clip_uri.partition(",")[2])
    upload = http.post("/v1/files", content=clip).json()
    asked = {"input": {"video": upload["id"], "prompt": "person", "max_frames": 2}}
    made = http.post(VIDEO, json=asked, headers=AT_ONCE).json()["id"]
    bench.take_a_turn()
    route = f"{VIDEO}/{made}/render"
    reply = http.post(route, json=_body(output_format="frames"), headers=AT_ONCE)
    assert http.delete(f"/v1/files/{upload['id']}").status_code == 204
    delete_expired_files(installation)
    bench.take_a_turn()
    assert client.read(reply.json()["id"]).status is Status.SUCCEEDED
    delete_expired_files(installation)
    assert not list(installation.settings.storage.files.glob("*/file_*"))
    assert http.post(route, json=_body(), headers=AT_ONCE).json()["code"] == "gone"
    masks = http.post(route, json=_body(output_format="masks"), headers=AT_ONCE)
    assert masks.status_code == 202
