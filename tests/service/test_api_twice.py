"""Sending twice, sending too much, bounding and deleting, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx2
import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, VIDEO, VIDEO_BODY, bearer, give, take
from visionseg.access import keys
from visionseg.access.keys import Bounds
from visionseg.predictions.installation import Installation


def _post(client: TestClient, name: str, body: object = IMAGE_BODY) -> httpx2.Response:
    headers = {**AT_ONCE, "Idempotency-Key": name}
    return client.post(PREDICTIONS, json=body, headers=headers)


def _count(installation: Installation) -> int:
    with installation.database.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM predictions")).scalar_one())


def test_the_same_key_and_body_are_the_same_prediction(
    client: TestClient, installation: Installation
) -> None:
    first, second = _post(client, "a-key"), _post(client, "a-key")
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert _count(installation) == 1
    give(installation, take(installation), b"\x89PNG")
    third = _post(client, "a-key")
    assert (third.status_code, third.json()["status"]) == (200, "succeeded")


def test_the_same_key_with_another_body_is_refused(client: TestClient) -> None:
    _post(client, "a-key")
    for body in (
        {"input": {**IMAGE_BODY["input"], "threshold": 0.9}},
        {**IMAGE_BODY, "dry_run": True},
    ):
        other = _post(client, "a-key", body)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_keys_of_different_callers_have_nothing_to_do_with_each_other(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    first = _post(client, "a-key")
    client.headers.update(bearer(make_key()))
    assert _post(client, "a-key").json()["id"] != first.json()["id"]


def test_ten_requests_at_once_with_one_key_make_one_prediction(
    client: TestClient, installation: Installation
) -> None:
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda _: _post(client, "a-key"), range(10)))
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["id"] for reply in replies}) == 1
    assert _count(installation) == 1
    replayed = [reply.headers.get("Idempotent-Replayed") for reply in replies]
    assert replayed.count("true") == 9


def test_an_idempotency_key_is_forgotten_after_a_day(
    client: TestClient, installation: Installation
) -> None:
    first = _post(client, "a-key")
    with installation.database.begin() as connection:
        aged = text("UPDATE idempotency_keys SET created_at = created_at - interval '25 h'")
        connection.execute(aged)
    second = _post(client, "a-key")
    assert second.json()["id"] != first.json()["id"]
    assert "Idempotent-Replayed" not in second.headers


@pytest.mark.parametrize("name", ["", "two words", "x" * 256])
def test_what_is_no_idempotency_key_is_refused(client: TestClient, name: str) -> None:
    reply = _post(client, name)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input")


def _span_s(record: dict[str, str]) -> float:
    created, deadline = (datetime.fromisoformat(record[k]) for k in ("created_at", "deadline"))
    return (deadline - created).total_seconds()


@pytest.mark.parametrize(
    ("header", "seconds"), [("90s", 90), ("10m", 600), ("1h", 3600), ("45", 45)]
)
def test_cancel_after_bounds_the_work(client: TestClient, header: str, seconds: int) -> None:
    reply = client.post(VIDEO, json=VIDEO_BODY, headers={**AT_ONCE, "Cancel-After": header})
    assert _span_s(reply.json()) == pytest.approx(seconds, abs=0.1)


def test_the_earlier_of_deadline_and_cancel_after_counts(client: TestClient) -> None:
    body = {**VIDEO_BODY, "deadline_s": 30}
    reply = client.post(VIDEO, json=body, headers={**AT_ONCE, "Cancel-After": "1h"})
    assert _span_s(reply.json()) == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("header", ["soon", "0s", "-5s", "1d", ""])
def test_a_cancel_after_that_says_nothing_is_refused(client: TestClient, header: str) -> None:
    reply = client.post(VIDEO, json=VIDEO_BODY, headers={**AT_ONCE, "Cancel-After": header})
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input")


def test_a_key_with_too_much_open_is_told_to_wait_and_others_are_not(
    client: TestClient, installation: Installation
) -> None:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    bounded = keys.create(installation.database, pepper, "small", bounds=Bounds(max_open=2))
    own = bearer(bounded.secret)
    for _ in range(2):
        assert client.post(PREDICTIONS, json=IMAGE_BODY, headers={**AT_ONCE, **own}).is_success
    third = client.post(PREDICTIONS, json=IMAGE_BODY, headers={**AT_ONCE, **own})
    assert (third.status_code, third.json()["code"]) == (429, "rate_limited")
    assert int(third.headers["Retry-After"]) > 0
    assert client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).is_success
    give(installation, take(installation), b"\x89PNG")
    assert client.post(PREDICTIONS, json=IMAGE_BODY, headers={**AT_ONCE, **own}).is_success


def test_a_deleted_prediction_keeps_its_record_and_its_files_are_gone(
    client: TestClient, installation: Installation
) -> None:
    made = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()
    give(installation, take(installation), b"\x89PNG" + bytes(300_000))
    url = client.get(made["urls"]["get"]).json()["output"]
    assert client.get(url).status_code == 200
    deleted = client.delete(made["urls"]["get"])
    assert deleted.status_code == 200
    assert (deleted.json()["input"], deleted.json()["output"]) == ({}, None)
    gone = client.get(url)
    assert (gone.status_code, gone.json()["code"]) == (410, "gone")
    assert client.delete(made["urls"]["get"]).status_code == 200


def test_nobody_deletes_what_belongs_to_another_organisation(
    client: TestClient, make_key: Callable[..., str]
) -> None:
    made = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()
    other = bearer(make_key(organisation="another"))
    assert client.delete(made["urls"]["get"], headers=other).status_code == 404
    assert client.get(made["urls"]["get"]).json()["status"] == "starting"
