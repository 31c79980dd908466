"""The child's side: what it was given for its one file, and its ways to answer."""

from __future__ import annotations

import json
import mmap
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from workers.media.limits import JailMode, Limits
from workers.media.source import Descriptor

_ALIVE_EVERY_S = 0.1
_MOST_DESCRIPTORS = 3
_SPEC_BYTES = 8


class ParentGone(Exception):  # noqa: N818 - the name says what it is
    """Nobody waits for an answer any more."""


@dataclass(slots=True)
class Desk:
    """One file to work on. `target` is writable, and there only for tasks that write a file."""

    source: Descriptor
    target: BinaryIO | None
    limits: Limits
    task: str
    arguments: Mapping[str, Any]
    data: bytes
    file_bytes: int
    _parent: int
    _ring: mmap.mmap
    _slot_bytes: int
    _free: list[int]
    _taken: int = -1
    _told_at: float = field(default_factory=time.monotonic)

    def alive(self) -> None:
        """A sign of life, sent ten times a second at most."""
        if time.monotonic() - self._told_at >= _ALIVE_EVERY_S:
            self.tell({"kind": "alive"})

    def room(self, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """A free slot as an array, once there is one; `send` gives it away."""
        if self._taken < 0:
            while not self._free:
                self._free.extend(_read(self._parent, 64))
            self._taken = self._free.pop()
        count = int(np.prod(shape))
        start = self._taken * self._slot_bytes
        if count > self._slot_bytes:
            raise MemoryError(f"{count} bytes in a slot of {self._slot_bytes}")
        return np.frombuffer(self._ring, np.uint8, count, start).reshape(shape)

    def send(self, size: int, number: int) -> None:
        """Tells that the slot given last holds so many bytes, and which they are."""
        slot, self._taken = self._taken, -1
        self.tell({"kind": "filled", "slot": slot, "size": size, "number": number})

    def send_bytes(self, data: npt.NDArray[np.uint8]) -> None:
        """Sends flat bytes of any length, in as many slots as they need."""
        for number, start in enumerate(range(0, data.size, self._slot_bytes)):
            part = data[start : start + self._slot_bytes]
            self.room(part.shape)[:] = part
            self.send(part.size, number)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Sends a message."""
        body = json.dumps(message).encode()
        rest = memoryview(len(body).to_bytes(4, "little") + body)
        while rest:
            rest = rest[os.write(self._parent, rest) :]
        self._told_at = time.monotonic()


def receive(parent: socket.socket) -> Desk:
    """What the parent sent: the descriptors first, then the words and data about them."""
    length, descriptors, _, _ = socket.recv_fds(parent, _SPEC_BYTES, _MOST_DESCRIPTORS)
    if len(length) < _SPEC_BYTES:
        raise ParentGone
    spec = json.loads(_read_all(parent.fileno(), int.from_bytes(length, "little")))
    slots, slot_bytes = spec["slots"], spec["slot_bytes"]
    source, ring, *target = descriptors
    limits = spec["limits"]
    return Desk(
        source=Descriptor(source, os.fstat(source).st_size),
        target=os.fdopen(target[0], "w+b") if target else None,
        limits=Limits(**{**limits, "jail": JailMode(limits["jail"])}),
        task=spec["task"],
        arguments=spec["arguments"],
        data=_read_all(parent.fileno(), spec["data_bytes"]),
        file_bytes=spec["file_bytes"],
        _parent=parent.fileno(),
        _ring=mmap.mmap(ring, slots * slot_bytes),
        _slot_bytes=slot_bytes,
        _free=list(range(slots)),
    )


def _read_all(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += _read(descriptor, size - len(data))
    return data


def _read(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size)
    if not data:
        raise ParentGone
    return data
