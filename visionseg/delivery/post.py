"""One POST to a receiver that a client named: checked address, no redirect, bounded in time."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

import httpcore2
import httpx2

from visionseg.access.addresses import AddressPolicy, Resolver, parse_url, resolve, system_resolver
from visionseg.access.pinning import connect_sentence, pinned_pool
from visionseg.contract.errors import Refusal
from visionseg.records.deliveries import Attempt

CONNECT_S = 10.0
TOTAL_S = 30.0
MOST_ANSWER_BYTES = 4096
USER_AGENT = "visionseg"


class _TooLate(Exception):  # noqa: N818 - an event that `Poster` answers by giving up
    """The time for the whole attempt is over."""


@dataclass(frozen=True, slots=True)
class Poster:
    """Posts under one policy; `resolver` and `ssl_context` default to the machine's own."""

    policy: AddressPolicy
    resolver: Resolver = system_resolver
    ssl_context: ssl.SSLContext = field(default_factory=httpcore2.default_ssl_context)
    total_s: float = TOTAL_S

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Sends `body`, and tells how it went; nothing is raised for what a receiver does.

        Only https, port 443 (or what the policy names) and checked addresses; no redirects,
        credentials, cookies or proxies. An error never tells an address.
        """
        started = time.monotonic()
        status_code, error = None, None
        try:
            status_code = self._send(parse_url(url), headers, body, started + self.total_s)
        except (ValueError, Refusal) as refused:
            error = refused.detail if isinstance(refused, Refusal) else str(refused)
        except (_TooLate, httpcore2.ReadTimeout, httpcore2.WriteTimeout):
            error = f"The receiver did not answer within {self.total_s:g} s."
        except httpcore2.ConnectTimeout:
            error = f"The receiver did not take the connection within {CONNECT_S:g} s."
        except httpcore2.ConnectError as failure:
            error = connect_sentence(httpx2.URL(url).host, failure)
        except (httpcore2.NetworkError, httpcore2.ProtocolError):
            error = "The connection to the receiver broke off."
        if status_code is not None and not is_taken(status_code):
            error = _sentence(status_code)
        return Attempt(status_code, error, round(time.monotonic() - started, 3))

    def _send(self, url: httpx2.URL, headers: Mapping[str, str], body: bytes, end: float) -> int:
        target = resolve(url, self.policy, self.resolver)
        host = {"Host": url.netloc.decode("ascii"), "User-Agent": USER_AGENT, "Accept": "*/*"}
        sent = {**host, "Content-Length": str(len(body)), **headers}
        watch = _ends_at(end)
        timeout = {"connect": CONNECT_S, "read": self.total_s, "write": self.total_s}
        with (
            closing(pinned_pool(target, watch, self.ssl_context)) as pool,
            pool.stream(
                "POST",
                httpcore2.URL(
                    scheme=b"https", host=url.raw_host, port=target.port, target=url.raw_path
                ),
                headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                content=body,
                extensions={"timeout": timeout},
            ) as answer,
        ):
            _skim(answer)
            return int(answer.status)


def is_taken(status_code: int) -> bool:
    """Whether that status says that the receiver has the message."""
    return 200 <= status_code < 300


def _ends_at(end: float) -> Callable[[], None]:
    def watch() -> None:
        if time.monotonic() > end:
            raise _TooLate

    return watch


def _skim(answer: httpcore2.Response) -> None:
    """Reads the start of the body, so that a usual receiver sees its answer taken.

    The status has come by now; what becomes of the body changes nothing.
    """
    read_bytes = 0
    with suppress(
        _TooLate, httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError
    ):
        for part in answer.iter_stream():
            read_bytes += len(part)
            if read_bytes >= MOST_ANSWER_BYTES:
                return


def _sentence(status_code: int) -> str:
    if 300 <= status_code < 400:
        return f"The receiver answered with a redirect ({status_code}), which is not followed."
    return f"The receiver answered with status {status_code}."
