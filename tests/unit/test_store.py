"""The local file store."""

from __future__ import annotations

import shutil
import subprocess
import sys
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


def test_scratch_of_a_killed_process_goes_at_once_and_that_of_a_living_one_stays(
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path)
    with store.scratch() as own:
        (own / "work").write_bytes(b"so far")
        killed = _work_in_scratch(tmp_path)
        killed.kill()
        living = _work_in_scratch(tmp_path)
        try:
            killed.wait()
            folders = set((tmp_path / ".scratch").iterdir())
            store.clear_scratch(moment=0)
            left = set((tmp_path / ".scratch").iterdir())
            assert len(folders - left) == 1
            assert len(left) == 2
            assert (own / "work").exists()
        finally:
            living.kill()
            living.wait()
    store.clear_scratch(moment=0)
    assert not list((tmp_path / ".scratch").iterdir())


def test_scratch_of_another_machine_stays_while_it_may_be_in_use(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    elsewhere = tmp_path / ".scratch" / "elsewhere.x"
    (elsewhere / "work").mkdir(parents=True)
    store.clear_scratch(moment=0)
    assert elsewhere.exists()
    store.clear_scratch(moment=time.time() + 60)
    assert not elsewhere.exists()


WORK = """
import sys, time
from pathlib import Path
from visionseg.artifacts.store import LocalStore
with LocalStore(Path(sys.argv[1])).scratch() as folder:
    (folder / "work").write_bytes(b"so far")
    print("at work", flush=True)
    time.sleep(600)
"""


def _work_in_scratch(root: Path) -> subprocess.Popen[bytes]:
    """A process that has begun to work in a folder of its own."""
    process = subprocess.Popen([sys.executable, "-c", WORK, str(root)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"at work\n"
    process.stdout.close()
    return process
