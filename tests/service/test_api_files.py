"""Uploads: streamed to the store, named as inputs, gone when deleted, nobody else's business."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import AT_ONCE, PREDICTIONS, bearer, finish_next, with_limits
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import delete_expired_files

FILES = "/v1/files"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 5000


@pytest.fixture
def small(installation: Installation, make_key: Callable[..., str]) -> Iterator[TestClient]:
    """A client of a service that takes uploads of a thousand bytes."""
    limited = with_limits(installation, download_bytes=1000)
    with TestClient(create_app(limited), headers=bearer(make_key())) as opened:
        yield opened


def test_an_upload_is_told_and_can_be_fetched(client: TestClient) -> None:
    reply = client.post(FILES, content=PICTURE, headers={"Content-Type": "text/html"})
    assert reply.status_code == 201
    told = reply.json()
    assert sorted(told) == [
        "content_type",
        "created_at",
        "expires_at",
        "id",
        "sha256",
        "size_bytes",
        "url",
    ]
    assert (told["content_type"], told["size_bytes"]) == ("image/png", len(PICTURE))
    assert told["sha256"] == hashlib.sha256(PICTURE).hexdigest()
    assert client.get(reply.headers["Location"]).json() == told
    assert client.get(told["url"]).content == PICTURE


@pytest.mark.parametrize("by", ["id", "url"])
def test_an_upload_is_an_input_by_its_id_and_its_address(
    client: TestClient, installation: Installation, by: str
) -> None:
    told = client.post(FILES, content=PICTURE).json()
    body = {"input": {"image": told[by], "prompt": "person"}}
    made = client.post(PREDICTIONS, json=body, headers=AT_ONCE)
    assert made.status_code == 202, made.text
    assert made.json()["input"]["image"] == told[by]
    finish_next(installation)


def test_what_is_no_picture_or_video_is_refused_and_leaves_nothing(
    client: TestClient, installation: Installation
) -> None:
    reply = client.post(FILES, content=b"#EXTM3U\n", headers={"Content-Type": "video/mp4"})
    assert (reply.status_code, reply.json()["code"]) == (415, "unsupported_media_type")
    files = [path for path in installation.settings.storage.files.rglob("*") if path.is_file()]
    assert files == []


def _pieces() -> Iterator[bytes]:
    yield from (PICTURE[:400] for _ in range(5))


def test_an_upload_that_is_too_large_is_refused_told_or_not(small: TestClient) -> None:
    told = small.post(FILES, content=PICTURE)
    assert (told.status_code, told.json()["code"]) == (413, "payload_too_large")
    untold = small.post(FILES, content=_pieces())
    assert (untold.status_code, untold.json()["code"]) == (413, "payload_too_large")


def test_a_deleted_upload_is_gone_for_everyone(
    client: TestClient, installation: Installation
) -> None:
    told = client.post(FILES, content=PICTURE).json()
    assert client.delete(f"{FILES}/{told['id']}").status_code == 204
    for reply in (client.get(f"{FILES}/{told['id']}"), client.get(told["url"])):
        assert (reply.status_code, reply.json()["code"]) == (410, "gone")
    body = {"input": {"image": told["id"], "prompt": "person"}}
    assert client.post(PREDICTIONS, json=body, headers=AT_ONCE).status_code == 410
    delete_expired_files(installation)
    assert not any(installation.settings.storage.files.glob("*/file_*"))


@pytest.mark.parametrize("name", ["file_unknown", "file_" + "0" * 26])
def test_an_unknown_upload_is_not_found(client: TestClient, name: str) -> None:
    assert client.get(f"{FILES}/{name}").status_code == 404
    assert client.delete(f"{FILES}/{name}").status_code == 404


def test_an_upload_of_another_organisation_is_not_there(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    told = client.post(FILES, content=PICTURE).json()
    client.headers.update(bearer(make_key(organisation="another")))
    assert client.get(f"{FILES}/{told['id']}").status_code == 404
    assert client.get(told["url"]).status_code == 404
    assert client.delete(f"{FILES}/{told['id']}").status_code == 404
    body = {"input": {"image": told["id"], "prompt": "person"}}
    assert client.post(PREDICTIONS, json=body, headers=AT_ONCE).status_code == 404
