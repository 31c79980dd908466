"""Taking rights away from this process for good: no file, no network, no program, bounded memory.

Needs neither root nor capabilities. Everything that a decoder loads late must be loaded before.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
from dataclasses import dataclass
from functools import cache

from workers.media.jail.syscalls import filter_program, this_machine

# linux/prctl.h, linux/landlock.h, linux/capability.h; the numbers of Landlock's calls are the same
# on all processors.
_PR_GET_SECCOMP, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 21, 22, 38
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1
_CAPABILITY_VERSION_3 = 0x20080522
_DESCRIPTORS = 64
_CPU_GRACE_S = 5


class Unconfined(Exception):  # noqa: N818 - the name says what it is
    """A wall is not offered, or does not stand."""


@dataclass(frozen=True, slots=True)
class Walls:
    """What the system offers: Landlock's version (0: none), and filters of system calls."""

    landlock: int
    seccomp: bool

    @property
    def missing(self) -> str:
        """The names of those that it does not offer, as one reads them; empty where it has all."""
        missing = ("Landlock",) * (not self.landlock) + ("seccomp",) * (not self.seccomp)
        return " and no ".join(missing)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a confined process may use: address space, processor seconds, bytes in a file."""

    memory_bytes: int
    cpu_s: int
    file_bytes: int = 0


@cache
def offered_walls() -> Walls:
    """What this system offers, to this process."""
    if sys.platform != "linux":
        return Walls(0, seccomp=False)
    version = _libc().syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION)
    filters = _libc().prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0 and this_machine() is not None
    return Walls(max(0, version), seccomp=filters)


def insist_on_walls() -> None:
    """Raises `Unconfined` where this system does not offer every wall."""
    if missing := offered_walls().missing:
        raise Unconfined(f"VISIONSEG_JAIL is `require`, but this system has no {missing}")


def confine(allowance: Allowance, walls: Walls) -> None:
    """Raises these walls around this process, which must have one thread.

    Raises `Unconfined` where one of them does not stand.
    """
    _set_limits(allowance)
    if sys.platform != "linux":
        return
    _drop_capabilities()
    _check(_libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if walls.landlock:
        _close_files(walls.landlock)
    if walls.seccomp:
        _filter_calls()


def _set_limits(allowance: Allowance) -> None:
    for limit, value in (
        (resource.RLIMIT_AS, allowance.memory_bytes),
        (resource.RLIMIT_FSIZE, allowance.file_bytes),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (allowance.cpu_s, allowance.cpu_s + _CPU_GRACE_S))


def _drop_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc().capset(ctypes.byref(header), ctypes.byref(none)), "capset")


def _close_files(version: int) -> None:
    """A Landlock domain without a rule: no path can be opened, made, changed or run."""
    paths = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)):
        paths |= right if version >= since else 0
    ports = 0b11 if version >= 4 else 0
    scopes = 0b11 if version >= 6 else 0
    attributes = struct.pack("QQQ", paths, ports, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _libc().syscall(_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    _check(ruleset, "landlock_create_ruleset")
    _check(_libc().syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _filter_calls() -> None:
    machine = this_machine()
    if machine is None:
        raise Unconfined("seccomp: the numbers of this processor's system calls are not known")
    program = filter_program(machine)
    lines = ctypes.create_string_buffer(program)
    packed = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(lines))
    argument = ctypes.c_char_p(packed)
    status = _libc().prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, argument, 0, 0)
    _check(status, "seccomp")


def _check(status: int, what: str) -> None:
    if status < 0:
        raise Unconfined(f"{what}: {os.strerror(ctypes.get_errno())}")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
