"""Downloads: whole, in ranges, conditional, and for the owner alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import httpx2
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer, finish_next, running
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import sweep

DATA = bytes(range(256)) * 4096  # 1 MiB: several pieces
SIZE = len(DATA)


@pytest.fixture
def url(client: TestClient, installation: Installation) -> str:
    client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    record = client.get(f"{PREDICTIONS}/{finish_next(installation, DATA)}").json()
    address: str = record["output"]
    return address


def test_a_file_comes_whole_and_can_do_no_harm_in_a_browser(client: TestClient, url: str) -> None:
    reply = client.get(url)
    assert (reply.status_code, reply.content) == (200, DATA)
    kept = {name: value for name, value in reply.headers.items() if name != "x-request-id"}
    assert kept == {
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": f'inline; filename="{url.rpartition("/")[2]}"',
        "content-length": str(SIZE),
        "content-security-policy": (
            "default-src 'none'; img-src 'self'; media-src 'self'; sandbox"
        ),
        "content-type": "image/png",
        "etag": f'"{hashlib.sha256(DATA).hexdigest()}"',
        "x-content-type-options": "nosniff",
    }
    head = client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "x-request-id": ""} == {**reply.headers, "x-request-id": ""}


def test_one_range_is_206_with_exactly_its_bytes(client: TestClient, url: str) -> None:
    for asked, first, last in (
        ("bytes=0-0", 0, 0),
        ("bytes=100-300000", 100, 300_000),
        ("bytes=1000000-", 1_000_000, SIZE - 1),
        ("bytes=-5", SIZE - 5, SIZE - 1),
        ("bytes=-99999999", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-99999999", SIZE - 1, SIZE - 1),
    ):
        reply = client.get(url, headers={"Range": asked})
        assert (reply.status_code, reply.content) == (206, DATA[first : last + 1])
        assert reply.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
        assert reply.headers["content-length"] == str(last - first + 1)
    head = client.head(url, headers={"Range": "bytes=10-19"})
    assert (head.status_code, head.headers["content-length"]) == (206, "10")


def test_a_range_outside_the_file_is_416_and_tells_the_size(client: TestClient, url: str) -> None:
    for asked in (f"bytes={SIZE}-", "bytes=-0", "bytes=99999999-99999999"):
        reply = client.get(url, headers={"Range": asked})
        assert (reply.status_code, reply.json()["code"]) == (416, "range_not_satisfiable")
        assert reply.headers["content-range"] == f"bytes */{SIZE}"


def test_ranges_that_cannot_be_read_and_several_at_once_give_the_whole_file(
    client: TestClient, url: str
) -> None:
    for asked in ("bytes=", "bytes=-", "bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,4-5"):
        reply = client.get(url, headers={"Range": asked})
        assert (reply.status_code, len(reply.content)) == (200, SIZE)


def test_a_part_of_another_file_is_not_continued(client: TestClient, url: str) -> None:
    etag = client.head(url).headers["etag"]
    same = client.get(url, headers={"Range": "bytes=0-9", "If-Range": etag})
    other = client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_a_file_that_the_client_has_is_304(client: TestClient, url: str) -> None:
    etag = client.head(url).headers["etag"]
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        reply = client.get(url, headers={"If-None-Match": known})
        assert (reply.status_code, reply.content) == (304, b"")
        assert reply.headers["etag"] == etag
    assert client.get(url, headers={"If-None-Match": '"x"'}).status_code == 200


def test_other_organisations_and_strangers_get_nothing(
    client: TestClient, url: str, make_key: Callable[..., str]
) -> None:
    other = client.get(url, headers=bearer(make_key(organisation="other")))
    assert (other.status_code, other.json()["code"]) == (404, "not_found")
    assert client.get(url, headers={"Authorization": ""}).status_code == 401
    assert client.get(f"{url}x").status_code == 404


def test_a_file_swept_away_while_it_is_sent_is_sent_whole_and_then_gone(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    data = DATA * 24  # more than the sockets between take by themselves
    with (
        running(installation) as server,
        httpx2.Client(base_url=server.url, headers=bearer(make_key()), timeout=60) as http,
    ):
        made = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()
        finish_next(installation, data)
        address = http.get(made["urls"]["get"]).json()["output"]
        with http.stream("GET", address) as reply:
            pieces = reply.iter_bytes()
            received = next(pieces)
            with installation.database.begin() as connection:
                connection.execute(text("UPDATE files SET expires_at = clock_timestamp()"))
            with installation.database.connect() as connection:
                kept = text("SELECT 1 FROM files WHERE deleted_at IS NULL")
                while connection.execute(kept).all():
                    sweep(installation)
            assert [*installation.settings.storage.files.rglob("*.png")] == []
            assert received + b"".join(pieces) == data
        assert http.get(address).status_code == 410
