"""Sums of what was written, kept while it is written, to hold against what stands on the disk.

They find damage, not forgery: CRC-32, which costs nothing beside what it is taken of.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

from av.packet import Packet
from isal import isal_zlib

from workers.media.atomic import replacing

AnyPacket: TypeAlias = "Packet[Any]"  # Packet is generic in its stubs only
_PIECE_BYTES = 1 << 20


class BrokenOutput(Exception):  # noqa: N818 - the name says what it is
    """What was written is not what was asked for: a fault of ours."""


@dataclass(slots=True)
class FileSum:
    """The size and CRC of a file that is written from start to end."""

    size_bytes: int = 0
    crc: int = 0

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The sum of a file with just these bytes."""
        return cls(len(data), isal_zlib.crc32(data))

    def add(self, data: bytes) -> None:
        """Counts what follows."""
        self.size_bytes += len(data)
        self.crc = isal_zlib.crc32(data, self.crc)

    def check(self, path: Path) -> None:
        """Raises `BrokenOutput` unless the file holds what was summed."""
        found = FileSum()
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                found.add(piece)
        if found != self:
            raise BrokenOutput(f"a file of {found.size_bytes} bytes, not as it was written")


class SummedFile:
    """A file open for writing that keeps the sum of what it was given."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = FileSum()

    def write(self, data: bytes) -> int:
        """Appends bytes."""
        self.sum.add(data)
        return self._file.write(data)

    def say(self, text: str) -> None:
        """Appends text."""
        self.write(text.encode())

    def flush(self) -> None:
        """Hands what was written to the system."""
        self._file.flush()


@contextmanager
def summing(path: Path) -> Iterator[SummedFile]:
    """A new file that appears, whole, when the block ends; its sum stays to be checked."""
    with replacing(path) as part, part.open("wb") as file:
        yield SummedFile(file)


@dataclass(slots=True)
class PacketSum:
    """How many packets a stream has, and the CRC of their bytes in order of decoding."""

    packets: int = 0
    crc: int = 0

    def add(self, packet: AnyPacket) -> None:
        """Counts the next packet."""
        self.packets += 1
        self.crc = isal_zlib.crc32(packet, self.crc)
