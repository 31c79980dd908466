"""What operators do: keys, workers, queues, everybody's predictions; and what is written down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from api.app import create_app
from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer, finish_next
from visionseg.access.scopes import Scope
from visionseg.contract.operating import Action
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import Lane
from workers.app import Parent

KEYS = "/v1/admin/keys"
AUDIT = "/v1/admin/audit"
Open = Callable[[str], TestClient]


@pytest.fixture
def opened(installation: Installation) -> Iterator[Open]:
    """Opens clients of one application, each with its own key."""
    with contextlib.ExitStack() as stack:
        yield lambda secret: stack.enter_context(
            TestClient(create_app(installation), headers=bearer(secret))
        )


@pytest.fixture
def operator(opened: Open, make_key: Callable[..., str]) -> TestClient:
    return opened(make_key((Scope.ADMIN,), "operators"))


def _made(operator: TestClient, **wanted: Any) -> dict[str, Any]:
    reply = operator.post(KEYS, json=wanted)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def _actions(operator: TestClient) -> list[tuple[str, str]]:
    lines = operator.get(AUDIT).json()["results"]
    return [(line["action"], line["subject"]) for line in lines]


def test_a_key_is_made_shown_once_used_and_revoked(operator: TestClient, opened: Open) -> None:
    made = _made(operator, name="van", organisation="fleet", max_running=2, weight=3.0)
    assert (made["organisation"], made["max_running"], made["weight"]) == ("fleet", 2, 3.0)
    user = opened(made["secret"])
    assert user.get(PREDICTIONS).status_code == 200
    told = operator.get(f"{KEYS}/{made['id']}").json()
    assert told["last_used_at"] is not None
    listed = operator.get(KEYS)
    assert made["id"] in [key["id"] for key in listed.json()["results"]]
    assert made["secret"] not in listed.text
    gone = operator.delete(f"{KEYS}/{made['id']}")
    assert gone.json()["revoked_at"] is not None
    assert user.get(PREDICTIONS).json()["code"] == "invalid_api_key"


def test_a_key_without_a_named_organisation_is_of_the_operators_own(operator: TestClient) -> None:
    assert _made(operator)["organisation"] == "operators"


def test_a_rotated_key_counts_under_both_secrets_until_the_old_one_retires(
    operator: TestClient, opened: Open, installation: Installation
) -> None:
    made = _made(operator, name="van")
    again = operator.post(f"{KEYS}/{made['id']}/rotate", json={"overlap_s": 3600}).json()
    assert again["id"] == made["id"]
    assert again["secret"] != made["secret"]
    for secret in (made["secret"], again["secret"]):
        assert opened(secret).get(PREDICTIONS).status_code == 200
    with installation.database.begin() as connection:
        passed = "UPDATE api_keys SET retires_at = clock_timestamp() WHERE retires_at IS NOT NULL"
        connection.execute(text(passed))
    assert opened(made["secret"]).get(PREDICTIONS).status_code == 401
    assert opened(again["secret"]).get(PREDICTIONS).status_code == 200


def test_revoking_ends_a_retiring_secret_too(operator: TestClient, opened: Open) -> None:
    made = _made(operator)
    again = operator.post(f"{KEYS}/{made['id']}/rotate", json={}).json()
    operator.delete(f"{KEYS}/{made['id']}")
    for secret in (made["secret"], again["secret"]):
        assert opened(secret).get(PREDICTIONS).status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["everything"]},
        {"scopes": []},
        {"weight": 0},
        {"max_open": 0},
        {"expires_in_s": -1},
        {"name": "a\u0000b"},
        {"unknown": 1},
    ],
)
def test_a_key_that_cannot_be_is_refused(operator: TestClient, wanted: dict[str, Any]) -> None:
    reply = operator.post(KEYS, json=wanted)
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input")


def test_what_does_not_exist_is_not_found(operator: TestClient) -> None:
    for method, address in (
        ("GET", f"{KEYS}/key_0"),
        ("DELETE", f"{KEYS}/key_0"),
        ("POST", f"{KEYS}/key_0/rotate"),
        ("POST", "/v1/admin/workers/worker_0/drain"),
        ("GET", f"{PREDICTIONS}?organisation=nobody"),
    ):
        reply = operator.request(method, address, json={} if method == "POST" else None)
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), address


def test_workers_and_queues_are_told_and_a_worker_is_drained(
    operator: TestClient, client: TestClient, installation: Installation
) -> None:
    client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE)
    parent = Parent(installation, [Lane.IMAGES])
    parent.beat()
    sweep(installation)
    lanes = {one["lane"]: one for one in operator.get("/v1/admin/queues").json()["results"]}
    expected = {"lane": "images", "workers": 1, "predictions": 1, "units": 1}
    assert (lanes["images"], set(lanes)) == (expected, set(Lane))
    (worker,) = operator.get("/v1/admin/workers").json()["results"]
    assert (worker["id"], worker["draining"]) == (parent.id, False)
    drained = operator.post(f"/v1/admin/workers/{parent.id}/drain").json()
    assert drained["draining"]
    parent.pulses.close()


def test_an_operator_sees_and_cancels_what_others_do_and_it_is_written_down(
    operator: TestClient, client: TestClient
) -> None:
    theirs = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()["id"]
    assert operator.get(PREDICTIONS).json()["results"] == []
    (listed,) = operator.get(f"{PREDICTIONS}?organisation=*").json()["results"]
    assert (listed["id"], listed["organisation"]) == (theirs, "default")
    (named,) = operator.get(f"{PREDICTIONS}?organisation=default").json()["results"]
    assert named["id"] == theirs
    assert operator.get(f"{PREDICTIONS}/{theirs}").json()["status"] == "starting"
    assert operator.post(f"{PREDICTIONS}/{theirs}/cancel").json()["status"] == "canceled"
    assert client.get(f"{PREDICTIONS}/{theirs}").json()["status"] == "canceled"
    assert _actions(operator)[::-1] == [
        (Action.PREDICTIONS_LISTED, "*"),
        (Action.PREDICTIONS_LISTED, "default"),
        (Action.PREDICTION_READ, f"{PREDICTIONS}/{theirs}"),
        (Action.PREDICTION_READ, f"{PREDICTIONS}/{theirs}/cancel"),
        (Action.PREDICTION_CANCELED, theirs),
    ]


def test_an_operator_neither_deletes_nor_submits_for_others(
    operator: TestClient, client: TestClient
) -> None:
    theirs = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()["id"]
    for reply in (
        operator.delete(f"{PREDICTIONS}/{theirs}"),
        operator.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE),
    ):
        assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


def test_reads_of_outputs_cancels_and_deletes_are_written_down(
    operator: TestClient, client: TestClient, installation: Installation
) -> None:
    made = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()["id"]
    finish_next(installation)
    (artifact,) = client.get(f"{PREDICTIONS}/{made}").json()["artifacts"]
    assert client.get(artifact["url"]).status_code == 200
    assert operator.get(artifact["url"]).status_code == 200
    client.post(f"{PREDICTIONS}/{made}/cancel")
    client.delete(f"{PREDICTIONS}/{made}")
    name = artifact["url"].rpartition("/")[2]
    assert _actions(operator)[::-1] == [
        (Action.OUTPUT_READ, name),
        (Action.PREDICTION_READ, f"/api/vision-segment/outputs/{name}"),
        (Action.OUTPUT_READ, name),
        (Action.PREDICTION_CANCELED, made),
        (Action.PREDICTION_DELETED, made),
    ]
    first = operator.get(AUDIT).json()["results"][-1]
    assert first["address"] == "testclient"
    assert first["request_id"].startswith("req_")


def test_the_audit_log_has_pages_and_forgets(
    operator: TestClient, installation: Installation
) -> None:
    for number in range(5):
        _made(operator, name=f"key {number}")
    first = operator.get(f"{AUDIT}?limit=3").json()
    second = operator.get(first["next"]).json()
    told = [line["subject"] for page in (first, second) for line in page["results"]]
    assert told == [f"key {number} of operators" for number in (4, 3, 2, 1, 0)]
    assert second["next"] is None
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE audit SET at = at - interval '91 days' WHERE id % 2 = 0"))
    sweep(installation)
    assert 0 < len(operator.get(AUDIT).json()["results"]) < 5


def test_what_cannot_be_written_down_is_not_done(
    operator: TestClient, client: TestClient, installation: Installation
) -> None:
    made = client.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()["id"]
    with installation.database.begin() as connection:
        connection.execute(text("ALTER TABLE audit RENAME TO elsewhere"))
    assert client.post(f"{PREDICTIONS}/{made}/cancel").status_code == 500
    assert client.get(f"{PREDICTIONS}/{made}").json()["status"] == "starting"
