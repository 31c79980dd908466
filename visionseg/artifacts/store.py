"""The file store: files appear whole or not at all. Here on the local disk."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that stands in the store."""

    key: str
    size_bytes: int
    sha256: str


class LocalStore:
    """Files under one root; `scratch` lies on the same disk, so that a put is a rename."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scratch = root / ".scratch"

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private folder to work in, gone afterwards."""
        self._scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, key: str, source: Path) -> Stored:
        """Takes a finished file over: synced to the disk, summed, then visible under its key."""
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        digest, size = _sync_and_sum(source)
        source.replace(target)
        _sync_folder(target.parent)
        return Stored(key, size, digest)

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
        """Removes the private folders in which nothing was written since a moment.

        A folder's own time tells only of names that come and go, so its files count too: a slow
        upload writes one file for hours.
        """
        for folder in self._scratch.glob("*"):
            with suppress(FileNotFoundError):
                if max(path.stat().st_mtime for path in (folder, *folder.rglob("*"))) < moment:
                    shutil.rmtree(folder, ignore_errors=True)

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


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk, or what its user may fill of it, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def _sync_and_sum(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb+") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
        os.fsync(file.fileno())
    return digest.hexdigest(), size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
