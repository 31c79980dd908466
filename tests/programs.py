"""The API as a program of its own, to be killed and started again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.crews import Program
from visionseg.commands.background import free_port
from visionseg.config import Settings


class ApiProgram:
    """One API process at a time, always at the same address."""

    def __init__(self, settings: Settings, log: Path) -> None:
        http = settings.http.model_copy(update={"port": free_port()})
        self._settings = settings.model_copy(update={"http": http})
        self.url = f"http://127.0.0.1:{http.port}"
        self._log = log
        self._program: Program | None = None

    def start(self, also: Mapping[str, str] | None = None) -> None:
        """Starts it and returns when it answers; `also` goes into its environment."""
        program = Program(self._settings, self._log, "tests.fakes.api", (), also)
        self._program = program
        while not self._answers():
            assert program.runs, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it at once, if it runs."""
        if self._program is not None:
            self._program.kill()

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
