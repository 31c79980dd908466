"""Following a prediction by server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.serving import AT_ONCE, IMAGE_BODY, PREDICTIONS, bearer, give, running, take
from visionseg.predictions import finish
from visionseg.predictions.finish import Outcome
from visionseg.predictions.installation import Installation
from visionseg.records import predictions, units


@dataclass
class Told:
    kind: str
    data: dict[str, Any]
    number: int | None


@pytest.fixture
def http(installation: Installation, make_key: Callable[..., str]) -> Iterator[httpx2.Client]:
    with running(installation) as server:
        headers = bearer(make_key())
        with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
            yield client


def _events(lines: Iterator[str]) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            number = int(fields["id"]) if "id" in fields else None
            yield Told(fields["event"], json.loads(fields["data"]), number)
            fields = {}


def _submit(http: httpx2.Client) -> str:
    made = http.post(PREDICTIONS, json=IMAGE_BODY, headers=AT_ONCE).json()
    address: str = made["urls"]["events"]
    return address


def _replay(http: httpx2.Client, address: str, after: int | str) -> list[Told]:
    with http.stream("GET", address, headers={"Last-Event-ID": str(after)}) as reply:
        return list(_events(reply.iter_lines()))


def test_a_life_is_told_as_it_happens(http: httpx2.Client, installation: Installation) -> None:
    address = _submit(http)
    with http.stream("GET", address) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        told = _events(reply.iter_lines())
        queued = next(told)
        assert (queued.kind, queued.data["stage"]) == ("progress", "queued")
        held = take(installation)
        with installation.database.begin() as connection:
            units.renew(connection, held, 30, frames_done=1)
            predictions.say(connection, held.prediction_id, ["half way"])
        installation.notices.tell(held.prediction_id)
        heard = [next(told)]
        while heard[-1].kind != "logs":
            heard.append(next(told))
        give(installation, held, b"a mask")
        heard += told
    kinds = [event.kind for event in heard]
    assert kinds[0] == "start"
    assert kinds[-3:] == ["logs", "output", "completed"]
    logs = [event.data for event in heard if event.kind == "logs"]
    assert logs == [{"place": 0, "text": "half way\n"}, {"place": 9, "text": "done\n"}]
    assert [e.data["frames_done"] for e in heard if e.kind == "progress"][-1] == 1
    numbers = [event.number for event in heard if event.number is not None]
    assert numbers == sorted(set(numbers))
    record = heard[-1].data
    assert record["status"] == "succeeded"
    assert record["output"] == heard[-2].data["output"] == record["artifacts"][0]["url"]


def test_a_follower_that_comes_back_hears_what_it_missed(
    http: httpx2.Client, installation: Installation
) -> None:
    address = _submit(http)
    give(installation, take(installation), b"a mask")
    whole = _replay(http, address, "")
    assert [event.kind for event in whole] == ["start", "progress", "logs", "output", "completed"]
    start, completed = whole[0], whole[-1]
    assert start.number
    assert completed.number
    missed = _replay(http, address, start.number)
    assert [event.kind for event in missed] == ["progress", "logs", "output", "completed"]
    assert missed[-1] == completed
    over = http.get(address, headers={"Last-Event-ID": str(completed.number)})
    assert (over.status_code, over.content) == (204, b"")
    assert _replay(http, address, "not a number") == whole


def test_a_failed_prediction_completes_without_an_output(
    http: httpx2.Client, installation: Installation
) -> None:
    address = _submit(http)
    held = take(installation)
    assert finish.complete(installation, held, Outcome())
    http.post(address.replace("/events", "/cancel"))
    told = _replay(http, address, "")
    assert "output" not in [event.kind for event in told]
    assert told[-1].data["status"] == "canceled"


def test_a_stopping_server_ends_the_stream_before_the_end(
    installation: Installation, make_key: Callable[..., str]
) -> None:
    with running(installation) as server:
        headers = bearer(make_key())
        with httpx2.Client(base_url=server.url, headers=headers, timeout=30) as client:
            address = _submit(client)
            with client.stream("GET", address) as reply:
                told = _events(reply.iter_lines())
                assert next(told).kind == "progress"
                server.stop()
                assert list(told) == []
