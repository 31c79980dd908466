"""Worker programs in processes of their own, to be killed, frozen and woken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from visionseg.config import Lease, Settings

ROOT = Path(__file__).parents[1]
HASTY = Lease(lease_s=6, heartbeat_s=0.4, watch_s=0.1, sweep_s=0.5, turn_s=5)
"""Times in which a fault is noticed within seconds."""

ALL_LANES = "images,videos,media,fetch"


def until(condition: Callable[[], object]) -> None:
    """Looks again and again until the condition holds; a test's own timeout ends it otherwise."""
    while not condition():
        time.sleep(0.02)


def environment(settings: Settings) -> dict[str, str]:
    """What a program of the installation is started with."""
    services, lease = settings.services, settings.lease
    own = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_DATABASE_ANSWER_S": str(services.database_answer_s),
        "VISIONSEG_HOME": str(settings.storage.home),
    }
    times = {f"VISIONSEG_{name.upper()}": str(value) for name, value in lease.model_dump().items()}
    return {**os.environ, **own, **times}


class Worker:
    """One worker program and its pool processes: a process group."""

    def __init__(
        self, settings: Settings, log: Path, processes: int, lanes: str, also: Mapping[str, str]
    ) -> None:
        module = (sys.executable, "-m", "tests.fakes.worker")
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                (*module, "--lanes", lanes, "--processes", str(processes)),
                env={**environment(settings), **also},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        """Whether its parent process lives."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the parent and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stands still, children too, and wakes when the block ends."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends it and its children at once."""
        self.signal(signal.SIGKILL)
        self.process.wait()


class Crew:
    """The workers of an installation; `close` leaves none behind."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._log = folder / "workers.log"
        self.workers: list[Worker] = []

    def start(
        self, processes: int = 1, lanes: str = ALL_LANES, also: Mapping[str, str] | None = None
    ) -> Worker:
        """One more worker; `also` goes into its environment."""
        worker = Worker(self._settings, self._log, processes, lanes, also or {})
        self.workers.append(worker)
        return worker

    def any(self) -> Worker:
        """A worker that runs; a new one where there is none."""
        self.workers = [worker for worker in self.workers if worker.runs]
        return self.workers[0] if self.workers else self.start(processes=2)

    def log(self) -> str:
        """What the workers printed."""
        return self._log.read_text(encoding="utf-8")

    def close(self) -> None:
        """Kills them all."""
        for worker in self.workers:
            worker.kill()
