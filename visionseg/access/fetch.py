"""Downloads of what clients name by URL, kept away from every host they may not reach."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpcore2
import httpx2

from visionseg.access.addresses import AddressPolicy, Resolver, parse_url, resolve, system_resolver
from visionseg.access.pinning import connect_sentence, pinned_pool
from visionseg.contract.errors import ErrorCode, Refusal

REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
USER_AGENT = "visionseg"


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """How much and how long: `stall_s` is the longest silence, `total_s` the longest download.

    A dropped download is tried `resumes` more times, after 1, 2, 4 … times `first_wait_s`.
    """

    size_bytes: int
    total_s: float = 3600.0
    stall_s: float = 30.0
    connect_s: float = 10.0
    redirects: int = 5
    resumes: int = 3
    first_wait_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole downloaded file; `content_type` is what the server claims, empty if nothing."""

    size_bytes: int
    sha256: str
    content_type: str
    final_url: str


class FetchStopped(Exception):  # noqa: N818 - the caller asked for it, it is no error
    """`should_stop` said so; nothing is left on the disk."""


class _Dropped(Exception):  # noqa: N818 - an event that `_Download` answers by resuming
    """The connection ended before the file did."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Downloads under one policy; `resolver` and `ssl_context` default to the machine's own."""

    policy: AddressPolicy
    limits: FetchLimits
    resolver: Resolver = system_resolver
    ssl_context: ssl.SSLContext | None = None

    def fetch(
        self,
        url: str,
        destination: Path,
        should_stop: Callable[[], bool] = lambda: False,
        on_bytes: Callable[[int], None] = lambda _size_bytes: None,
    ) -> Fetched:
        """Downloads `url` to `destination`, which then holds all of it or does not exist.

        Only https, port 443 (or what the policy names) and checked addresses, also after each
        redirect; no credentials, cookies or proxies. `on_bytes` hears the size so far;
        `should_stop` is asked each half second, save during name look-up and connecting.

        Raises Refusal: INPUT_REFUSED (not allowed from here), INPUT_UNREACHABLE (did not work) or
        INPUT_TOO_LARGE; FetchStopped; OSError if the disk fails.
        """
        with _published(destination) as file:
            download = _Download(self, url, file, should_stop, on_bytes)
            return download.run()


