"""The system calls that a decoding process may make, as a program for the kernel's filter.

An allow-list: whatever is not named fails with EPERM, and what no decoder can mean (to run a
program, to open a socket, to look into a process) ends the process.
"""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# linux/seccomp.h, linux/bpf_common.h, linux/sched.h, linux/prctl.h
_KILL, _ALLOW, _ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x4000_0000
_CLONE_THREAD = 0x10000
_PROT_EXEC = 4
_PR_SET_NAME = 15


@dataclass(frozen=True, slots=True)
class Machine:
    """One processor's numbers: of itself (AUDIT_ARCH) and of the system calls by name."""

    audit_arch: int
    numbers: Mapping[str, int]


_FREE = {  # name: x86_64, aarch64
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "preadv2": (327, 286),
    "lseek": (8, 62),
    "close": (3, 57),
    "fstat": (5, 80),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "brk": (12, 214),
    "madvise": (28, 233),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "membarrier": (324, 283),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "times": (100, 153),
    "ppoll": (271, 73),
}
_CHECKED = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "prctl": (157, 167),
    "tgkill": (234, 131),
}
_DEADLY = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "bpf": (321, 280),
}
_X86_ONLY = {"poll": 7, "time": 201}

MACHINES: Mapping[str, Machine] = {
    name: Machine(
        audit_arch,
        {
            **{call: both[column] for call, both in {**_FREE, **_CHECKED, **_DEADLY}.items()},
            **more,
        },
    )
    for column, (name, audit_arch, more) in enumerate(
        [("x86_64", 0xC000_003E, _X86_ONLY), ("aarch64", 0xC000_00B7, {})]
    )
}
"""The processors whose numbers are known here."""


def filter_program(machine: Machine) -> bytes:
    """The filter for this process, as an array of `struct sock_filter`."""
    numbers = machine.numbers
    free = [numbers[name] for name in (*_FREE, *_X86_ONLY) if name in numbers]
    lines = [
        _line(_LOAD, k=_ARCH_AT),
        *_unless(_EQUAL, machine.audit_arch, _KILL),
        _line(_LOAD, k=_NR_AT),
        *_when(_AT_LEAST, _X32_BIT, _KILL),
        *(line for number in free for line in _when(_EQUAL, number, _ALLOW)),
        *_when(_EQUAL, numbers["clone3"], _ERRNO | _ENOSYS),  # glibc takes clone instead
        *_by_argument(numbers["clone"], 0, _when(_BITS, _CLONE_THREAD, _ALLOW)),
        *_by_argument(numbers["mmap"], 2, _unless_bits(_PROT_EXEC)),
        *_by_argument(numbers["mprotect"], 2, _unless_bits(_PROT_EXEC)),
        *_by_argument(numbers["prctl"], 0, _when(_EQUAL, _PR_SET_NAME, _ALLOW)),
        *_by_argument(numbers["tgkill"], 0, _when(_EQUAL, os.getpid(), _ALLOW)),
        *(line for name in _DEADLY for line in _when(_EQUAL, numbers[name], _KILL)),
        _line(_RETURN, k=_ERRNO | _EPERM),
    ]
    return b"".join(lines)


def this_machine() -> Machine | None:
    """The processor of this machine, or None where its numbers are not known here."""
    return MACHINES.get(platform.machine())


def _line(code: int, k: int, when: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, when, otherwise, k)


def _when(test: int, value: int, verdict: int) -> list[bytes]:
    return [_line(test, value, 0, 1), _line(_RETURN, verdict)]


def _unless(test: int, value: int, verdict: int) -> list[bytes]:
    return [_line(test, value, 1, 0), _line(_RETURN, verdict)]


def _unless_bits(bits: int) -> list[bytes]:
    return _unless(_BITS, bits, _ALLOW)


def _by_argument(number: int, argument: int, lines: Iterable[bytes]) -> list[bytes]:
    """For that call alone: what `lines` say of the low half of an argument, else EPERM."""
    body = [
        _line(_LOAD, _ARGUMENTS_AT + 8 * argument),
        *lines,
        _line(_RETURN, _ERRNO | _EPERM),
    ]
    return [_line(_EQUAL, number, 0, len(body)), *body]
