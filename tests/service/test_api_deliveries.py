"""The routes of webhooks: the ledger, sending again, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, VIDEO, VIDEO_BODY, bearer, finish_next
from visionseg.predictions.installation import Installation

HOOK = "https://example.com/hook"
RANGE = "/v1/vision-segment/deliveries/redeliver"


def _submit(client: TestClient, route: str = PREDICTIONS, **body: Any) -> str:
    given = IMAGE_BODY if route == PREDICTIONS else VIDEO_BODY
    answer = client.post(route, json={**given, "webhook": HOOK, **body}, headers=AT_ONCE)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _end_all(installation: Installation, state: str = "failed") -> None:
    with installation.database.begin() as connection:
        statement = "UPDATE deliveries SET state = :state, finished_at = now(), failures = 10"
        connection.execute(text(statement), {"state": state})


def _states(installation: Installation) -> list[str]:
    with installation.database.connect() as connection:
        return list(connection.execute(text("SELECT state FROM deliveries ORDER BY id")).scalars())


def _since(ago: timedelta, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    until = now + timedelta(minutes=1)
    return {"since": (now - ago).isoformat(), "until": until.isoformat(), **more}


def test_the_ledger_shows_what_will_be_sent(client: TestClient, installation: Installation) -> None:
    made = _submit(client)
    assert client.get(f"{PREDICTIONS}/{made}/deliveries").json() == {"results": []}
    finish_next(installation)
    (shown,) = client.get(f"{PREDICTIONS}/{made}/deliveries").json()["results"]
    assert shown["id"].startswith("msg_")
    assert shown["next_at"].endswith("Z")
    assert {name: shown[name] for name in shown if name not in {"id", "created_at", "next_at"}} == {
        "number": 1,
        "event": "completed",
        "url": HOOK,
        "state": "pending",
        "finished_at": None,
        "attempts": [],
    }


def test_a_delivery_is_sent_again_on_demand(client: TestClient, installation: Installation) -> None:
    made = _submit(client)
    finish_next(installation)
    _end_all(installation)
    answer = client.post(f"{PREDICTIONS}/{made}/deliveries/1/redeliver")
    assert answer.status_code == 202
    assert (answer.json()["state"], answer.json()["finished_at"]) == ("pending", None)
    assert client.post(f"{PREDICTIONS}/{made}/deliveries/2/redeliver").status_code == 404
    assert client.post(f"{PREDICTIONS}/{made}/deliveries/0/redeliver").status_code == 422


def test_videos_have_their_ledger_under_their_own_address_too(
    client: TestClient, installation: Installation
) -> None:
    video = _submit(client, VIDEO, webhook_events_filter=["start"])
    assert client.get(f"{VIDEO}/{video}/deliveries").json() == {"results": []}
    picture = _submit(client)
    assert client.get(f"{VIDEO}/{picture}/deliveries").status_code == 404
    assert client.post(f"{VIDEO}/{video}/deliveries/1/redeliver").status_code == 404


def test_another_organisation_sees_and_sends_nothing_of_ours(
    client: TestClient, installation: Installation, make_key: Callable[..., str]
) -> None:
    made = _submit(client)
    finish_next(installation)
    _end_all(installation)
    theirs = bearer(make_key(organisation="other"))
    ledger = f"{PREDICTIONS}/{made}/deliveries"
    assert client.get(ledger, headers=theirs).status_code == 404
    assert client.post(f"{ledger}/1/redeliver", headers=theirs).status_code == 404
    answer = client.post(RANGE, headers=theirs, json=_since(timedelta(hours=1)))
    assert answer.json() == {"redelivered": 0}
    assert _states(installation) == ["failed"]


def test_the_failed_deliveries_of_a_range_of_time_are_sent_again(
    client: TestClient, installation: Installation
) -> None:
    for _ in range(2):
        _submit(client)
        finish_next(installation)
    _end_all(installation)
    with installation.database.begin() as connection:
        connection.execute(
            text("UPDATE deliveries SET created_at = now() - interval '1 day' WHERE id = 1")
        )
    answer = client.post(RANGE, json=_since(timedelta(hours=1)))
    assert (answer.status_code, answer.json()) == (202, {"redelivered": 1})
    assert _states(installation) == ["failed", "pending"]


def test_delivered_ones_of_a_range_are_sent_again_only_if_asked_for(
    client: TestClient, installation: Installation
) -> None:
    _submit(client)
    finish_next(installation)
    _end_all(installation, "delivered")
    hour = timedelta(hours=1)
    assert client.post(RANGE, json=_since(hour)).json() == {"redelivered": 0}
    again = client.post(RANGE, json=_since(hour, include_delivered=True))
    assert again.json() == {"redelivered": 1}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"webhook": "http://example.com/hook"}, "/webhook"),
        ({"webhook": "https://10.0.0.8/hook"}, "/webhook"),
        ({"webhook": 7}, "/webhook"),
        ({"webhook": HOOK, "webhook_events_filter": []}, "/webhook_events_filter"),
        ({"webhook": HOOK, "webhook_events_filter": ["end"]}, "/webhook_events_filter/0"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_with_its_place(
    client: TestClient, body: dict[str, Any], pointer: str
) -> None:
    answer = client.post(PREDICTIONS, json={**IMAGE_BODY, **body}, headers=AT_ONCE)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "body", [{}, {"since": "yesterday", "until": "today"}, {**_since(timedelta(1)), "state": "x"}]
)
def test_a_range_that_cannot_be_read_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post(RANGE, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
