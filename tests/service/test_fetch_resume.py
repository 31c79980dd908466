"""Downloads whose connection breaks off midway."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.fakes.tls_sites import Answer, TlsSite, hang_up, refusal, send, tls_site
from visionseg.access.fetch import Fetcher
from visionseg.contract.errors import ErrorCode

BODY = bytes(range(256)) * 2000


@pytest.fixture
def site() -> Iterator[TlsSite]:
    with tls_site() as made:
        yield made


@pytest.fixture
def fetcher(site: TlsSite) -> Fetcher:
    return site.fetcher()


def breaking(body: bytes, piece: int, **headers: str) -> Answer:
    """A server that sends `piece` bytes a time and hangs up, and goes on where a Range asks."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        rest = body[start:]
        if start:
            headers["Content_Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        status = 206 if start else 200
        send(handler, rest[:piece], status=status, length=len(rest), **headers)
        hang_up(handler)

    return answer


@pytest.mark.parametrize(
    ("validator", "named"),
    [
        ({"ETag": '"v1"'}, '"v1"'),
        ({"Last_Modified": "Mon, 02 Mar 2026 10:00:00 GMT"}, "Mon, 02 Mar 2026 10:00:00 GMT"),
        ({"ETag": 'W/"v"', "Last_Modified": "Mon, 02 Mar 2026 10:00:00 GMT"}, "Mon, 02 Mar"),
    ],
)
def test_a_dropped_download_goes_on_where_it_broke_off(
    validator: dict[str, str], named: str, site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = breaking(BODY, 200_000, Accept_Ranges="bytes", **validator)
    fetched = fetcher.fetch(site.url(), tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == BODY
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest()
    assert [asked.get("range") for asked in site.asked] == [None, "bytes=200000-", "bytes=400000-"]
    assert site.asked[1]["if-range"].startswith(named)


def test_a_file_that_changed_meanwhile_is_fetched_anew(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if len(site.asked) == 1:
            send(handler, b"old", length=100, ETag='"1"', Accept_Ranges="bytes")
            hang_up(handler)
        else:
            send(handler, b"brand-new", ETag='"2"', Accept_Ranges="bytes")

    site.routes["/file"] = answer
    fetched = fetcher.fetch(site.url(), tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"brand-new"
    assert fetched.sha256 == hashlib.sha256(b"brand-new").hexdigest()


def test_a_part_that_is_not_the_one_asked_for_is_refused(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        kept = {"ETag": '"1"', "Accept_Ranges": "bytes", "Content_Range": "bytes 0-99/100"}
        send(handler, b"x" * 50, status=206 if len(site.asked) > 1 else 200, length=100, **kept)
        hang_up(handler)

    site.routes["/file"] = answer
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        "The server answered with status 206.",
    )


@pytest.mark.parametrize("headers", [{}, {"ETag": '"1"'}, {"Accept_Ranges": "bytes"}])
def test_a_drop_without_the_means_to_resume_is_final(
    headers: dict[str, str], site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = breaking(BODY, 1000, **headers)
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        "The connection to media.test broke off.",
    )
    assert len(site.asked) == 1


def test_a_download_is_resumed_three_times_at_most(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = breaking(BODY, 1000, ETag='"1"', Accept_Ranges="bytes")
    assert refusal(fetcher, site.url(), tmp_path / "in")[0] is ErrorCode.INPUT_UNREACHABLE
    assert len(site.asked) == 4
