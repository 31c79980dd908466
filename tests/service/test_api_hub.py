"""The hub: waiters cost nothing of their own and are told, with Redis or without."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from tests.serving import IMAGE_BODY, finish_next, wait_until
from visionseg.access.keys import Caller, authenticate
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageSubmission
from visionseg.delivery.hub import Hub
from visionseg.delivery.notices import Notices
from visionseg.embedded.redis import Redis
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit


@pytest.fixture
def caller(installation: Installation, make_key: Callable[..., str]) -> Caller:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    return authenticate(installation.database, pepper, f"Bearer {make_key()}")


def _submit(installation: Installation, caller: Caller) -> PredictionId:
    submission = ImageSubmission.model_validate(IMAGE_BODY)
    return submit(installation, caller, submission, IMAGE_BODY["input"], "http://test")


@asynccontextmanager
async def _hub(installation: Installation, redis_url: str | None = None) -> AsyncIterator[Hub]:
    hub = Hub(installation.database, redis_url or installation.settings.services.redis_url)
    await hub.open()
    try:
        yield hub
    finally:
        await hub.close()


async def _until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def test_what_was_final_before_the_wait_is_told_at_once(
    installation: Installation, caller: Caller
) -> None:
    prediction_id = _submit(installation, caller)
    finish_next(installation)

    async def scenario() -> None:
        async with _hub(installation) as hub:
            assert await hub.until_final(prediction_id, 30)
            assert await hub.until_final(prediction_id, 30)

    asyncio.run(scenario())


def test_a_wait_ends_with_its_time_and_leaves_nothing_behind(
    installation: Installation, caller: Caller
) -> None:
    prediction_id = _submit(installation, caller)

    async def scenario() -> None:
        async with _hub(installation) as hub:
            assert not await hub.until_final(prediction_id, 0.05)
            assert not await hub.until_final(PredictionId("vs_unknown"), 0.05)
            assert not hub._watches

    asyncio.run(scenario())


def test_a_thousand_waiters_share_their_queries(installation: Installation, caller: Caller) -> None:
    prediction_id = _submit(installation, caller)
    statements: list[str] = []

    async def scenario() -> None:
        async with _hub(installation) as hub:
            await _until(lambda: hub.subscribed)
            waits = [hub.until_final(prediction_id, 60) for _ in range(1000)]
            pending = asyncio.gather(*waits)
            await asyncio.sleep(0)
            event.listen(
                installation.database,
                "before_cursor_execute",
                lambda *given: statements.append(given[2]),
            )
            await asyncio.sleep(1.5)
            assert len(statements) < 10
            await asyncio.to_thread(finish_next, installation)
            assert all(await pending)

    asyncio.run(scenario())


class MuteNotices(Notices):
    """Publishes nothing, as if every message were lost."""

    def tell(self, prediction_id: PredictionId) -> None:
        """Says nothing."""


def test_a_notice_that_is_lost_delays_its_waiters_and_no_more(
    installation: Installation, caller: Caller
) -> None:
    prediction_id = _submit(installation, caller)
    mute = replace(installation, notices=MuteNotices(installation.settings.services.redis_url))

    async def scenario() -> None:
        async with _hub(installation) as hub:
            await _until(lambda: hub.subscribed)
            waiting = asyncio.create_task(hub.until_final(prediction_id, 60))
            await asyncio.to_thread(finish_next, mute)
            assert await waiting

    asyncio.run(scenario())
    mute.notices.close()


def test_closing_ends_every_wait(installation: Installation, caller: Caller) -> None:
    prediction_id = _submit(installation, caller)

    async def scenario() -> None:
        async with _hub(installation) as hub:
            waiting = asyncio.create_task(hub.until_final(prediction_id, 60))
            await _until(lambda: bool(hub._watches))
            hub.end_waits()
            assert await waiting
            assert await hub.until_final(prediction_id, 60)

    asyncio.run(scenario())


def test_waiters_are_told_while_redis_is_away_and_the_hub_finds_it_again(
    installation: Installation, caller: Caller, tmp_path: Path
) -> None:
    redis = Redis(tmp_path / "redis")
    notices = Notices(redis.url)

    async def scenario() -> None:
        async with _hub(installation, redis.url) as hub:
            await _until(lambda: hub.subscribed)
            assert redis.pid is not None
            os.kill(redis.pid, signal.SIGKILL)
            await _until(lambda: not hub.subscribed)
            prediction_id = _submit(installation, caller)
            waiting = asyncio.create_task(hub.until_final(prediction_id, 60))
            await asyncio.to_thread(finish_next, installation)
            assert await waiting
            while not hub.subscribed:
                redis.attend()
                await asyncio.sleep(0.05)
            other = _submit(installation, caller)
            with hub.watch(other) as watch:
                assert await watch.change(10)
                await asyncio.to_thread(notices.tell, other)
                assert not watch.final

    try:
        asyncio.run(scenario())
    finally:
        notices.close()
        redis.stop()


def test_a_frozen_redis_counts_as_away(
    installation: Installation, caller: Caller, tmp_path: Path
) -> None:
    redis = Redis(tmp_path / "redis")

    async def scenario() -> None:
        async with _hub(installation, redis.url) as hub:
            await _until(lambda: hub.subscribed)
            assert redis.pid is not None
            os.kill(redis.pid, signal.SIGSTOP)
            try:
                prediction_id = _submit(installation, caller)
                waiting = asyncio.create_task(hub.until_final(prediction_id, 60))
                await asyncio.to_thread(finish_next, installation)
                assert await waiting
                await _until(lambda: not hub.subscribed)
            finally:
                os.kill(redis.pid, signal.SIGCONT)
            await _until(lambda: hub.subscribed)

    try:
        asyncio.run(scenario())
    finally:
        redis.stop()
