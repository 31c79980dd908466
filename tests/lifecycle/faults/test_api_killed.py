"""The API killed: what it committed is done, and who follows goes on where it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.conftest import PEPPER
from tests.fakes.api import DIE_VARIABLE
from tests.fakes.loading import Noun
from tests.lifecycle.faults.conftest import Plant
from tests.lifecycle.faults.outages import without_redis
from tests.programs import ApiProgram, api_program
from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, VIDEO, bearer
from visionseg.access import keys
from visionseg.access.scopes import Scope
from visionseg.contract.ids import PredictionId

pytestmark = pytest.mark.xdist_group("faults")


@pytest.fixture
def api(plant: Plant, tmp_path: Path) -> Iterator[ApiProgram]:
    with api_program(plant.installation.settings, tmp_path) as program:
        yield program


@pytest.fixture
def http(plant: Plant, api: ApiProgram) -> Iterator[httpx2.Client]:
    made = keys.create(plant.installation.database, PEPPER, "test", (Scope.SEGMENT,), "default")
    with httpx2.Client(
        base_url=api.url, headers=bearer(made.secret), timeout=120, trust_env=False
    ) as client:
        yield client


def test_an_api_killed_between_its_commit_and_its_hint_loses_and_doubles_nothing(
    plant: Plant, api: ApiProgram, http: httpx2.Client
) -> None:
    plant.worker()
    once = {"Idempotency-Key": "the-only-one"}
    api.start({DIE_VARIABLE: "yes"})
    with pytest.raises(httpx2.TransportError):
        http.post(PREDICTIONS, json=IMAGE_BODY, headers=once)
    (row,) = plant.rows("SELECT prediction_id FROM idempotency_keys WHERE name = 'the-only-one'")
    plant.succeeded(PredictionId(row.prediction_id))
    api.kill()
    api.start()
    reply = http.post(PREDICTIONS, json=IMAGE_BODY, headers=once)
    assert (reply.json()["id"], reply.json()["status"]) == (row.prediction_id, "succeeded")
    assert reply.headers["Idempotent-Replayed"] == "true"


class Follower:
    """A client of server-sent events that comes back with the number it heard last."""

    def __init__(self, http: httpx2.Client, address: str) -> None:
        self._http = http
        self._address = address
        self.numbers: list[int] = []
        self.kinds: list[str] = []

    def follow(self, *, until_number: int | None = None) -> None:
        """Hears until the line breaks, the stream ends, or so many numbered events are known."""
        last = str(self.numbers[-1]) if self.numbers else ""
        with (
            suppress(httpx2.TransportError),
            self._http.stream("GET", self._address, headers={"Last-Event-ID": last}) as reply,
        ):
            fields: dict[str, str] = {}
            for line in reply.iter_lines():
                if line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                    continue
                self._take(fields)
                fields = {}
                if until_number is not None and len(self.numbers) >= until_number:
                    return

    def _take(self, fields: dict[str, str]) -> None:
        if "event" in fields:
            self.kinds.append(fields["event"])
        if "id" in fields:
            self.numbers.append(int(fields["id"]))


def test_a_follower_misses_and_doubles_no_event_through_kills_of_the_api_and_of_redis(
    plant: Plant, api: ApiProgram, http: httpx2.Client, clip_uri: str
) -> None:
    plant.worker()
    api.start()
    body = {"input": {"video": clip_uri, "prompt": Noun.SLOW, "output_format": "coco_rle"}}
    made = http.post(VIDEO, json=body, headers=AT_ONCE).json()
    follower = Follower(http, made["urls"]["events"])
    follower.follow(until_number=1)
    with without_redis(plant):
        api.kill()
        follower.follow()
        api.start()
        follower.follow(until_number=1)
    follower.follow()
    plant.succeeded(PredictionId(made["id"]))
    query = "SELECT id FROM events WHERE prediction_id = :id ORDER BY id"
    assert follower.numbers == [row.id for row in plant.rows(query, id=made["id"])]
    assert follower.kinds[0] == "start"
    assert follower.kinds[-2:] == ["output", "completed"]
