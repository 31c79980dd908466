"""PostgreSQL away for a while: nothing that was accepted is lost, and holds outlast it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import httpx2
import pytest
from sqlalchemy import create_engine, text

from tests.serving import (
    AT_ONCE,
    IMAGE_BODY,
    PREDICTIONS,
    bearer,
    finish_next,
    running,
    with_http,
)
from visionseg.predictions.installation import Installation


class _Postgres(Protocol):
    @property
    def url(self) -> str: ...


class _Servers(Protocol):
    @property
    def postgres(self) -> _Postgres: ...


@pytest.fixture
def http(installation: Installation, make_key: Callable[..., str]) -> Iterator[httpx2.Client]:
    with running(with_http(installation, heartbeat_after_s=0.2)) as server:
        headers = bearer(make_key())
        with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
            yield client


@contextmanager
def _outage(servers: _Servers, installation: Installation) -> Iterator[None]:
    """Ends every connection to the database and lets nobody in."""
    admin = create_engine(servers.postgres.url, isolation_level="AUTOCOMMIT")
    name = installation.database.url.database
    end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name")
    with admin.connect() as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'))
        connection.execute(end, {"name": name})
        yield
        connection.execute(text(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'))
    admin.dispose()


def test_a_hold_outlasts_an_outage(
    http: httpx2.Client, installation: Installation, servers: _Servers
) -> None:
    with http.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
        pieces = reply.iter_raw()
        with _outage(servers, installation):
            refused = http.get(reply.headers["location"])
            assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
            assert [next(pieces) for _ in range(3)] == [b" "] * 3
        finish_next(installation)
        assert json.loads(b"".join(pieces))["status"] == "succeeded"


def test_a_follower_outlasts_an_outage(
    http: httpx2.Client, installation: Installation, servers: _Servers
) -> None:
    made = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()
    with http.stream("GET", made["urls"]["events"]) as reply:
        lines = reply.iter_lines()
        assert "event: progress" in (next(lines) for _ in range(9))
        with _outage(servers, installation):
            assert http.get(made["urls"]["get"]).status_code == 503
        finish_next(installation)
        assert "event: completed" in lines
