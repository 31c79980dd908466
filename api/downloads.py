"""A file, or a range of it, sent from the disk piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 256 * 1024


class Download(StreamingResponse):
    """Sends `size_bytes` from the place where `file` stands, and closes it whatever happens.

    The file is open before the answer begins, so a deletion meanwhile does not cut it short.
    """

    def __init__(
        self, file: BinaryIO, size_bytes: int, status: int, headers: Mapping[str, str]
    ) -> None:
        self._file = file
        super().__init__(_pieces(file, size_bytes), status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await run_in_threadpool(self._file.close)


def _pieces(file: BinaryIO, left_bytes: int) -> Iterator[bytes]:
    while left_bytes > 0:
        piece = file.read(min(PIECE_BYTES, left_bytes))
        if not piece:
            raise OSError("the file is shorter than its record says")
        left_bytes -= len(piece)
        yield piece
