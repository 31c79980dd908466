"""Ten thousand jobs of one key: what a claim reads, who is served, who is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, text
from starlette.testclient import TestClient

from api.app import create_app
from bench.queueing import multiply
from tests.lifecycle.conftest import BASE, picture, png_uri
from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer
from visionseg.access import keys
from visionseg.access.keys import Bounds, authenticate
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageSubmission
from visionseg.contract.models import LITE
from visionseg.predictions import claim as claims
from visionseg.predictions import finish
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit
from visionseg.queue.lanes import GPU_LANES, Lane
from visionseg.records.units import Claim

MANY = 10_000
CAP = 2
MOST_ROWS = 120
"""What one look for the next jobs may read: a few rows a candidate, whatever waits."""
GIVEN = {"image": png_uri(picture())}
SUBMISSION = ImageSubmission.model_validate({"input": GIVEN})


class Key:
    """One key, and what is asked with it."""

    def __init__(self, installation: Installation, bounds: Bounds) -> None:
        pepper = installation.settings.http.key_pepper.get_secret_value()
        made = keys.create(installation.database, pepper, "test", bounds=bounds)
        self._installation = installation
        self.secret = made.secret
        self.caller = authenticate(installation.database, pepper, f"Bearer {made.secret}")

    def ask(self) -> PredictionId:
        return submit(self._installation, self.caller, SUBMISSION, GIVEN, BASE)

    def statuses(self) -> Mapping[str, int]:
        query = "SELECT status, count(*) FROM predictions WHERE key_id = :key GROUP BY status"
        with self._installation.database.connect() as connection:
            found = connection.execute(text(query), {"key": self.caller.key_id}).all()
        return {row[0]: row[1] for row in found}


MakeKey = Callable[..., Key]


@pytest.fixture
def make_key_with(installation: Installation) -> MakeKey:
    return lambda **bounds: Key(installation, Bounds(**bounds))


@pytest.fixture
def many(installation: Installation, make_key_with: MakeKey) -> Key:
    """A key with ten thousand jobs, two of which may be worked on at once."""
    key = make_key_with(max_running=CAP)
    multiply(installation, key.ask(), MANY - 1)
    return key


def _claim(installation: Installation) -> Claim | None:
    return claim(installation.database, GPU_LANES, [LITE], "host/1/2", 3600)


def _done(installation: Installation, held: Claim | None) -> PredictionId:
    assert held is not None
    assert finish.complete(installation, held, Outcome(success=Success("x.png")))
    return held.prediction_id


def test_ten_thousand_jobs_of_a_capped_key_delay_nobody(
    installation: Installation, many: Key, make_key_with: MakeKey
) -> None:
    begun = [_claim(installation) for _ in range(CAP + 1)]
    assert begun.pop() is None
    other = make_key_with()
    late = [other.ask() for _ in range(3)]
    assert [_done(installation, _claim(installation)) for _ in late] == late
    assert _claim(installation) is None
    _done(installation, begun[0])
    assert _claim(installation) is not None
    assert _claim(installation) is None
    assert many.statuses() == {"starting": MANY - CAP - 1, "processing": CAP, "succeeded": 1}


def test_a_claim_reads_a_few_rows_whatever_waits(
    installation: Installation, many: Key, make_key_with: MakeKey
) -> None:
    make_key_with().ask()
    with _explained(installation) as plans:
        for _ in range(CAP + 2):
            _claim(installation)
    assert len(plans) > CAP
    assert max(map(_rows_read, plans)) < MOST_ROWS


def test_two_claims_at_once_do_not_exceed_a_cap(
    installation: Installation, make_key_with: MakeKey
) -> None:
    capped = make_key_with(max_running=1)
    for _ in range(2):
        capped.ask()
    with installation.database.begin() as slow:
        found, _ = claims._claim_in(slow, Lane.IMAGES, [LITE], "host/1/1", 30)
        assert found is not None
        assert _claim(installation) is None, "both took the last place"
    assert _claim(installation) is None
    _done(installation, found)
    assert _claim(installation) is not None


def test_a_full_key_is_refused_and_others_are_not(
    installation: Installation, many: Key, make_key_with: MakeKey
) -> None:
    assert installation.settings.limits.open_per_key == MANY
    with TestClient(create_app(installation)) as client:

        def ask(key: Key) -> Any:
            headers = {**bearer(key.secret), **AT_ONCE}
            return client.post(PREDICTIONS, json=IMAGE_BODY, headers=headers)

        refused = ask(many)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        assert ask(make_key_with()).status_code == 202
        own = make_key_with(max_open=1)
        assert [ask(own).status_code for _ in range(2)] == [202, 429]


@contextmanager
def _explained(installation: Installation) -> Iterator[list[Mapping[str, Any]]]:
    """The plans of the looks for the next jobs, as they were carried out within the block."""
    plans: list[Mapping[str, Any]] = []

    def explain(*given: Any) -> None:
        cursor, statement, values = given[1:4]
        if "max_running" in statement and "row_number" in statement:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values)
            plans.append(cursor.fetchone()[0][0]["Plan"])

    event.listen(installation.database, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(installation.database, "before_cursor_execute", explain)


def _rows_read(plan: Mapping[str, Any]) -> int:
    own = 0
    if "Relation Name" in plan:
        passed_over = plan.get("Rows Removed by Filter", 0) + plan.get(
            "Rows Removed by Index Recheck", 0
        )
        own = (plan["Actual Rows"] + passed_over) * plan["Actual Loops"]
    return own + sum(_rows_read(part) for part in plan.get("Plans", ()))
