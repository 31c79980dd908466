"""`visionseg up` beside a program of one's own: for the demo, tests and benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60
LOG_CHARACTERS = 2000


class StartError(RuntimeError):
    """The service did not become ready; the message holds the ends of its logs."""


@dataclass(frozen=True, slots=True)
class Background:
    """A running service: its address, a key, its folder and its supervisor's process."""

    address: str
    key: str
    home: Path
    process: subprocess.Popen[bytes]

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.key}"}


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[Background]:
    """The whole service on a free port with its data in `home`, ready; stopped at the end.

    `settings` are environment variables. Raises `StartError`.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    key_file, port = home / "key", free_port()
    own = {"VISIONSEG_HOME": str(home), "VISIONSEG_PORT": str(port)}
    command = (str(Path(sys.executable).with_name("visionseg")), "up", "--key-file", str(key_file))
    with (home / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own, **(settings or {})}, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, address, home)
        yield Background(address, key_file.read_text(encoding="utf-8"), home, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, home: Path) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        try:
            reply = httpx2.get(f"{address}/readyz", timeout=5, trust_env=False)
            if reply.is_success and not reply.json()["degraded"]:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)
    logs = (home / "up.log", *sorted(home.glob("logs/*.log")))
    ends = (path.read_text(encoding="utf-8")[-LOG_CHARACTERS:] for path in logs)
    raise StartError("the service did not start:\n" + "\n".join(ends))
