"""Zero retention: a result goes once a client has all of it, and not a byte sooner."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from api.routes import outputs
from tests.serving import (
    AT_ONCE,
    IMAGE_BODY,
    PREDICTIONS,
    Running,
    bearer,
    finish_next,
    running,
    wait_until,
    with_http,
)
from visionseg.access import keys
from visionseg.access.keys import Bounds
from visionseg.artifacts.names import PUBLIC_PATH
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import delete_expired_files
from visionseg.records import predictions

MIB = 1024 * 1024
LARGE = bytes(range(256)) * (24 * MIB // 256)
"""More than the sockets of a connection hold, so that a reader that stops holds the sender up."""
SMALL = bytes(300_000)
"""Too large for a data URI."""


@pytest.fixture(params=[30.0])
def server(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server that keeps a hold silent for so long, in seconds."""
    with running(with_http(installation, heartbeat_after_s=request.param)) as started:
        yield started


@pytest.fixture
def secret(installation: Installation) -> str:
    """A key of zero retention."""
    pepper = installation.settings.http.key_pepper.get_secret_value()
    return keys.create(installation.database, pepper, "zero", bounds=Bounds(keep_s=0)).secret


@pytest.fixture
def http(server: Running, secret: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, headers=bearer(secret), timeout=120) as client:
        yield client


def _result(http: httpx2.Client, installation: Installation, data: bytes) -> str:
    """The address of a result of so many bytes."""
    http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    made = finish_next(installation, data)
    (artifact,) = http.get(f"{PREDICTIONS}/{made}").json()["artifacts"]
    url: str = artifact["url"]
    return url


def _is_gone(http: httpx2.Client, url: str) -> bool:
    status = http.head(url).status_code
    assert status in {200, 410}
    return status == 410


def _stored(installation: Installation) -> list[str]:
    root = installation.settings.storage.files
    return [path.name for path in root.rglob("*") if path.is_file()]


def _range(http: httpx2.Client, url: str, first: int, last: int) -> None:
    reply = http.get(url, headers={"Range": f"bytes={first}-{last}"})
    assert (reply.status_code, len(reply.content)) == (206, last - first + 1)


def test_a_whole_download_is_the_last_one(http: httpx2.Client, installation: Installation) -> None:
    url = _result(http, installation, SMALL)
    record = http.get(http.get(PREDICTIONS).json()["results"][0]["urls"]["get"]).json()
    expires, ended = record["artifacts"][0]["expires_at"], record["completed_at"]
    kept_s = datetime.fromisoformat(expires) - datetime.fromisoformat(ended)
    assert kept_s.total_seconds() == pytest.approx(3600, abs=60)
    assert http.get(url, headers={"If-None-Match": "*"}).status_code == 304
    assert not _is_gone(http, url)
    assert http.get(url).content == SMALL
    wait_until(lambda: _is_gone(http, url))
    assert http.get(url).json()["code"] == "gone"
    assert http.get(record["urls"]["get"]).json()["output"] == url
    delete_expired_files(installation)
    assert _stored(installation) == []


def test_ranges_let_it_go_once_they_cover_it(
    http: httpx2.Client, installation: Installation
) -> None:
    url = _result(http, installation, SMALL)
    for first, last in ((299_000, 299_999), (100_000, 200_000), (150_000, 299_500)):
        _range(http, url, first, last)
    with installation.database.connect() as connection:
        wait_until(lambda: _sent(connection) == "{[100000,300000)}")
    assert not _is_gone(http, url)
    _range(http, url, 0, 99_999)
    wait_until(lambda: _is_gone(http, url))


def _sent(connection: Any) -> str:
    found = connection.execute(text("SELECT sent::text FROM files WHERE role = 'artifact'"))
    connection.rollback()
    return str(found.scalar_one())


def test_a_broken_download_deletes_nothing(http: httpx2.Client, installation: Installation) -> None:
    url = _result(http, installation, LARGE)
    with http.stream("GET", url) as reply:
        next(reply.iter_bytes(MIB))
    delete_expired_files(installation)
    assert not _is_gone(http, url)
    assert http.get(url).content == LARGE
    wait_until(lambda: _is_gone(http, url))


