"""Hundreds of open waits of every kind: all hear of the end, and none costs a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.waits import (
    URL,
    Place,
    ask_all,
    connections,
    end_all,
    measure,
    open_ones,
    without_redis,
)
from tests.serving import Running, running, wait_until
from visionseg.access.keys import authenticate
from visionseg.contract.inputs import ImageSubmission
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit

WAITS = {"with Redis": 300, "Redis away": 60}
MOST_THREADS = 64
"""Those in which Starlette and asyncio run what blocks, and our own few."""
MOST_CONNECTIONS = 20
"""A pool of ten for the server, and one of the test's own."""
THOUSANDS = 5000
MOST_MEMORY_MIB = 300
GIVEN = {"image": URL, "prompt": "person"}
SUBMISSION = ImageSubmission.model_validate({"input": GIVEN})


def _waiting(server: Running) -> int:
    watches = list(server._server._service.hub._watches.values())
    return sum(len(of_one) for of_one in watches)


@pytest.fixture(params=list(WAITS))
def parts(installation: Installation, request: pytest.FixtureRequest) -> Iterator[Installation]:
    if request.param == "with Redis":
        yield installation
        return
    with without_redis(installation) as parts:
        yield parts


def test_hundreds_of_waits_are_all_answered_and_none_costs_a_thread_or_a_connection(
    parts: Installation, make_key: Callable[..., str], request: pytest.FixtureRequest
) -> None:
    count = WAITS[request.node.callspec.params["parts"]]
    held = count // 3
    secret = make_key()
    pepper = parts.settings.http.key_pepper.get_secret_value()
    caller = authenticate(parts.database, pepper, f"Bearer {secret}")
    made = [submit(parts, caller, SUBMISSION, GIVEN, "http://test") for _ in range(count - held)]
    threads = threading.active_count()

    async def scenario(server: Running) -> list[float]:
        place = Place(int(server.url.rpartition(":")[2]), secret)
        asked = asyncio.create_task(ask_all(place, held, made, per_s=100))
        await asyncio.to_thread(wait_until, lambda: asked.done() or _waiting(server) == count)
        assert threading.active_count() - threads < MOST_THREADS
        assert connections(parts, "visionseg tests") <= MOST_CONNECTIONS
        await asyncio.to_thread(end_all, parts, open_ones(parts), per_s=100)
        return await asked

    with running(parts) as server:
        assert len(asyncio.run(scenario(server))) == count
        wait_until(lambda: _waiting(server) == 0)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_five_thousand_waits_are_answered_within_a_second(
    parts: Installation, tmp_path: Path
) -> None:
    measured = measure(parts, tmp_path, THOUSANDS, per_s=50)
    assert len(measured.waits_s) == THOUSANDS
    assert measured.part(0.99) < 1
    assert measured.waiting.memory_mib < MOST_MEMORY_MIB
    assert measured.waiting.threads - measured.before.threads < MOST_THREADS
    assert measured.waiting.connections <= parts.settings.services.pool_size
