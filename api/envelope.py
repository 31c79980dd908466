"""Around every request: an id that each answer carries, and an end for whatever escapes."""

from __future__ import annotations

import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from visionseg.contract.errors import ErrorCode, Refusal

log = structlog.get_logger(__name__)
PROBES = ("/healthz", "/readyz")
SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


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
        sender = _Sender(send, request_id)
        began = time.monotonic()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._answer(scope, receive, sender)
            finally:
                _log(scope, sender.status, time.monotonic() - began)

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
    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if SANE_ID.fullmatch(given) else f"req_{secrets.token_hex(13)}"
