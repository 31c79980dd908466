"""Connections that go to checked addresses only, and that can be watched while they wait."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpcore2

from visionseg.access.addresses import Target

WATCH_EVERY_S = 0.5
MOST_ADDRESSES = 4

Watch = Callable[[], None]


class PinnedBackend(httpcore2.NetworkBackend):
    """Connects to the addresses of one target, in turn, whatever host it is asked for.

    The name is not looked up again, so it cannot have changed since it was checked. `watch` is
    called every half second of waiting for data; what it raises ends the wait.
    """

    def __init__(self, target: Target, watch: Watch) -> None:
        self._target = target
        self._watch = watch
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """A connection to the first address that takes it; raises what the last one said."""
        if (host, port) != (self._target.host, self._target.port):
            raise httpcore2.ConnectError(f"{host}:{port} is not the checked target")
        failure: Exception = httpcore2.ConnectError("no address")
        for address in self._target.addresses[:MOST_ADDRESSES]:
            self._watch()
            try:
                stream = self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return WatchedStream(stream, self._watch)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class WatchedStream(httpcore2.NetworkStream):
    """A stream whose reads call `watch` while they wait, and give up after the usual timeout."""

    def __init__(self, inner: httpcore2.NetworkStream, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes, empty at the end; raises ReadTimeout after `timeout` seconds of none."""
        give_up_at = time.monotonic() + (timeout if timeout is not None else float("inf"))
        while True:
            self._watch()
            left_s = give_up_at - time.monotonic()
            try:
                return self._inner.read(max_bytes, min(WATCH_EVERY_S, max(left_s, 0.001)))
            except httpcore2.ReadTimeout:
                if time.monotonic() >= give_up_at:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Sends all of `buffer`."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Closes the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """The same connection under TLS, its certificate verified for `server_hostname`."""
        return WatchedStream(
            self._inner.start_tls(ssl_context, server_hostname, timeout), self._watch
        )

    def get_extra_info(self, info: str) -> object:
        """What the inner stream knows about itself."""
        return self._inner.get_extra_info(info)


def pinned_pool(
    target: Target, watch: Watch, ssl_context: ssl.SSLContext | None = None
) -> httpcore2.ConnectionPool:
    """A pool for one target: HTTP/1.1, no proxy, no retry of its own; close it after use."""
    return httpcore2.ConnectionPool(
        ssl_context=ssl_context or httpcore2.default_ssl_context(),
        max_connections=1,
        network_backend=PinnedBackend(target, watch),
    )


def trust(ca_file: Path | None) -> ssl.SSLContext | None:
    """A context that trusts a file's certificates beside the system's; None without a file."""
    if ca_file is None:
        return None
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=ca_file)
    return context


def connect_sentence(host: str, error: Exception) -> str:
    """What went wrong, without the system's words, which could tell addresses."""
    cause: BaseException | None = error
    # The pool raises `from None`, which hides the cause but keeps the context.
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate of {host} is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return f"{host} does not speak TLS as it should."
        cause = cause.__context__
    return f"{host} refused the connection or cannot be reached."
