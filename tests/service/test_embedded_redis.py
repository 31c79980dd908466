"""The embedded Redis: reached by redis-py and by Celery's transport, and gone with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu.connection import Connection

from visionseg.embedded.folders import EmbeddedError
from visionseg.embedded.redis import Redis

OWNER = """
import sys, time
from pathlib import Path
from visionseg.embedded.redis import Redis
print(Redis(Path(sys.argv[1])).pid, flush=True)
time.sleep(120)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Redis]:
    made = Redis(tmp_path / "redis")
    yield made
    made.stop()


def ping(server: Redis) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return bool(client.ping())


def test_redis_py_reaches_it_by_its_url(server: Redis) -> None:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.set("a", "1")
        assert client.get("a") == "1"


def test_celerys_transport_reaches_it_by_its_broker_url(server: Redis) -> None:
    with Connection(server.broker_url) as connection:  # type: ignore[no-untyped-call] # kombu has none
        queue = connection.SimpleQueue("lane")
        queue.put({"look": "here"})
        message = queue.get(timeout=5)
        message.ack()
        queue.close()
    assert message.payload == {"look": "here"}


def test_it_listens_on_no_port_and_keeps_nothing(server: Redis, tmp_path: Path) -> None:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        client.set("a", "1")
        assert client.config_get("port", "save", "appendonly", "maxmemory-policy") == {
            "port": "0",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
        }
    assert server._socket_path.parent.stat().st_mode & 0o077 == 0
    server.stop()
    assert {path.name for path in (tmp_path / "redis").iterdir()} == {"owner", "redis.log"}


def test_a_long_or_odd_path_is_no_hindrance(tmp_path: Path) -> None:
    server = Redis(tmp_path / ("long " * 20) / "a#b?c%20é")
    try:
        assert ping(server)
        with Connection(server.broker_url) as connection:  # type: ignore[no-untyped-call] # kombu has none
            connection.ensure_connection(max_retries=1)
    finally:
        server.stop()
    assert not server._socket_path.parent.exists()


def test_a_folder_in_use_is_refused(server: Redis, tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=f"in use by process {os.getpid()}"):
        Redis(tmp_path / "redis")


def test_a_server_that_was_killed_is_started_again(server: Redis) -> None:
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    for _ in range(400):
        server.attend()
        try:
            assert ping(server)
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    assert server.pid not in {None, first}


def test_a_server_left_over_is_ended_before_the_next_starts(server: Redis, tmp_path: Path) -> None:
    server._lock.close()
    fresh = Redis(tmp_path / "redis")
    try:
        assert not server._server.is_alive()
        assert ping(fresh)
    finally:
        fresh.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_it_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "redis")], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}/stat").exists()


def test_a_machine_whose_server_does_not_start_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho too old for these options\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match="too old for these options"):
        Redis(tmp_path / "redis")
