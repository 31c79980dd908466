"""Downloads from a real TLS server on the loopback address, opened by an allow-list."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.fakes.tls_sites import (
    HOST,
    LIMITS,
    Answer,
    TlsSite,
    refusal,
    send,
    send_chunks,
    tls_site,
)
from visionseg.access.addresses import AddressPolicy
from visionseg.access.fetch import Fetcher, FetchLimits, FetchStopped
from visionseg.contract.errors import ErrorCode, Refusal

BODY = bytes(range(256)) * 2000


@pytest.fixture
def site() -> Iterator[TlsSite]:
    with tls_site() as made:
        yield made


@pytest.fixture
def fetcher(site: TlsSite) -> Fetcher:
    return site.fetcher()


def redirecting(location: str, status: int = 302) -> Answer:
    return lambda handler: send(handler, b"elsewhere", status=status, Location=location)


def test_a_file_arrives_whole_summed_and_alone(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file?a=1"] = lambda h: send(h, BODY, Content_Type="video/mp4")
    heard: list[int] = []
    fetched = fetcher.fetch(site.url("/file?a=1"), tmp_path / "in", on_bytes=heard.append)
    assert (tmp_path / "in").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert (fetched.size_bytes, fetched.content_type) == (len(BODY), "video/mp4")
    assert fetched.sha256 == hashlib.sha256(BODY).hexdigest()
    assert fetched.final_url == site.url("/file?a=1")
    assert heard == sorted(heard)
    assert heard[-1] == len(BODY)


def test_the_request_carries_no_credentials_and_asks_for_no_compression(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    site.routes["/file"] = lambda h: send(h, b"x")
    fetcher.fetch(site.url(), tmp_path / "in")
    assert site.asked == [
        {
            "host": f"{HOST}:{site.port}",
            "user-agent": "visionseg",
            "accept": "*/*",
            "accept-encoding": "identity",
        }
    ]


def test_proxies_of_the_environment_are_not_asked(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.routes["/file"] = lambda h: send(h, b"x")
    assert fetcher.fetch(site.url(), tmp_path / "in").size_bytes == 1


def test_a_chunked_body_without_a_length_arrives_whole(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send_chunks(h, iter([b"abc", b"def"]))
    fetcher.fetch(site.url(), tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"abcdef"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_also_relative_ones(
    status: int, site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = redirecting("/other?x=1", status)
    site.routes["/other?x=1"] = lambda h: send(h, b"there")
    fetched = fetcher.fetch(site.url(), tmp_path / "in")
    assert (fetched.final_url, fetched.size_bytes) == (site.url("/other?x=1"), 5)


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("https://10.0.0.1/secret", "The host 10.0.0.1 is not on the public Internet."),
        ("https://169.254.169.254/", "The host 169.254.169.254 is not on the public Internet."),
        ("https://inner.test/", "The host inner.test is not on the public Internet."),
        ("https://[::1]/", "The host ::1 is not on the public Internet."),
        ("http://media.test/", "The URL must begin with https://."),
        ("file:///etc/passwd", "The URL must begin with https://."),
        ("https://me:secret@media.test/", "The URL must not hold a user name or a password."),
        ("https://media.test:22/", "Port 22 may not be reached from here; use 443."),
    ],
)
def test_a_redirect_to_a_closed_place_is_refused(
    location: str, sentence: str, site: TlsSite, tmp_path: Path
) -> None:
    site.routes["/file"] = redirecting(location)
    addresses = {"10.0.0.1": "10.0.0.1", "169.254.169.254": "169.254.169.254", "::1": "::1"}
    guarded = site.fetcher(resolver=lambda host, _port: [addresses.get(host, "127.0.0.1")])
    assert refusal(guarded, site.url(), tmp_path / "in") == (ErrorCode.INPUT_REFUSED, sentence)


def test_a_name_whose_answers_mix_public_and_private_is_never_connected_to(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    guarded = Fetcher(AddressPolicy(), LIMITS, lambda _h, _p: ["8.8.8.8", "127.0.0.1"])
    code, sentence = refusal(guarded, f"https://{HOST}/file", tmp_path / "in")
    assert code is ErrorCode.INPUT_REFUSED
    assert "127" not in sentence
    assert site.asked == []


def test_the_name_is_looked_up_once_so_a_second_answer_cannot_differ(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    asked: list[str] = []

    def resolver(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    site.routes["/file"] = lambda h: send(h, b"x")
    site.fetcher(resolver=resolver).fetch(site.url(), tmp_path / "in")
    assert asked == [HOST]


def test_the_next_address_is_tried_when_the_first_takes_no_connection(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send(h, b"x")
    two = site.fetcher(resolver=lambda _h, _p: ["::1", "127.0.0.1"])
    assert two.fetch(site.url(), tmp_path / "in").size_bytes == 1


def test_too_many_redirects_end_as_unreachable(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = redirecting("/file")
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        "It redirects too often.",
    )
    assert len(site.asked) == 6


@pytest.mark.parametrize("status", [204, 206, 302, 401, 404, 500])
def test_another_status_is_told(
    status: int, site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send(h, b"", status=status)
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        f"The server answered with status {status}.",
    )


def test_a_compressed_answer_is_refused_rather_than_unpacked(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send(h, b"x", Content_Encoding="gzip")
    assert refusal(fetcher, site.url(), tmp_path / "in")[0] is ErrorCode.INPUT_UNREACHABLE


@pytest.mark.parametrize("location", ["https://[::1", "https://a:b:c/"])
def test_a_redirect_to_no_url_is_refused(
    location: str, site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = redirecting(location)
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_REFUSED,
        "This is not a URL that can be read.",
    )


def test_a_certificate_of_another_authority_is_told(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    stranger = Fetcher(fetcher.policy, LIMITS, fetcher.resolver)
    code, sentence = refusal(stranger, site.url(), tmp_path / "in")
    assert code is ErrorCode.INPUT_UNREACHABLE
    assert sentence.startswith("The certificate of media.test is not valid")


def test_a_certificate_is_verified_for_the_name_not_the_address(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    other = site.fetcher(name="other.test")
    sentence = refusal(other, f"https://other.test:{site.port}/file", tmp_path / "in")[1]
    assert sentence.startswith("The certificate of other.test is not valid")


def test_a_closed_port_is_unreachable(site: TlsSite, fetcher: Fetcher, tmp_path: Path) -> None:
    policy = AddressPolicy.of(["media.test:1"])
    closed = Fetcher(policy, LIMITS, fetcher.resolver, fetcher.ssl_context)
    assert refusal(closed, "https://media.test:1/", tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        "media.test refused the connection or cannot be reached.",
    )


def test_a_server_without_tls_is_told(fetcher: Fetcher, tmp_path: Path) -> None:
    def answer_plainly() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_plainly)
        thread.start()
        port = listener.getsockname()[1]
        plain = Fetcher(AddressPolicy.of([f"{HOST}:{port}"]), LIMITS, fetcher.resolver)
        assert refusal(plain, f"https://{HOST}:{port}/", tmp_path / "in") == (
            ErrorCode.INPUT_UNREACHABLE,
            "media.test does not speak TLS as it should.",
        )
        thread.join()


def test_an_announced_size_over_the_limit_is_refused_before_the_body(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send(h, b"", length=10**9)
    assert refusal(fetcher, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_TOO_LARGE,
        "The input is larger than 1,000,000 bytes.",
    )


def test_a_body_that_grows_over_the_limit_is_cut_off(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    site.routes["/file"] = lambda h: send_chunks(h, (b"x" * 65536 for _ in range(100)))
    assert refusal(fetcher, site.url(), tmp_path / "in")[0] is ErrorCode.INPUT_TOO_LARGE


def trickle() -> Iterator[bytes]:
    """A byte now and then, until the client has had enough."""
    for _ in range(400):
        time.sleep(0.05)
        yield b"x"


def test_a_trickle_ends_at_the_total_limit(site: TlsSite, fetcher: Fetcher, tmp_path: Path) -> None:
    site.routes["/file"] = lambda h: send_chunks(h, trickle())
    hasty = site.fetcher(FetchLimits(size_bytes=10**6, total_s=0.3))
    assert refusal(hasty, site.url(), tmp_path / "in") == (
        ErrorCode.INPUT_UNREACHABLE,
        "The download took longer than 0.3 s.",
    )


def silent(done: threading.Event) -> None:
    done.wait(10)


def test_a_silent_server_ends_at_the_stall_limit(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    done = threading.Event()
    site.routes["/file"] = lambda _handler: silent(done)
    hasty = site.fetcher(FetchLimits(size_bytes=10**6, stall_s=0.2))
    try:
        assert refusal(hasty, site.url(), tmp_path / "in") == (
            ErrorCode.INPUT_UNREACHABLE,
            "media.test sent nothing for too long.",
        )
    finally:
        done.set()


def test_a_stop_ends_a_download_that_waits_for_bytes(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    done, stop = threading.Event(), threading.Event()

    def stopping(_handler: BaseHTTPRequestHandler) -> None:
        stop.set()
        silent(done)

    site.routes["/file"] = stopping
    try:
        with pytest.raises(FetchStopped):
            fetcher.fetch(site.url(), tmp_path / "in", should_stop=stop.is_set)
    finally:
        done.set()
    assert list(tmp_path.iterdir()) == []


def test_a_pause_of_a_second_amid_the_body_is_waited_for(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    def pausing() -> Iterator[bytes]:
        yield b"before "
        time.sleep(1.2)
        yield b"after"

    site.routes["/file"] = lambda h: send_chunks(h, pausing())
    fetcher.fetch(site.url(), tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"before after"


def test_a_file_that_stood_there_before_survives_a_failed_download(
    site: TlsSite, fetcher: Fetcher, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"before")
    site.routes["/file"] = lambda h: send(h, b"", status=404)
    with pytest.raises(Refusal):
        fetcher.fetch(site.url(), tmp_path / "in")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
