"""PostgreSQL or Redis fall silent: connections stay open, and no answer comes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx2
import psycopg
import pytest
from sqlalchemy import Engine, text

from tests.relays import database_relayed, redis_relayed
from tests.serving import (
    AT_ONCE,
    IMAGE_BODY,
    PREDICTIONS,
    bearer,
    finish_next,
    running,
    with_http,
)
from visionseg.config import Settings
from visionseg.predictions.installation import Installation, assemble
from visionseg.records.engine import ANSWER_S, DATABASE_AWAY, SERVER_SETTINGS, connect, unhurried

ANSWER_WITHIN_S = 0.5


@contextmanager
def _assembled(settings: Settings) -> Iterator[Installation]:
    services = settings.services.model_copy(update={"database_answer_s": ANSWER_WITHIN_S})
    made = assemble(settings.model_copy(update={"services": services}), "visionseg tests")
    yield made
    made.close()


@contextmanager
def _serving(settings: Settings, secret: str) -> Iterator[httpx2.Client]:
    with (
        _assembled(settings) as installation,
        running(with_http(installation, heartbeat_after_s=0.2)) as server,
        httpx2.Client(base_url=server.url, headers=bearer(secret), timeout=60) as client,
    ):
        yield client


def _one(database: Engine) -> object:
    with database.connect() as connection:
        return connection.execute(text("SELECT 1")).scalar_one()


def test_a_connection_that_falls_silent_is_given_up_and_the_next_one_works(
    settings: Settings,
) -> None:
    with database_relayed(settings) as (relay, through), _assembled(through) as installation:
        database = installation.database
        with database.connect() as connection, relay.silent():
            with pytest.raises(DATABASE_AWAY, match="no answer within"):
                connection.execute(text("SELECT 1"))
            assert connection.invalidated
        assert _one(database) == 1


def test_an_idle_connection_that_fell_silent_is_replaced_before_its_use(
    settings: Settings,
) -> None:
    with database_relayed(settings) as (relay, through), _assembled(through) as installation:
        assert _one(installation.database) == 1
        with relay.silent(), pytest.raises(DATABASE_AWAY):
            _one(installation.database)
        assert _one(installation.database) == 1


def test_a_statement_that_may_take_its_time_is_waited_for(settings: Settings) -> None:
    slow = text(f"SELECT pg_sleep({3 * ANSWER_WITHIN_S})")
    with _assembled(settings) as installation, installation.database.connect() as connection:
        with unhurried(connection):
            connection.execute(slow)
        with pytest.raises(DATABASE_AWAY):
            connection.execute(slow)


def test_a_statement_is_cut_off_by_the_server_before_its_client_gives_up() -> None:
    assert float(SERVER_SETTINGS["statement_timeout"].removesuffix("s")) < ANSWER_S


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_a_peer_that_is_gone_is_noticed_by_tcp(settings: Settings) -> None:
    with database_relayed(settings) as (_, through):
        database = connect(through.services.database_url, 1, "visionseg tests")
        with database.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            with socket.fromfd(driver.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
                assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
                assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 25_000
        database.dispose()


def _refused(reply: httpx2.Response) -> bool:
    problem = reply.json()
    return (reply.status_code, problem["code"]) == (503, "service_unavailable") and int(
        reply.headers["retry-after"]
    ) > 0


def test_with_a_silent_database_requests_are_refused_and_holds_outlast_it(
    settings: Settings, installation: Installation, make_key: Callable[..., str]
) -> None:
    with database_relayed(settings) as (relay, through), _serving(through, make_key()) as client:
        with client.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
            pieces = reply.iter_raw()
            with relay.silent():
                assert _refused(client.post(PREDICTIONS, json=IMAGE_BODY))
                assert [next(pieces) for _ in range(3)] == [b" "] * 3
            finish_next(installation)
            assert json.loads(b"".join(pieces))["status"] == "succeeded"
        assert len(client.get(PREDICTIONS).json()["results"]) == 1


def test_with_a_silent_redis_submissions_are_answered_and_holds_end(
    settings: Settings, installation: Installation, make_key: Callable[..., str]
) -> None:
    with redis_relayed(settings) as (relay, through), _serving(through, make_key()) as client:
        with client.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply, relay.silent():
            accepted = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
            assert accepted.status_code == 202
            canceled = client.post(accepted.json()["urls"]["cancel"])
            assert canceled.json()["status"] == "canceled"
            finish_next(installation)
            assert json.loads(reply.read())["status"] == "succeeded"
        assert "broker" not in client.get("/readyz").json()["degraded"]
