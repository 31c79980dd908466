"""What processes hold and use, as Linux tells it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def memory_mib(pid: int) -> float:
    """What a process has in memory."""
    pages = int((PROC / str(pid) / "statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid: int) -> float:
    """The processor time that a process has taken."""
    fields = _fields(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def threads(pid: int) -> int:
    """How many threads a process has."""
    return int(_fields(pid)[17])


def descendants(pid: int) -> Iterator[int]:
    """The children of a process and theirs."""
    for child in (int(path.name) for path in PROC.iterdir() if path.name.isdecimal()):
        try:
            parent = int(_fields(child)[1])
        except OSError:  # it ended meanwhile
            continue
        if parent == pid:
            yield child
            yield from descendants(child)


def _fields(pid: int) -> list[str]:
    """The fields of `stat` from the third on: the second, a name, may hold spaces."""
    return (PROC / str(pid) / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
