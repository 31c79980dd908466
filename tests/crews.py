"""The service's programs in processes of their own, to be killed, frozen and woken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    services, http = settings.services, settings.http
    limits, lease = settings.limits, settings.lease
    own = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_DATABASE_ANSWER_S": str(services.database_answer_s),
        "VISIONSEG_HOME": str(settings.storage.home),
        "VISIONSEG_PORT": str(http.port),
        "VISIONSEG_KEY_PEPPER": http.key_pepper.get_secret_value(),
        "VISIONSEG_ALLOWED_HOSTS": json.dumps(sorted(limits.allowed_hosts)),
        "EMBEDDED_FALLBACK": str(settings.models.embedded_fallback),
        "SAM3_WEIGHTS": settings.models.sam3_weights,
        "SAM3_BATCH": str(settings.models.sam3_batch),
    }
    if limits.ca_file is not None:
        own["VISIONSEG_CA_FILE"] = str(limits.ca_file)
    times = {f"VISIONSEG_{name.upper()}": str(value) for name, value in lease.model_dump().items()}
    return {**os.environ, **own, **times}


class Program:
    """One program of the service and its children: a process group."""

    def __init__(
        self,
        settings: Settings,
        log: Path,
        module: str,
        options: Sequence[str],
        also: Mapping[str, str] | None = None,
    ) -> None:
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                (sys.executable, "-m", module, *options),
                env={**environment(settings), **(also or {})},
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


class Worker(Program):
    """One worker program and its pool processes."""

    def __init__(
        self, settings: Settings, log: Path, processes: int, lanes: str, also: Mapping[str, str]
    ) -> None:
        options = ("--lanes", lanes, "--processes", str(processes))
        super().__init__(settings, log, "tests.fakes.worker", options, also)


class Crew:
    """The workers of an installation, and its API; `close` leaves none behind."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._log = folder / "workers.log"
        self.workers: list[Worker] = []
        self.api: Program | None = None

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

    def start_api(self) -> None:
        """The API, on the port of the settings."""
        self.api = Program(self._settings, self._log.with_name("api.log"), "tests.fakes.api", ())

    def log(self) -> str:
        """What the workers printed."""
        return self._log.read_text(encoding="utf-8")

    def close(self) -> None:
        """Kills them all."""
        for program in (*self.workers, self.api):
            if program is not None:
                program.kill()
