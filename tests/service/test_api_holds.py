"""How long a POST is held: on the real server, with a client that sees every byte."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.serving import (
    IMAGE_BODY,
    PREDICTIONS,
    Running,
    bearer,
    finish_next,
    give,
    running,
    take,
    wait_until,
    with_http,
)
from visionseg.predictions.installation import Installation
from visionseg.records import predictions

SILENCE_S = 0.2


@pytest.fixture
def server(installation: Installation) -> Iterator[Running]:
    with running(with_http(installation, heartbeat_after_s=SILENCE_S)) as started:
        yield started


@pytest.fixture
def http(server: Running, make_key: Callable[..., str]) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, headers=bearer(make_key()), timeout=30) as client:
        yield client


def _open_count(installation: Installation) -> int:
    with installation.database.connect() as connection:
        return predictions.count_open(connection)


def _finish_when_submitted(installation: Installation, pause_s: float = 0) -> threading.Thread:
    def work() -> None:
        wait_until(lambda: _open_count(installation))
        time.sleep(pause_s)
        finish_next(installation)

    worker = threading.Thread(target=work)
    worker.start()
    return worker


def _post(http: httpx2.Client, prefer: str | None = None) -> httpx2.Response:
    headers = {} if prefer is None else {"Prefer": prefer}
    return http.post(PREDICTIONS, json=IMAGE_BODY, headers=headers)


def test_a_prediction_that_ends_soon_is_an_ordinary_answer(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    headers = bearer(make_key())
    with running(installation) as server, httpx2.Client(base_url=server.url) as http:
        worker = _finish_when_submitted(installation)
        reply = http.post(PREDICTIONS, json=IMAGE_BODY, headers=headers, timeout=30)
        worker.join()
    assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")
    assert reply.text.startswith("{")
    assert int(reply.headers["content-length"]) == len(reply.content)
    assert reply.headers["location"] == reply.json()["urls"]["get"]


def test_a_longer_hold_sends_spaces_until_the_record_follows(
    http: httpx2.Client, installation: Installation
) -> None:
    pieces: list[bytes] = []
    with http.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
        held = take(installation)
        for piece in reply.iter_raw():
            pieces.append(piece)
            if len(pieces) == 3:
                assert pieces == [b" "] * 3
                give(installation, held, b"a mask")
    record = json.loads(b"".join(pieces))
    assert record["status"] == "succeeded"
    assert reply.headers["location"] == record["urls"]["get"]


def test_a_canceled_prediction_ends_its_hold(http: httpx2.Client) -> None:
    with http.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
        assert http.post(f"{reply.headers['location']}/cancel").status_code == 200
        assert json.loads(reply.read())["status"] == "canceled"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("respond-async", "respond-async"),
        ("wait=0", "wait=0"),
        ("wait=1", "wait=1"),
        ("respond-async, wait=1", "wait=1"),
    ],
)
def test_a_wait_that_ends_too_early_is_202_without_a_byte_before(
    http: httpx2.Client, prefer: str, applied: str
) -> None:
    reply = _post(http, prefer)
    assert (reply.status_code, reply.json()["status"]) == (202, "starting")
    assert reply.text.startswith("{")
    assert reply.headers["preference-applied"] == applied
    assert reply.headers["retry-after"].isdigit()
    assert reply.headers["location"] == reply.json()["urls"]["get"]


def test_a_wait_that_is_long_enough_is_200_without_a_byte_before(
    http: httpx2.Client, installation: Installation
) -> None:
    for prefer in ("wait=30", "wait", "wait=99999"):
        worker = _finish_when_submitted(installation, pause_s=2 * SILENCE_S)
        reply = _post(http, prefer)
        worker.join()
        assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")
        assert reply.text.startswith("{")
        assert "retry-after" not in reply.headers


def test_a_preference_that_cannot_be_read_counts_as_none(
    http: httpx2.Client, installation: Installation
) -> None:
    for prefer in ("wait=soon", "wait=-1", "handling=lenient", "respond-async=7"):
        worker = _finish_when_submitted(installation, pause_s=2 * SILENCE_S)
        reply = _post(http, prefer)
        worker.join()
        assert (reply.status_code, reply.json()["status"]) == (200, "succeeded")
        assert reply.text.startswith(" ")
        assert "preference-applied" not in reply.headers


def test_a_client_that_leaves_does_not_stop_the_job_and_is_not_waited_for(
    http: httpx2.Client, server: Running, installation: Installation
) -> None:
    with http.stream("POST", PREDICTIONS, json=IMAGE_BODY) as reply:
        address = reply.headers["location"]
        wait_until(lambda: server.waited_for)
    wait_until(lambda: not server.waited_for)
    assert http.get(address).json()["status"] == "starting"
    finish_next(installation)
    assert http.get(address).json()["status"] == "succeeded"


def test_a_read_waits_for_the_end_as_long_as_it_is_asked_to(
    http: httpx2.Client, installation: Installation
) -> None:
    made = _post(http, "respond-async").json()
    address = made["urls"]["get"]
    assert http.get(f"{address}?wait=1").json()["status"] == "starting"
    worker = _finish_when_submitted(installation, pause_s=SILENCE_S)
    assert http.get(f"{address}?wait=30").json()["status"] == "succeeded"
    worker.join()
    assert http.get(f"{address}?wait=300").json()["status"] == "succeeded"
    assert http.get(f"{address}?wait=-1").status_code == 422


def test_a_server_that_stops_closes_every_hold_with_the_current_record(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    headers = bearer(make_key())
    with running(with_http(installation, heartbeat_after_s=SILENCE_S)) as server:
        waits: list[dict[str, str]] = [{}, {"Prefer": "wait=200"}, {}]

        def post(more: dict[str, str]) -> tuple[int, Any]:
            reply = httpx2.post(
                f"{server.url}{PREDICTIONS}",
                json=IMAGE_BODY,
                headers={**headers, **more},
                timeout=60,
            )
            return reply.status_code, reply.json()["status"]

        with ThreadPoolExecutor(len(waits)) as pool:
            replies = [pool.submit(post, more) for more in waits]
            wait_until(lambda: _open_count(installation) == len(waits))
            take(installation)
            time.sleep(2 * SILENCE_S)  # so that some have their first space and some have none
            server.stop()
            found = sorted(reply.result() for reply in replies)
    assert [status for status, _ in found] == [200, 200, 202]
    assert sorted(state for _, state in found) == ["processing", "starting", "starting"]
