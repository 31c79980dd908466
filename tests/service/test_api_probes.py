"""Liveness, readiness, the description and the documents page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import PREDICTIONS, bearer
from visionseg.config import Settings
from visionseg.contract.errors import ErrorCode
from visionseg.contract.ids import new_worker_id
from visionseg.contract.models import LITE, MODELS
from visionseg.contract.reply import ServedModel
from visionseg.predictions.installation import Installation, assemble
from visionseg.queue.lanes import Lane
from visionseg.records import workers


@pytest.fixture
def homeless(settings: Settings) -> Iterator[Installation]:
    """An installation whose database and Redis are away."""
    services = settings.services.model_copy(
        update={
            "database_url": "postgresql+psycopg://nobody@127.0.0.1:1/nothing",
            "redis_url": "redis://127.0.0.1:1",
            "broker_url": "redis://127.0.0.1:1",
        }
    )
    made = assemble(settings.model_copy(update={"services": services}), "visionseg tests")
    yield made
    made.close()


def test_a_service_with_all_its_parts_is_ready(
    client: TestClient, installation: Installation
) -> None:
    client.headers.pop("authorization")
    assert client.get("/healthz").json() == {"status": "ok"}
    lanes = [lane.value for lane in Lane]
    lonely = client.get("/readyz")
    assert lonely.status_code == 200
    assert lonely.json() == {
        "status": "degraded",
        "degraded": [
            *(f"workers:{lane}" for lane in lanes if lane != Lane.PREVIEW),
            f"model:{LITE}",
        ],
        "workers": dict.fromkeys(lanes, 0),
    }
    with installation.database.begin() as connection:
        values: dict[str, Any] = {"host": "h", "pid": 1, "engines": [LITE], "version": "1"}
        workers.beat(connection, new_worker_id(), lanes=lanes, **values)
    assert client.get("/readyz").json() == {
        "status": "ok",
        "degraded": [],
        "workers": dict.fromkeys(lanes, 1),
    }
    assert client.head("/readyz").status_code == 200


def test_an_old_schema_or_a_lost_store_is_not_ready(
    client: TestClient, installation: Installation
) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    shutil.rmtree(installation.settings.storage.home, ignore_errors=True)
    installation.settings.storage.home.write_bytes(b"a file where a folder should be")
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
    assert [one["pointer"] for one in reply.json()["errors"]] == ["/database", "/store"]


def test_a_schema_that_a_newer_release_migrated_is_ready(
    client: TestClient, installation: Installation
) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of tomorrow'"))
    assert client.get("/readyz").status_code == 200


def test_without_database_it_lives_but_refuses_with_503(homeless: Installation) -> None:
    key = bearer("gk_0123456789abcdefgh")
    with TestClient(create_app(homeless), headers=key) as client:
        assert client.get("/healthz").status_code == 200
        for address in ("/readyz", PREDICTIONS, "/api/vision-segment/outputs/a.png"):
            reply = client.get(address)
            assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
            assert int(reply.headers["retry-after"]) > 0


def test_without_redis_it_is_ready_and_says_degraded(
    installation: Installation, homeless: Installation, make_key: Callable[..., str]
) -> None:
    object.__setattr__(homeless, "database", installation.database)
    with TestClient(create_app(homeless), headers=bearer(make_key())) as client:
        assert client.get("/readyz").json()["degraded"][0] == "broker"
        assert client.get(PREDICTIONS).status_code == 200


def test_the_description_is_whole(client: TestClient) -> None:
    described = client.get("/openapi.json", headers={"Authorization": ""}).json()
    assert described["openapi"] == "3.1.0"
    assert {code["code"] for code in described["x-error-codes"]} == set(ErrorCode)
    for path, item in described["paths"].items():
        for operation in item.values():
            default = operation["responses"]["default"]["content"]
            assert list(default) == ["application/problem+json"]
            open_to_all = path in ("/healthz", "/readyz")
            assert operation.get("security", []) == ([] if open_to_all else [{"bearer": []}])
            assert operation["description"]
    names = [op["operationId"] for item in described["paths"].values() for op in item.values()]
    assert len(names) == len(set(names))
    known = described["components"]["schemas"]
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', str(described).replace("'", '"')))
    assert referred <= set(known)
    assert "HTTPValidationError" not in known


def test_every_example_of_the_description_is_accepted(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    tried = 0
    for path, item in paths.items():
        if "{" in path:
            continue  # they are about a prediction: tests/lifecycle/test_render_routes.py
        content = item.get("post", {}).get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            reply = client.post(path, json=example["value"], headers={"Prefer": "respond-async"})
            assert reply.status_code == 202, reply.text
            tried += 1
    assert tried == 5


def test_the_documents_load_nothing_from_elsewhere(client: TestClient) -> None:
    client.headers.pop("authorization")
    root = client.get("/", follow_redirects=False)
    assert (root.status_code, root.headers["location"]) == (307, "docs")
    page = client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "'unsafe" not in policy
    assert "http" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert loaded == ["data:,", "docs/docs.css", "docs/docs.js", "openapi.json"]
    for address in loaded[1:]:
        text_of = client.get(f"/{address}")
        assert text_of.status_code == 200
        assert address == "openapi.json" or "//" not in text_of.text.replace("// ", "")


def test_the_models_are_listed_with_what_can_answer_here(client: TestClient) -> None:
    reply = client.get("/v1/vision-segment/models")
    assert list(reply.json()) == ["models"]
    listed = {model["name"]: model for model in reply.json()["models"]}
    assert {name: model["available"] for name, model in listed.items()} == {
        name: name == LITE for name in MODELS
    }
    assert list(listed["embedded/lite"]) == list(ServedModel.model_fields)
