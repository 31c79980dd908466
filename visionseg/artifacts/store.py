"""The file store: files appear whole or not at all. Here on the local disk."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 1024 * 1024
_LOCKED_HERE = f"{platform.node()}."
"""How the names of folders begin that are locked by their owners, processes of this machine."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that stands in the store, and its sums: `crc32` to find damage at little cost."""

    key: str
    size_bytes: int
    sha256: str
    crc32: int = 0


class LocalStore:
    """Files under one root; `scratch` lies on the same disk, so that a put is a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / ".scratch"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder to work in, gone afterwards; `clear_scratch` knows that it is in use."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        unnamed = Path(tempfile.mkdtemp(dir=self._scratch))
        descriptor = os.open(unnamed, os.O_RDONLY)
        with suppress(OSError):  # a disk that knows no locks: its age must tell then
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = unnamed.rename(self._scratch / f"{_LOCKED_HERE}{unnamed.name}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def put(self, key: str, source: Path) -> Stored:
        """Takes a finished file over: synced to the disk, summed, then visible under its key."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stored = _sync_and_sum(source, key)
        source.replace(target)
        _sync_folder(target.parent)
        return stored

    def put_bytes(self, key: str, data: bytes) -> Stored:
        """Stores bytes under a key."""
        with self.scratch() as folder:
            source = folder / "data"
            source.write_bytes(data)
            return self.put(key, source)

    def path(self, key: str) -> Path:
        """Where a file can be read here. Raises `ValueError` for a key outside the root."""
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError(f"key outside the store: {key}")
        return path

    def delete(self, key: str) -> None:
        """Removes a file, and its folders where they are empty by now."""
        path = self.path(key)
        path.unlink(missing_ok=True)
        root = self._root.resolve()
        with suppress(OSError):
            for folder in path.parents:
                if folder == root:
                    break
                folder.rmdir()

    def keys_older_than(self, moment: float) -> Iterator[str]:
        """The keys of files last written before a moment (seconds since 1970).

        Files and folders may come and go meanwhile.
        """
        for folder, folders, names in os.walk(self._root):
            if self._scratch.name in folders:
                folders.remove(self._scratch.name)
            for path in (Path(folder, name) for name in names):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < moment:
                        yield str(path.relative_to(self._root))

    def clear_scratch(self, moment: float) -> None:
        """Removes the private folders whose owners died, and those left alone since a moment.

        Only the owners of this machine are known. A folder's own time tells only of names that
        come and go, so its files count too: a slow upload writes one file for hours.
        """
        for folder in self._scratch.glob("*"):
            with suppress(FileNotFoundError):
                if _is_left(folder) or _written_at(folder) < moment:
                    shutil.rmtree(folder, ignore_errors=True)

    def free_bytes(self) -> int:
        """How many more bytes the disk takes from this user."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return shutil.disk_usage(self._root).free

    def now(self) -> float:
        """The time by the clock that the files' times are by (seconds since 1970).

        On a shared disk that is not this machine's. Raises `OSError` if nothing can be written.
        """
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = self._scratch / f"probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink()


def _is_left(folder: Path) -> bool:
    """Whether a process of this machine made the folder and is gone: its lock went with it."""
    if not folder.name.startswith(_LOCKED_HERE):
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _written_at(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, or what its user may fill of it, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def _sync_and_sum(path: Path, key: str) -> Stored:
    digest, size, crc = hashlib.sha256(), 0, 0
    with path.open("rb+") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
            crc = zlib.crc32(piece, crc)
        os.fsync(file.fileno())
    return Stored(key, size, digest.hexdigest(), crc)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