@dataclass(slots=True)
class _Download:
    """One file on its way: what has arrived so far, and how to ask for the rest."""

    fetcher: Fetcher
    url: str
    file: BinaryIO
    should_stop: Callable[[], bool]
    on_bytes: Callable[[int], None]
    size_bytes: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    validator: str | None = None
    deadline: float = 0.0

    def run(self) -> Fetched:
        limits = self.fetcher.limits
        self.deadline = time.monotonic() + limits.total_s
        for attempt in range(limits.resumes + 1):
            try:
                return self._follow()
            except _Dropped as drop:
                if self.validator is None or attempt == limits.resumes:
                    raise _unreachable(str(drop)) from drop
                self._pause(limits.first_wait_s * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _follow(self) -> Fetched:
        """From the first URL, since a redirect's target may have been signed for one use."""
        address = self.url
        for _ in range(self.fetcher.limits.redirects + 1):
            url = _parsed(address)
            with self._answer(url) as answer:
                location = _header(answer, b"location")
                if answer.status in REDIRECTS and location:
                    address = _joined(url, location)
                    continue
                self._receive(answer)
                content_type = _header(answer, b"content-type")
                return Fetched(self.size_bytes, self.digest.hexdigest(), content_type, str(url))
        raise _unreachable("It redirects too often.")

    @contextmanager
    def _answer(self, url: httpx2.URL) -> Iterator[httpcore2.Response]:
        fetcher, limits = self.fetcher, self.fetcher.limits
        self._watch()
        target = resolve(url, fetcher.policy, fetcher.resolver)
        timeout = {"connect": limits.connect_s, "read": limits.stall_s, "write": limits.stall_s}
        pool = pinned_pool(target, self._watch, fetcher.ssl_context)
        address = httpcore2.URL(
            scheme=b"https", host=url.raw_host, port=target.port, target=url.raw_path
        )
        with (
            closing(pool),
            self._failures_told(url),
            pool.stream(
                "GET", address, headers=self._headers(url), extensions={"timeout": timeout}
            ) as answer,
        ):
            yield answer

    def _headers(self, url: httpx2.URL) -> list[tuple[bytes, bytes]]:
        headers = [
            ("Host", url.netloc.decode("ascii")),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
        ]
        if self.size_bytes and self.validator:
            headers += [("Range", f"bytes={self.size_bytes}-"), ("If-Range", self.validator)]
        return [(name.encode(), value.encode("latin-1")) for name, value in headers]

    @contextmanager
    def _failures_told(self, url: httpx2.URL) -> Iterator[None]:
        """Turns what the connection says into a sentence, or into a drop that may be resumed."""
        try:
            yield
        except httpcore2.ConnectTimeout as error:
            raise self._failure(f"{url.host} did not take the connection in time.") from error
        except httpcore2.ConnectError as error:
            raise self._failure(connect_sentence(url.host, error)) from error
        except httpcore2.TimeoutException as error:
            raise _Dropped(f"{url.host} sent nothing for too long.") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise _Dropped(f"The connection to {url.host} broke off.") from error

    def _failure(self, sentence: str) -> Exception:
        """A server that cannot be reached at all is not tried again, one that once could is."""
        return _Dropped(sentence) if self.size_bytes else _unreachable(sentence)

    def _receive(self, answer: httpcore2.Response) -> None:
        self._place(answer)
        self._check_size(self.size_bytes + int(_header(answer, b"content-length") or 0))
        for part in answer.iter_stream():
            self._check_size(self.size_bytes + len(part))
            self.file.write(part)
            self.digest.update(part)
            self.size_bytes += len(part)
            self.on_bytes(self.size_bytes)
            self._watch()

    def _place(self, answer: httpcore2.Response) -> None:
        """Decides whether the body goes on where the last one broke off, or begins anew."""
        if answer.status == 206 and self._goes_on(answer):
            return
        if answer.status != 200:
            raise _unreachable(f"The server answered with status {answer.status}.")
        if _header(answer, b"content-encoding") not in {"", "identity"}:
            raise _unreachable("The server sent the file compressed, although asked not to.")
        self._begin_anew()
        self.validator = _validator(answer)

    def _goes_on(self, answer: httpcore2.Response) -> bool:
        found = CONTENT_RANGE.fullmatch(_header(answer, b"content-range"))
        return bool(self.size_bytes and found and int(found[1]) == self.size_bytes)

    def _begin_anew(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def _check_size(self, size_bytes: int) -> None:
        limit_bytes = self.fetcher.limits.size_bytes
        if size_bytes > limit_bytes:
            raise Refusal(
                ErrorCode.INPUT_TOO_LARGE, f"The input is larger than {limit_bytes:,} bytes."
            )

    def _watch(self) -> None:
        if self.should_stop():
            raise FetchStopped
        if time.monotonic() > self.deadline:
            raise _unreachable(f"The download took longer than {self.fetcher.limits.total_s:g} s.")

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left_s := end - time.monotonic()) > 0:
            self._watch()
            time.sleep(min(left_s, 0.1))


@contextmanager
def _published(destination: Path) -> Iterator[BinaryIO]:
    """A file that is renamed to `destination` when the block ends, and gone when it fails."""
    hidden = destination.with_name(f".{destination.name}.{secrets.token_hex(4)}.part")
    try:
        with hidden.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(destination)
    finally:
        hidden.unlink(missing_ok=True)
    folder = os.open(destination.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parsed(address: str) -> httpx2.URL:
    try:
        return parse_url(address)
    except ValueError as error:
        raise Refusal(ErrorCode.INPUT_REFUSED, str(error)) from error


def _joined(url: httpx2.URL, location: str) -> str:
    """Where a redirect leads; what cannot be joined is left for `_parsed` to refuse."""
    try:
        return str(url.join(location))
    except httpx2.InvalidURL:
        return location


def _header(answer: httpcore2.Response, name: bytes) -> str:
    """A header's first value, empty if there is none."""
    values = (value for key, value in answer.headers if key.lower() == name)
    return next(values, b"").decode("latin-1")


def _validator(answer: httpcore2.Response) -> str | None:
    """What If-Range may name (RFC 9110 §13.1.5: a strong ETag or a date), if ranges are taken."""
    if _header(answer, b"accept-ranges") != "bytes":
        return None
    etag = _header(answer, b"etag")
    strong = etag if etag.startswith('"') else ""
    return strong or _header(answer, b"last-modified") or None


def _unreachable(sentence: str) -> Refusal:
    return Refusal(ErrorCode.INPUT_UNREACHABLE, sentence)
