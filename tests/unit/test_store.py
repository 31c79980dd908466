"""The local file store."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from visionseg.artifacts.store import LocalStore


def test_old_files_are_found_though_folders_vanish_meanwhile(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    keys = {store.put_bytes(f"{one}/vs_{one}/input/a.png", b"a").key for one in ("aa", "bb", "cc")}
    found = store.keys_older_than(time.time() + 60)
    first = next(found)
    gone = max(keys - {first})
    shutil.rmtree(tmp_path / gone.partition("/")[0])
    with store.scratch() as scratch:
        (scratch / "work").mkdir()
        assert {first, *found} == keys - {gone}
