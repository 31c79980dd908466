"""An answer that comes in pieces, with long silences between them."""

from __future__ import annotations

from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Trickle(StreamingResponse):
    """A stream for which thousands may wait: it has no task beside that of the request.

    So it notices that its client left when the next piece is there, and not before.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the pieces until they end or the client leaves; then they are closed."""
        request = Request(scope, receive)
        head = {"type": "http.response.start", "status": self.status_code}
        await send({**head, "headers": self.raw_headers})
        async with aclosing(self.body_iterator) as pieces:  # type: ignore[type-var]  # it is a generator
            async for piece in pieces:
                if await request.is_disconnected():
                    return
                body = piece.encode() if isinstance(piece, str) else piece
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
