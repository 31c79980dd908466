"""Clients over HTTP that come again with the same `Idempotency-Key` until they have an answer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2

from tests.serving import AT_ONCE, PREDICTIONS, bearer
from visionseg.contract.status import FINAL

COME_AGAIN_S = 0.5
WAIT_S = 5
AWAY = 503
Reply = dict[str, Any]


class ClosedError(Exception):
    """The storm was given up; nobody waits for this answer any more."""


@dataclass(frozen=True)
class Order:
    """What a client asks for. With `holds` it waits in the POST itself."""

    name: str
    route: str
    body: Mapping[str, Any]
    holds: bool = False


@dataclass
class Clients:
    """The clients of one key; used from many threads. `again` counts what had to be repeated.

    Only a broken connection, silence and 503 are repeated: any other answer is the service's fault.
    """

    url: str
    secret: str
    again: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        timeout = httpx2.Timeout(20, connect=5)
        self._http = httpx2.Client(
            base_url=self.url, headers=bearer(self.secret), timeout=timeout, trust_env=False
        )

    def close(self) -> None:
        """Ends the waits and the connections."""
        self.closing.set()
        self._http.close()

    def finished(self, order: Order) -> Reply:
        """Submits an order once, however often it is sent, and returns its final record."""
        headers = {"Idempotency-Key": str(uuid4())} | ({} if order.holds else AT_ONCE)
        record = self._ask("POST", order.route, json=order.body, headers=headers).json()
        while record["status"] not in FINAL:
            record = self.record(record["id"], WAIT_S)
        return dict(record)

    def record(self, prediction_id: str, wait_s: int = 0) -> Reply:
        """The record now, or when it is final within `wait_s`."""
        path = f"{PREDICTIONS}/{prediction_id}"
        return dict(self._ask("GET", path, params={"wait": wait_s}).json())

    def upload(self, data: bytes, content_type: str) -> str:
        """The id of a file."""
        headers = {"Content-Type": content_type}
        return str(self._ask("POST", "/v1/files", content=data, headers=headers).json()["id"])

    def download(self, url: str) -> bytes:
        """An artifact's bytes."""
        return self._ask("GET", url).content

    def _ask(self, method: str, url: str, **how: Any) -> httpx2.Response:
        while not self.closing.is_set():
            wait_s = COME_AGAIN_S
            try:
                reply = self._http.request(method, url, **how)
            except httpx2.TransportError:
                pass
            else:
                if reply.status_code != AWAY:
                    assert reply.is_success, (method, url, reply.status_code, reply.text)
                    return reply
                wait_s = float(reply.headers["Retry-After"])
            self.again += 1
            self.closing.wait(wait_s)
        raise ClosedError
