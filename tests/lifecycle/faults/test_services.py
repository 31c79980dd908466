"""PostgreSQL and Redis restarted, emptied, frozen and flooded while work is queued and done."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import pytest
from redis import Redis
from sqlalchemy import text

from tests.conftest import PEPPER
from tests.crews import until
from tests.fakes.loading import Noun
from tests.lifecycle.conftest import Client
from tests.lifecycle.faults.conftest import Plant
from tests.lifecycle.faults.outages import without_redis
from tests.serving import IMAGE_BODY, PREDICTIONS, bearer, running, with_http
from visionseg.access import keys
from visionseg.access.scopes import Scope
from visionseg.contract.ids import PredictionId
from visionseg.predictions.cancel import cancel
from visionseg.queue.hints import Hints
from visionseg.queue.lanes import Lane
from visionseg.records import predictions
from visionseg.records.engine import DATABASE_AWAY

pytestmark = pytest.mark.xdist_group("faults")


def _redis(plant: Plant) -> Redis:
    return Redis.from_url(plant.servers.redis.url)


def test_hints_lost_while_work_is_queued_are_made_up_for(plant: Plant, clip_uri: str) -> None:
    worker = plant.worker()
    with worker.frozen(), _redis(plant) as client:
        made = [plant.client.image() for _ in range(5)] + [plant.client.video(video=clip_uri)]
        time.sleep(0.2)  # the hints go out from a thread of their own
        client.flushall()
    for one in made:
        plant.succeeded(one)


def test_redis_emptied_between_and_during_submissions_loses_none(plant: Plant) -> None:
    plant.worker()
    with ThreadPoolExecutor(4) as pool, _redis(plant) as client:
        made = [pool.submit(plant.client.image) for _ in range(20)]
        while not all(one.done() for one in made):
            client.flushall()
    for one in made:
        plant.succeeded(one.result())


def test_redis_killed_and_started_again_loses_no_work(plant: Plant) -> None:
    worker = plant.worker()
    with worker.frozen():
        made = [plant.client.image() for _ in range(5)]
        with without_redis(plant):
            made.append(plant.client.image())
    for one in made:
        plant.succeeded(one)
    assert worker.runs


@contextmanager
def _frozen(pid: int | None) -> Iterator[None]:
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "away_s", [3, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_redis_away_while_jobs_run_are_queued_and_posted_delays_them_and_no_more(
    plant: Plant, clip_uri: str, away_s: int
) -> None:
    worker = plant.worker()
    begun = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
    plant.holder(begun)
    made_key = keys.create(plant.installation.database, PEPPER, "test", (Scope.SEGMENT,), "default")
    with (
        running(with_http(plant.installation, heartbeat_after_s=0.5)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        with without_redis(plant):
            held = pool.submit(
                httpx2.post,
                f"{server.url}{PREDICTIONS}",
                json=IMAGE_BODY,
                headers=bearer(made_key.secret),
                timeout=500,
                trust_env=False,
            )
            queued = [plant.client.image() for _ in range(3)]
            time.sleep(away_s)
        posted = held.result().json()
    assert posted["status"] == "succeeded"
    for one in (begun, *queued, PredictionId(posted["id"])):
        assert "worker lost" not in plant.succeeded(one).logs
        query = "SELECT attempt FROM units WHERE prediction_id = :id"
        assert {row.attempt for row in plant.rows(query, id=one)} == {1}
    assert worker.runs


def test_submissions_and_cancels_are_answered_while_redis_is_frozen(plant: Plant) -> None:
    plant.worker()
    with _frozen(plant.servers.redis.pid):
        made = plant.client.image()
        unwanted = plant.client.image()
        assert cancel(plant.installation, unwanted)
    plant.succeeded(made)
    assert plant.finished(unwanted).output is None


def test_a_thousand_hints_for_one_unit_do_it_once(plant: Plant) -> None:
    plant.worker()
    made = plant.client.image()
    for _ in range(1000):
        plant.installation.hints.wake(Lane.IMAGES)
    plant.succeeded(made)
    (row,) = plant.rows("SELECT attempt FROM units WHERE prediction_id = :id", id=made)
    assert row.attempt == 1


class MuteHints(Hints):
    """What a process killed after its commit and before its hint has said."""

    def wake(self, lane: Lane, times: int = 1) -> None:
        """Says nothing."""


def test_a_submission_whose_hint_was_never_sent_is_done(plant: Plant) -> None:
    plant.worker()
    killed = dataclasses.replace(plant.installation, hints=MuteHints(plant.installation.hints._app))
    made = Client(killed, plant.client._caller).image()
    plant.succeeded(made)


def _restart_postgres(plant: Plant) -> None:
    server = plant.servers.postgres._server
    server.ask_to_stop()
    assert server.wait(30)
    server.kill()
    server.start()
    until(lambda: _connects(plant))


def _connects(plant: Plant) -> bool:
    try:
        return bool(plant.rows("SELECT 1"))
    except DATABASE_AWAY:
        return False


def test_a_restart_of_postgresql_in_the_middle_costs_no_job_and_no_process(
    plant: Plant, clip_uri: str
) -> None:
    plant.worker()
    made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
    holder = plant.holder(made)
    _restart_postgres(plant)
    record = plant.succeeded(made)
    assert record.progress.frames_done == 30
    assert "worker lost" not in record.logs
    os.kill(holder, 0)


def test_a_client_frozen_inside_a_transaction_is_cut_off_and_the_job_goes_on(plant: Plant) -> None:
    worker = plant.worker()
    database = plant.installation.database
    with worker.frozen():
        made = plant.client.image()
        with database.connect() as frozen:
            limit = frozen.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
            frozen.execute(text("SET idle_in_transaction_session_timeout = '300ms'"))
            predictions.lock(frozen, made)
            worker.signal(signal.SIGCONT)
            plant.succeeded(made)
            with pytest.raises(DATABASE_AWAY):
                frozen.execute(text("SELECT 1"))
            frozen.invalidate()
    assert limit == "10s"
