"""What a parent and its pool processes tell each other by files: a pulse, and when to stop.

A computation that keeps the interpreter's lock, or a frozen process, cannot end itself, and no
thread of it can say so. The pulse needs nothing but that lock: no database and no clock, so that
neither an outage nor a clock that is set is taken for a dead process.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

PULSE_EVERY_S = 0.25
_SERVING = "serving"
LOOKS = 3
"""So often in a row a process must be found silent: one that woke up with its parent may beat."""


def show_pulse(folder: Path) -> None:
    """Touches a file named by this process's id from now on; it stays locked while we live."""
    parent = os.getppid()
    unnamed = folder / f"{os.getpid()}.new"
    held = os.open(unnamed, os.O_CREAT | os.O_WRONLY, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    unnamed.rename(folder / str(os.getpid()))

    def beat() -> None:
        while os.getppid() == parent:
            os.utime(held)
            time.sleep(PULSE_EVERY_S)
        shutil.rmtree(folder, ignore_errors=True)  # the parent was killed and could not

    threading.Thread(target=beat, name="pulse", daemon=True).start()


def is_to_stop(folder: Path) -> bool:
    """Whether the parent told its processes to stop, or is gone with its folder."""
    return not (folder / _SERVING).exists()


@dataclass(slots=True)
class _Felt:
    """What was felt of one process: its last beat, when that was new, the silent looks since."""

    beat: int
    since: float
    looks: int = 0


class Pulses:
    """The pulses of a parent's pool processes, in a temporary folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="visionseg-pulses-"))
        (self.folder / _SERVING).touch()
        self._felt: dict[int, _Felt] = {}

    def stop(self) -> None:
        """Tells the processes to give their units back and take no more."""
        (self.folder / _SERVING).unlink(missing_ok=True)

    def silent(self, limit_s: float) -> list[int]:
        """The living processes that had no beat for `limit_s` and three looks, each told once."""
        now = time.monotonic()
        silent = []
        for file in self.folder.glob("[0-9]*[0-9]"):
            pid, beat = int(file.name), file.stat().st_mtime_ns
            if _is_dead(file):
                self._felt.pop(pid, None)
                file.unlink()
                continue
            felt = self._felt.setdefault(pid, _Felt(beat, now))
            if felt.beat != beat:
                self._felt[pid] = _Felt(beat, now)
            elif now - felt.since > limit_s:
                felt.looks += 1
                if felt.looks == LOOKS:
                    silent.append(pid)
        return silent

    def close(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _is_dead(file: Path) -> bool:
    """Whether the process of this file let go of its lock; its id may be another's by now."""
    with file.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
