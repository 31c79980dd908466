"""The API as a program of its own, to be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.crews import ROOT, environment
from visionseg.config import Settings


class ApiProgram:
    """One API process at a time, always at the same address."""

    def __init__(self, settings: Settings, log: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        self._environment = {
            **environment(settings),
            "VISIONSEG_PORT": str(port),
            "VISIONSEG_KEY_PEPPER": settings.http.key_pepper.get_secret_value(),
            "EMBEDDED_FALLBACK": str(settings.models.embedded_fallback),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, also: Mapping[str, str] | None = None) -> None:
        """Starts it and returns when it answers; `also` goes into its environment."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "tests.fakes.api"),
                env={**self._environment, **(also or {})},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while not self._answers():
            assert self.process.poll() is None, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/healthz", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False


@contextmanager
def api_program(settings: Settings, folder: Path) -> Iterator[ApiProgram]:
    """The API, not yet started; no process is left afterwards."""
    program = ApiProgram(settings, folder / "api.log")
    try:
        yield program
    finally:
        program.kill()
