"""The life of a decoding child: takes one file, gives up every right, reads it, and ends."""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from visionseg.artifacts.store import is_full
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.jail.confine import Allowance, confine, offered_walls
from workers.media.jail.desk import Desk, receive

_PR_SET_PDEATHSIG = 1
_TOO_HUNGRY = Refusal(
    ErrorCode.INPUT_TOO_LARGE,
    "Decoding this file needs more memory than one file may use.",
    detail_zh="解码该文件所需的内存超过了单个文件的上限。",
)


def serve(parent: socket.socket, starter: int) -> None:
    """Answers to `parent` for one file; ends with the process `starter`, whose child this is."""
    _tie_to(starter)
    desk = receive(parent)
    module, _, name = desk.task.partition(":")
    task = getattr(importlib.import_module(module), name)
    try:
        _give_up_rights(desk)
        result: Mapping[str, Any] = task(desk)
        desk.tell({"kind": "done", "result": result})
    except Refusal as refusal:
        desk.tell(_refused(refusal))
    except MemoryError:
        desk.tell(_refused(_TOO_HUNGRY))
    except Exception as error:  # noqa: BLE001 - the parent logs it
        if is_full(error):
            desk.tell(_refused(Refusal(ErrorCode.STORAGE_FULL)))
            return
        desk.tell({"kind": "broken", "error": traceback.format_exc()[-4000:]})


def _give_up_rights(desk: Desk) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)
    cpu_s = int(desk.limits.decode_s * (os.cpu_count() or 1)) + 1
    confine(Allowance(desk.limits.memory_bytes, cpu_s, desk.file_bytes), offered_walls())


def _refused(refusal: Refusal) -> Mapping[str, str]:
    return {
        "kind": "refused",
        "code": refusal.code,
        "detail": refusal.detail[:500],
        "detail_zh": refusal.detail_zh[:500],
    }


def _tie_to(starter: int) -> None:
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != starter:
        os._exit(1)
