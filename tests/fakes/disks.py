"""A disk, or its quota, that is full while a file beside the store says so, whoever writes."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visionseg.artifacts.store import LocalStore, Stored
from visionseg.predictions import installation

SWITCH = "disk-full"


def switch(home: Path) -> Path:
    """The file that makes the disk of that home full."""
    return home / SWITCH


class Filling(LocalStore):
    """Fails where a real disk does: at a new folder, before a file stands, or once it stands."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._switch = switch(root.parent)

    def _want_room(self, path: object) -> None:
        if self._switch.exists():
            full = random.choice((errno.ENOSPC, errno.EDQUOT))
            raise OSError(full, os.strerror(full), str(path))

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        if random.random() < 1 / 3:
            self._want_room("scratch")
        with super().scratch() as folder:
            yield folder

    def put(self, key: str, source: Path) -> Stored:
        if random.random() < 1 / 2:
            self._want_room(source)
        stored = super().put(key, source)
        self._want_room(key)
        return stored


def install() -> None:
    """Lets every installation of this process lie on such a disk."""
    vars(installation)["LocalStore"] = Filling
