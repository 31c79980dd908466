"""An HTTPS server on the loopback address whose every answer a test writes itself."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from visionseg.access.addresses import AddressPolicy, Resolver
from visionseg.access.fetch import Fetcher, FetchLimits
from visionseg.contract.errors import ErrorCode, Refusal

HOST = "media.test"
LIMITS = FetchLimits(size_bytes=10**6, total_s=20, stall_s=5, connect_s=2, first_wait_s=0.01)

Answer = Callable[[BaseHTTPRequestHandler], None]


def loopback(_host: str, _port: int) -> list[str]:
    """The name service of these tests: every name is this machine."""
    return ["127.0.0.1"]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what many of the tests are about."""


@dataclass(frozen=True)
class Posted:
    """One POST that a site was sent."""

    path: str
    headers: dict[str, str]
    body: bytes


class TlsSite:
    """One server: `routes` answer its paths, `asked` keeps the headers that it was sent.

    `posted` keeps what was sent by POST. `trust` is a client's context that accepts the
    certificate, which `authority` signed.
    """

    def __init__(self) -> None:
        self.authority = trustme.CA()
        self.posted: list[Posted] = []
        self.routes: dict[str, Answer] = {}
        self.asked: list[dict[str, str]] = []
        self.trust = ssl.create_default_context()
        self.authority.configure_trust(self.trust)
        self._server = _Server(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(HOST, "localhost").configure_cert(context)
        # The handshake belongs to the connection's own thread, or one client would block all.
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append({key.lower(): value for key, value in self.headers.items()})
                site.routes[self.path](self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {key.lower(): value for key, value in self.headers.items()}
                site.posted.append(Posted(self.path, headers, body))
                site.routes[self.path](self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
                """Keeps the test's output clean."""

        return Handler

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def url(self, path: str = "/file") -> str:
        """The address of one of its paths."""
        return f"https://{HOST}:{self.port}{path}"

    def fetcher(
        self,
        limits: FetchLimits = LIMITS,
        resolver: Resolver = loopback,
        name: str = HOST,
    ) -> Fetcher:
        """One that may reach this server under `name`."""
        policy = AddressPolicy.of([f"{name}:{self.port}"])
        return Fetcher(policy, limits, resolver, self.trust)

    def close(self) -> None:
        """Ends the server and its threads."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def tls_site() -> Iterator[TlsSite]:
    """A server that ends with the block."""
    site = TlsSite()
    try:
        yield site
    finally:
        site.close()


def send(
    handler: BaseHTTPRequestHandler,
    body: bytes,
    *,
    status: int = 200,
    length: int | None = None,
    **headers: str,
) -> None:
    """Answers with `body`, announced as `length` bytes; underscores in names become hyphens."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.flush()
    handler.close_connection = True


def send_chunks(handler: BaseHTTPRequestHandler, chunks: Iterator[bytes]) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for chunk in chunks:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    handler.wfile.write(b"0\r\n\r\n")


def refusal(fetcher: Fetcher, url: str, destination: Path) -> tuple[ErrorCode, str]:
    """What the download is refused with; nothing may be left of it."""
    with pytest.raises(Refusal) as refused:
        fetcher.fetch(url, destination)
    assert list(destination.parent.iterdir()) == []
    return refused.value.code, refused.value.detail
