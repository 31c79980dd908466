"""Tasks of children that a file has taken over: they die, hang, hoard, and lie."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.jail.desk import Desk

Result = Mapping[str, Any]


def crash(desk: Desk) -> Result:
    ctypes.string_at(0)
    return {}


def abort(desk: Desk) -> Result:
    os.abort()


def leave(desk: Desk) -> Result:
    os._exit(0)


def call_what_is_forbidden(desk: Desk) -> Result:
    ctypes.CDLL(None).ptrace(0, 0, None, None)
    return {}


def hang(desk: Desk) -> Result:
    time.sleep(3600)
    return {}


def hang_up(desk: Desk) -> Result:
    """Closes its line and lives on."""
    os.close(desk._parent)
    return hang(desk)


def live_for_ever(desk: Desk) -> Result:
    while True:
        desk.alive()


def burn(desk: Desk) -> Result:
    while True:
        pass


def hoard(desk: Desk) -> Result:
    """Takes memory in ever smaller pieces, until there is none for a word."""
    hoarded = []
    for size_bytes in (1 << 24, 1 << 18, 1 << 12, 1 << 8):
        with suppress(MemoryError):
            while True:
                hoarded.append(bytearray(size_bytes))
    raise MemoryError(len(hoarded))


def fill_disk(desk: Desk) -> Result:
    assert desk.target is not None
    while True:
        desk.target.write(bytes(1 << 16))
        desk.target.flush()


def tell_process(desk: Desk) -> Result:
    """Tells its process id as a number, and waits."""
    desk.room((0,))
    desk.send(0, os.getpid())
    return hang(desk)


def tell_surroundings(desk: Desk) -> Result:
    """Tells the descriptors that it holds, and the names of its environment."""
    held = []
    for descriptor in range(256):
        try:
            os.lseek(descriptor, 0, os.SEEK_CUR)
        except OSError as error:
            if error.errno == 9:  # EBADF
                continue
        held.append(descriptor)
    return {"descriptors": held, "environment": sorted(os.environ)}


def lie(desk: Desk) -> Result:
    """Sends the bytes that the test wrote."""
    os.write(desk._parent, desk.data)
    return hang(desk)


def never_take_slots_back(desk: Desk) -> Result:
    desk.room((1,))
    while True:
        desk.tell({"kind": "filled", "slot": 0, "size": 1, "number": 0})


def cut_memory_off(desk: Desk) -> Result:
    desk._ring.resize(4096)
    return {}


def need_too_much(desk: Desk) -> Result:
    raise MemoryError


def refuse(desk: Desk) -> Result:
    raise Refusal(ErrorCode.VIDEO_TOO_LONG, "an hour", detail_zh="一小时")


def break_down(desk: Desk) -> Result:
    raise ZeroDivisionError("a fault of ours")


image = timeline = frames = sound = crash
"""Under the names of the true tasks: every file crashes its decoder."""
