"""Programs kept running, and the supervisor that starts, restarts and stops them together."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType

from visionseg.embedded.tether import tethered

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
HEALTHY_AFTER_S = 60.0
POLL_S = 0.1
LOG_LIMIT_BYTES = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: `env` is its whole environment, `log_path` takes all it prints.

    `stop_signal` asks it to end; `death_signal` reaches it when its starter dies (Linux).
    `account` (uid, gid) is whom it runs as, for a starter that is root; with `any_file` it may
    still pass through folders closed to that account.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log_path: Path
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    account: tuple[int, int] | None = None
    any_file: bool = False


class Change(StrEnum):
    """What can happen to a program."""

    STARTED = "started"
    EXITED = "exited"
    STOPPING = "stopping"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class ChangeReport:
    """One change of one program; `exit_code` is negative for a signal, as in `subprocess`."""

    name: str
    change: Change
    pid: int
    exit_code: int | None = None
    retry_in_s: float | None = None


OnChange = Callable[[ChangeReport], None]


def _ignore(_report: ChangeReport) -> None:
    """For starters that follow the log files instead."""


class Kept:
    """A program that `attend` starts again whenever it has died, after 1, 2, 4 … 30 s.

    It runs in a session of its own, so Ctrl-C in a terminal reaches only its starter. Start it
    from a thread that lives as long as it shall (see `tethered`).
    """

    def __init__(
        self,
        program: Program,
        on_change: OnChange = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.program = program
        self._on_change = on_change
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._wait_s = FIRST_WAIT_S
        self._start_at: float | None = None

    @property
    def pid(self) -> int | None:
        """The running program's process id, None while there is none."""
        return self._process.pid if self._process else None

    @property
    def log_tail(self) -> str:
        """The last 2,000 characters that it printed."""
        return self.program.log_path.read_text(errors="replace")[-2000:]

    def start(self) -> None:
        """Starts the program; raises OSError if its log cannot be opened."""
        program = self.program
        with _opened_log(program.log_path) as log:
            self._process = subprocess.Popen(
                tethered(
                    program.argv,
                    death_signal=program.death_signal,
                    account=program.account,
                    any_file=program.any_file,
                ),
                env=dict(program.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started_at = self._clock()
        self._start_at = None
        self._tell(Change.STARTED, self._process)

    def is_alive(self) -> bool:
        """Whether the program runs now."""
        return self._process is not None and self._process.poll() is None

    def attend(self) -> None:
        """Notices a death, ends what the dead one left behind, and restarts it when due."""
        if self._process is not None and not self.is_alive():
            self._mourn(self._process)
        if self._start_at is not None and self._clock() >= self._start_at:
            self.start()

    def ask_to_stop(self) -> None:
        """Sends the stop signal, and starts the program no more."""
        self._start_at = None
        if self._process is not None and self.is_alive():
            self._process.send_signal(self.program.stop_signal)
            self._tell(Change.STOPPING, self._process)

    def wait(self, timeout_s: float) -> bool:
        """Whether the program has ended within `timeout_s` seconds."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return not self.is_alive()

    def kill(self) -> None:
        """Ends the program and all that it started, at once; also what an ended one left."""
        self._start_at = None
        if self._process is None:
            return
        change = Change.KILLED if self.is_alive() else Change.EXITED
        _kill_session(self._process.pid)
        self._process.wait()
        self._tell(change, self._process)
        self._process = None

    def _mourn(self, process: subprocess.Popen[bytes]) -> None:
        _kill_session(process.pid)
        now = self._clock()
        if now - self._started_at >= HEALTHY_AFTER_S:
            self._wait_s = FIRST_WAIT_S
        self._start_at = now + self._wait_s
        self._tell(Change.EXITED, process, retry_in_s=self._wait_s)
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        self._process = None

    def _tell(
        self,
        change: Change,
        process: subprocess.Popen[bytes],
        *,
        retry_in_s: float | None = None,
    ) -> None:
        self._on_change(
            ChangeReport(self.program.name, change, process.pid, process.returncode, retry_in_s)
        )


class Supervisor:
    """Runs programs until a signal ends them all; none outlives it, even if it is killed (Linux).

    `attend` is called at every turn, for what else must be kept running (a database, say).
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        grace_s: float,
        on_change: OnChange = _ignore,
        attend: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._kept = [Kept(program, on_change) for program in programs]
        self._grace_s = grace_s
        self._attend = attend
        self._signals = 0

    def run(self) -> None:
        """Returns when SIGTERM, SIGINT or SIGHUP came and every program has ended.

        The first signal asks all to stop, in the given order, and kills what still runs after
        `grace_s`; a second one kills at once. Call it from the main thread.
        """
        with self._signals_counted():
            try:
                for kept in self._kept:
                    kept.start()
                while not self._signals:
                    self._turn()
                self._stop()
            finally:
                for kept in self._kept:
                    kept.kill()

    def _turn(self) -> None:
        for kept in self._kept:
            kept.attend()
        for attend in self._attend:
            attend()
        time.sleep(POLL_S)

    def _stop(self) -> None:
        for kept in self._kept:
            kept.ask_to_stop()
        kill_at = time.monotonic() + self._grace_s
        while any(kept.is_alive() for kept in self._kept):
            if self._signals > 1 or time.monotonic() >= kill_at:
                return
            for attend in self._attend:
                attend()
            time.sleep(POLL_S)

    def _count_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    @contextmanager
    def _signals_counted(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, self._count_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _opened_log(path: Path) -> Iterator[int]:
    """The log opened for appending; one past 20 MiB is set aside as `.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def _kill_session(leader_pid: int) -> None:
    """Children of a dead leader keep its process group, which is how they are found."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader_pid, signal.SIGKILL)
