"""Workers killed, frozen, hung and told to stop: every job ends, and ends as if undisturbed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.crews import until
from tests.fakes.loading import OUT_OF_REACH, TOGETHER_VARIABLE, Noun
from tests.lifecycle.faults.conftest import Plant, kill
from visionseg.contract.errors import ErrorCode
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.cancel import cancel
from workers.hosts import is_alive

pytestmark = pytest.mark.xdist_group("faults")
LOST = '"reason": "lost"'


def _slow_clip(plant: Plant, clip_uri: str) -> PredictionId:
    return plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")


@pytest.fixture(scope="session")
def undisturbed(whole_plant: Plant, clip_uri: str) -> list[bytes]:
    """The shards of the clip where nothing happens."""
    whole_plant.worker()
    made = _slow_clip(whole_plant, clip_uri)
    whole_plant.succeeded(made)
    return whole_plant.shards(made)


@pytest.mark.parametrize("victim", ["child", "parent"])
def test_a_killed_process_costs_a_unit_and_nothing_else(
    plant: Plant, clip_uri: str, undisturbed: list[bytes], victim: str
) -> None:
    worker = plant.worker()
    made = _slow_clip(plant, clip_uri)
    holder = plant.holder(made)
    kill(holder if victim == "child" else worker.process.pid)
    until(lambda: victim == "child" or not worker.runs)
    plant.crew.any()
    record = plant.succeeded(made)
    assert "worker lost" in record.logs
    assert record.progress.frames_done == 30
    assert plant.shards(made) == undisturbed


def test_a_worker_that_wakes_after_its_lease_changes_nothing(
    plant: Plant, clip_uri: str, undisturbed: list[bytes]
) -> None:
    sleeper = plant.worker()
    made = _slow_clip(plant, clip_uri)
    holder = plant.holder(made)
    told = plant.crew.log().count(LOST)
    with sleeper.frozen():
        second = plant.crew.start()
        record = plant.succeeded(made)
    until(lambda: plant.crew.log().count(LOST) > told)
    assert "worker lost" in record.logs
    assert plant.client.read(made) == record
    assert plant.shards(made) == undisturbed
    os.kill(holder, 0)  # it lives on, and takes the next job
    second.kill()
    plant.succeeded(plant.client.image())


def test_a_computation_that_no_stop_reaches_is_ended_with_its_process(plant: Plant) -> None:
    worker = plant.worker()
    deaf = plant.client.image(prompt=Noun.DEAF)
    grasping = plant.client.image(prompt=Noun.GRASPING)
    pids = [plant.holder(made) for made in (deaf, grasping)]
    until(
        lambda: all(f'"pid": {pid}, "event": "{OUT_OF_REACH}"' in plant.crew.log() for pid in pids)
    )
    for made in (deaf, grasping):
        assert cancel(plant.installation, made)
        assert plant.client.read(made).status is Status.CANCELED
    for made in (deaf, grasping):
        assert plant.finished(made).status is Status.CANCELED
    until(lambda: not any(map(is_alive, pids)))
    plant.succeeded(plant.client.image())
    assert worker.runs


def test_a_frozen_process_is_replaced_even_where_it_held_nothing(plant: Plant) -> None:
    worker = plant.worker()
    made = plant.client.image(prompt=Noun.SLOW)
    pid = plant.holder(made)
    plant.succeeded(made)
    os.kill(pid, signal.SIGSTOP)
    until(lambda: not is_alive(pid))
    plant.succeeded(plant.client.image())
    assert worker.runs


def test_a_unit_that_kills_its_workers_fails_after_three_and_others_go_on(
    plant: Plant, clip_uri: str
) -> None:
    worker = plant.worker()
    poison = plant.client.video(video=clip_uri, prompt=Noun.FATAL)
    others = [plant.client.image() for _ in range(5)]
    record = plant.finished(poison)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.WORKER_LOST)
    assert record.logs.count("worker lost") == plant.installation.settings.lease.max_losses
    for other in others:
        plant.succeeded(other)
    assert worker.runs


def test_a_picture_that_kills_its_worker_takes_the_others_of_its_batch_down_once(
    plant: Plant,
) -> None:
    for worker in plant.crew.workers:
        worker.kill()
    others = [plant.client.image() for _ in range(3)]
    poison = plant.client.image(prompt=Noun.FATAL)
    others += [plant.client.image() for _ in range(2)]
    batching = plant.crew.start(also={TOGETHER_VARIABLE: "8"})
    record = plant.finished(poison)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.WORKER_LOST)
    assert [plant.succeeded(other).logs.count("worker lost") for other in others] == [1] * 5
    batching.kill()


def test_a_worker_told_to_stop_and_told_again_gives_its_unit_back_uncounted(
    plant: Plant, clip_uri: str, undisturbed: list[bytes]
) -> None:
    worker = plant.worker()
    made = _slow_clip(plant, clip_uri)
    plant.holder(made)
    worker.process.send_signal(signal.SIGTERM)
    until(lambda: not plant.leased(made))
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait() == 0
    assert not plant.leased(made)
    plant.crew.any()
    assert "worker lost" not in plant.succeeded(made).logs
    assert plant.shards(made) == undisturbed
    tried = plant.rows(
        "SELECT attempt - given_back AS tries FROM units WHERE prediction_id = :id", id=made
    )
    assert {row.tries for row in tried} == {1}