def test_a_slow_reader_gets_all_of_a_file_that_is_deleted_meanwhile(
    http: httpx2.Client, installation: Installation
) -> None:
    url = _result(http, installation, LARGE)
    with http.stream("GET", url) as slow:
        pieces = slow.iter_bytes(MIB)
        got = bytearray(next(pieces))
        assert http.get(url).content == LARGE
        wait_until(lambda: _is_gone(http, url))
        delete_expired_files(installation)
        assert _stored(installation) == []
        for piece in pieces:
            got += piece
    assert got == LARGE


def test_a_file_that_went_between_the_look_and_the_opening_is_gone(
    http: httpx2.Client, installation: Installation
) -> None:
    url = _result(http, installation, SMALL)
    with installation.database.connect() as connection:
        row = connection.execute(text("SELECT * FROM files WHERE role = 'artifact'")).one()
    http.get(url)
    wait_until(lambda: _is_gone(http, url))
    delete_expired_files(installation)
    with pytest.raises(Refusal) as refused:
        outputs._open(installation, row, 0)
    assert refused.value.code is ErrorCode.GONE


def test_a_record_that_holds_the_output_is_its_download(
    http: httpx2.Client, installation: Installation
) -> None:
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(http.post, PREDICTIONS, json=IMAGE_BODY)
        wait_until(lambda: _open_count(installation))
        finish_next(installation)
        record = held.result().json()
    assert record["output"].startswith("data:")
    (artifact,) = record["artifacts"]
    wait_until(lambda: _is_gone(http, artifact["url"]))
    assert http.get(record["urls"]["get"]).json()["output"] == artifact["url"]


@pytest.mark.parametrize("server", [0.2], indirect=True)
def test_a_held_answer_with_spaces_is_a_download_too(
    http: httpx2.Client, installation: Installation, server: Running
) -> None:
    with http.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
        text_pieces = reply.iter_text()
        assert next(text_pieces) == " "
        made = finish_next(installation)
        assert "data:" in "".join(text_pieces)
    wait_until(lambda: _is_gone(http, _address(server, made)))


def _address(server: Running, made: str) -> str:
    return f"{server.url}{PUBLIC_PATH}{made}_mask_000.png"


@pytest.mark.parametrize("server", [0.2, 30.0], indirect=True)
def test_a_client_that_left_its_hold_loses_nothing(
    http: httpx2.Client, installation: Installation, server: Running, secret: str
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    body = b'{"input": {"image": "%s"}}' % IMAGE_BODY["input"]["image"].encode()
    head = (
        f"POST {PREDICTIONS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(head.encode() + body)
        wait_until(lambda: _open_count(installation))
    made = finish_next(installation, b"a mask")
    url = _address(server, made)
    for _ in range(20):
        assert not _is_gone(http, url)
    reply = http.get(f"{PREDICTIONS}/{made}", headers={"If-None-Match": "*"})
    assert reply.status_code == 304
    assert http.get(f"{PREDICTIONS}?limit=1").json()["results"][0]["output"] == url
    record = http.get(f"{PREDICTIONS}/{made}").json()
    assert base64.b64decode(record["output"].partition(",")[2]) == b"a mask"
    wait_until(lambda: _is_gone(http, url))


def _open_count(installation: Installation) -> int:
    with installation.database.connect() as connection:
        return predictions.count_open(connection)


def test_an_upload_of_such_a_key_lives_an_hour(http: httpx2.Client, png: bytes) -> None:
    told = http.post("/v1/files", content=png).json()
    lives = datetime.fromisoformat(told["expires_at"]) - datetime.fromisoformat(told["created_at"])
    assert lives.total_seconds() == pytest.approx(3600, abs=60)
    body = {"input": {"image": told["id"]}}
    assert http.post(PREDICTIONS, json=body, headers=AT_ONCE).status_code == 202


@pytest.fixture
def png() -> bytes:
    return base64.b64decode(str(IMAGE_BODY["input"]["image"]).partition(",")[2])


def test_other_keys_keep_what_they_download(
    http: httpx2.Client, installation: Installation, make_key: Callable[..., str]
) -> None:
    http.headers.update(bearer(make_key()))
    url = _result(http, installation, SMALL)
    for _ in range(5):
        assert http.get(url).content == SMALL
