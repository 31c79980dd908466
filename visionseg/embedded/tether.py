"""Becomes another program that dies when the process which started it dies.

Run as a script, never imported by it: `python -I -S tether.py SPEC PROGRAM ARGUMENT…`. A script
before `exec`, because code run between `fork` and `exec` of a threaded process may deadlock.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import TypedDict

# Values of linux/prctl.h and linux/capability.h.
PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1


class Spec(TypedDict):
    """What the program is tied to, and as whom it runs; `uid` and `gid` null: as we are.

    `any_file` lets a program that gave up root still pass through folders closed to its account.
    """

    parent_pid: int
    death_signal: int
    uid: int | None
    gid: int | None
    any_file: bool


def tethered(
    argv: tuple[str, ...],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    account: tuple[int, int] | None = None,
    any_file: bool = False,
) -> list[str]:
    """The command line that runs `argv` tied to this process and, as root, under `account`.

    Linux sends `death_signal` when the *thread* that started the program ends: start programs
    from a thread that lives as long as they shall. Other systems have no such signal; there the
    program outlives a killed parent, and its next start finds and ends it.
    """
    uid, gid = account or (None, None)
    spec = Spec(
        parent_pid=os.getpid(),
        death_signal=int(death_signal),
        uid=uid,
        gid=gid,
        any_file=any_file,
    )
    script = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", script, json.dumps(spec), *argv]


def _prctl(*arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:5]]
    if libc.prctl(*words) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "prctl")


def _keep_only_file_access() -> None:
    """Leaves this process, no longer root, the one capability to pass closed folders."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << CAP_DAC_OVERRIDE
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)


def _give_up_root(uid: int, gid: int, *, any_file: bool) -> None:
    if any_file:
        _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if any_file:
        _keep_only_file_access()


def _tie_to_parent(parent_pid: int, death_signal: int) -> None:
    """After the change of account, which clears the death signal."""
    if sys.platform != "linux":
        return
    _prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent_pid:
        sys.exit("the process that started this one is gone")


def main(arguments: list[str]) -> None:
    """Turns this process into the program that `arguments` names after the spec."""
    spec: Spec = json.loads(arguments[0])
    if spec["uid"] is not None and spec["gid"] is not None:
        _give_up_root(spec["uid"], spec["gid"], any_file=spec["any_file"])
    _tie_to_parent(spec["parent_pid"], spec["death_signal"])
    # Python ignores these at its start, and what is ignored stays so through `exec`.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvpe(arguments[1], arguments[1:], os.environ)  # noqa: S606 - being that program is its work


if __name__ == "__main__":
    main(sys.argv[1:])
