"""The embedded PostgreSQL: started, stopped, killed, left over, and locked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from visionseg.embedded.folders import EmbeddedError
from visionseg.embedded.postgres import Postgres

OWNER = """
import sys, time
from pathlib import Path
from visionseg.embedded.postgres import Postgres
postgres = Postgres(Path(sys.argv[1]))
print(postgres.pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], Postgres]]:
    """Starts a server in the test's folder, and stops each at the end."""
    started: list[Postgres] = []

    def start_one() -> Postgres:
        started.append(Postgres(tmp_path / "pg"))
        return started[-1]

    yield start_one
    for postgres in started:
        postgres.stop()


def ask(postgres: Postgres, *statements: str) -> list[object]:
    """Runs statements in one transaction and returns the first column of the last."""
    engine = sqlalchemy.create_engine(postgres.url)
    try:
        with engine.begin() as connection:
            results = [connection.execute(sqlalchemy.text(text)) for text in statements]
            return list(results[-1].scalars()) if results[-1].returns_rows else []
    finally:
        engine.dispose()


def ended_within(seconds: float, pid: int) -> bool:
    """Whether the process is gone in time; a zombie counts as gone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes() == b"":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def test_a_fresh_folder_gets_a_database_that_survives_a_stop(
    start: Callable[[], Postgres],
) -> None:
    first = start()
    ask(first, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    first.stop()
    assert first.pid is None
    assert ask(start(), "SELECT n FROM kept") == [7]


def test_the_server_is_durable_and_modest_and_listens_on_no_port(
    start: Callable[[], Postgres], tmp_path: Path
) -> None:
    wanted = {
        "fsync": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "",
        "max_connections": "100",
        "shared_buffers": "64MB",
        "idle_in_transaction_session_timeout": "10s",
        "lock_timeout": "5s",
        "statement_timeout": "30s",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    postgres = start()
    assert {name: ask(postgres, f"SHOW {name}") for name in wanted} == {
        name: [value] for name, value in wanted.items()
    }
    assert (tmp_path / "pg").stat().st_mode & 0o077 == 0
    assert postgres._socket.stat().st_mode & 0o077 == 0


def test_a_long_or_odd_path_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 20) / "a,b:c=d%20é"
    postgres = Postgres(folder)
    try:
        assert ask(postgres, "SELECT 1") == [1]
        assert (folder / "data").is_dir()
    finally:
        postgres.stop()
    assert not postgres._socket.exists()


def test_a_folder_in_use_is_refused_with_the_owner_named(
    start: Callable[[], Postgres], tmp_path: Path
) -> None:
    start()
    with pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
        Postgres(tmp_path / "pg")


def test_stopping_twice_is_harmless(start: Callable[[], Postgres]) -> None:
    postgres = start()
    postgres.stop()
    postgres.stop()


def test_a_server_that_was_killed_is_started_again(start: Callable[[], Postgres]) -> None:
    postgres = start()
    ask(postgres, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    first = postgres.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for _ in range(400):
        postgres.attend()
        try:
            assert ask(postgres, "SELECT n FROM kept") == [7]
            break
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.05)
    assert postgres.pid not in {None, first}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_the_server_ends_when_its_owner_is_killed_and_the_data_remain(
    start: Callable[[], Postgres], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "pg")], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    assert ended_within(20, pid)
    assert ask(start(), "SELECT 1") == [1]


def test_a_server_left_over_is_ended_before_the_next_starts(
    start: Callable[[], Postgres],
) -> None:
    left = start()
    ask(left, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    left_pid = left.pid
    assert left_pid is not None
    left._lock.close()
    fresh = start()
    assert ended_within(1, left_pid)
    assert ask(fresh, "SELECT n FROM kept") == [7]


def test_a_stale_pid_file_does_not_hinder_the_start(
    start: Callable[[], Postgres], tmp_path: Path
) -> None:
    start().stop()
    for content in (f"{os.getpid()}\n", "4194000\n", "", "nonsense"):
        (tmp_path / "pg" / "data" / "postmaster.pid").write_text(content)
        postgres = start()
        assert ask(postgres, "SELECT 1") == [1]
        postgres.stop()


def test_half_created_data_are_created_anew(start: Callable[[], Postgres], tmp_path: Path) -> None:
    half = tmp_path / "pg" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert ask(start(), "SELECT 1") == [1]
    assert not half.exists()


def test_data_of_another_major_version_are_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedError, match=r"written by PostgreSQL 16, this is 18"):
        Postgres(tmp_path / "pg")
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_server_that_cannot_start_tells_why_and_frees_the_folder(
    start: Callable[[], Postgres], tmp_path: Path
) -> None:
    start().stop()
    configuration = tmp_path / "pg" / "data" / "postgresql.conf"
    good = configuration.read_text()
    configuration.write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        start()
    configuration.write_text(good)
    assert ask(start(), "SELECT 1") == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server under another account")
def test_root_runs_it_under_another_account_without_opening_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    postgres = Postgres(closed / "pg")
    try:
        assert ask(postgres, "SELECT 1") == [1]
        assert Path(f"/proc/{postgres.pid}").stat().st_uid != 0
        assert (closed.stat().st_mode & 0o777, closed.stat().st_uid) == (0o700, 0)
    finally:
        postgres.stop()


def test_a_foreign_socket_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pg" / "socket").mkdir(parents=True)
    (tmp_path / "pg" / "socket").chmod(0o777)
    with pytest.raises(EmbeddedError, match="open to others"):
        Postgres(tmp_path / "pg")
