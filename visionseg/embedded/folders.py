"""The folders of the embedded servers: one owner at a time, and a place for their sockets."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import IO

# sockaddr_un.sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
SOCKET_PATH_LIMIT_BYTES = 103
# Clients take the path out of a URL; commas, colons and the like mean other things there.
PLAIN_PATH = re.compile(r"[A-Za-z0-9/._-]+")


class EmbeddedError(RuntimeError):
    """An embedded server cannot run here; the sentence tells the operator why."""


def claim(folder: Path) -> IO[str]:
    """Makes `folder` (mode 0700) ours until the returned file is closed or this process ends.

    Raises EmbeddedError while another process has it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (folder / "owner").open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise EmbeddedError(
            f"{folder} is in use by process {owner}; stop that one first"
        ) from error
    lock.seek(0)
    lock.truncate()
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def socket_folder(folder: Path, socket_name: str) -> Path:
    """A folder of mode 0700, the same at every call, whose path leaves room for `socket_name`.

    Its path is plain enough for any URL. It lies in `folder`, or, where that path is too long or
    not plain, under the temporary folder. Raises EmbeddedError if someone else made the latter,
    who could then listen in our place.
    """
    inside = folder.resolve() / "socket"
    place = inside if _fits(inside / socket_name) else _short_place(inside)
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
    if not private or os.geteuid() not in {0, found.st_uid}:
        raise EmbeddedError(f"{place} is open to others or not ours; remove it")
    if not _fits(place / socket_name):
        raise EmbeddedError(
            f"{place} is too long or odd a path for a socket; set TMPDIR to a plain one"
        )
    return place


def _fits(path: Path) -> bool:
    text = str(path)
    return len(text) <= SOCKET_PATH_LIMIT_BYTES and PLAIN_PATH.fullmatch(text) is not None


def _short_place(inside: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(inside)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"visionseg-{digest}"
