"""A client's file as the decoders take it: by path, or as a descriptor that is open already."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, cast

_BUFFER_BYTES = 1 << 16


class Source(Protocol):
    """Bytes that can be opened any number of times, each opening with a position of its own."""

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        """The bytes from their start."""
        ...


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A file that is open already, for a process that may open none."""

    fileno: int
    size_bytes: int

    def open(self, mode: Literal["rb"], /) -> BinaryIO:  # noqa: ARG002 - as `Path.open` takes it
        """The bytes from their start; closing leaves the descriptor open."""
        positioned = _Positioned(self.fileno, self.size_bytes)
        return cast("BinaryIO", io.BufferedReader(positioned, _BUFFER_BYTES))


class _Positioned(io.RawIOBase):
    """Reads a descriptor at a position of its own, so that several readers share it."""

    def __init__(self, fileno: int, size_bytes: int) -> None:
        self._fileno = fileno
        self._size = size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed: WriteableBuffer, which is private
        read = os.preadv(self._fileno, [buffer], self._position)
        self._position += read
        return read
