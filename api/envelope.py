"""Around every request: an id that each answer carries, and an end for whatever escapes."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from visionseg.contract.errors import ErrorCode, Refusal

log = structlog.get_logger(__name__)
PROBES = ("/healthz", "/readyz")
SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


WHEN_SENT = "when_sent"


def when_sent(scope: Scope, then: Callable[[], None]) -> None:
    """Has `then` called, in a thread, once the answer was sent to its end.

    It is not called where the client left before, or for an answer without the content (304, an
    error). Sent means taken by this machine's network, as far as a server can know.
    """
    scope["state"][WHEN_SENT] = then


class Envelope:
    """Gives requests their id and a line in the log.

    A bug is told as `internal`, with that id in the answer and beside the traceback in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        sender = _Sender(scope, receive, send, request_id)
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(scope, receive, sender)
            finally:
                _log(scope, sender.status, time.monotonic() - began)
            if sender.sent_whole:
                await run_in_threadpool(scope["state"][WHEN_SENT])

    async def _answer(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        try:
            await self._app(scope, receive, sender)
        except ClientDisconnect:
            log.info("client_left", path=scope["path"])
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            if sender.status is not None:
                raise  # the server then cuts the connection, so that nobody takes it for whole
            response = problems.answer(Request(scope), Refusal(ErrorCode.INTERNAL))
            await response(scope, receive, sender)


def _log(scope: Scope, status: int | None, duration_s: float) -> None:
    tell = log.debug if scope["path"] in PROBES else log.info
    tell(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        duration_s=round(duration_s, 4),
    )


class _Sender:
    def __init__(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        self._state = scope["state"]
        self._request = Request(scope, receive)
        self._send = send
        self._request_id = request_id
        self.status: int | None = None
        self.sent_whole = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
        elif WHEN_SENT in self._state and not message.get("more_body", False):
            await self._end(message)
            return
        await self._send(message)

    async def _end(self, message: Message) -> None:
        """Sends the end apart from the last bytes, to see whether those still found a client.

        The server drains its buffer before it takes the end, and only then knows of a client that
        left.
        """
        await self._send({**message, "more_body": True})
        await self._send({"type": "http.response.body", "body": b"", "more_body": True})
        left = await self._request.is_disconnected()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        self.sent_whole = not left and self.status in (200, 202, 206)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(13)}"
