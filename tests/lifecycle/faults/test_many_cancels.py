"""Cancels at random moments of a life, one after the other on one worker."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.processes import memory_mib
from tests.conftest import Servers
from tests.crews import HASTY, until
from tests.fakes.loading import Noun
from tests.lifecycle.faults.conftest import Plant, planted
from visionseg.contract.status import Status
from visionseg.predictions.cancel import cancel

pytestmark = pytest.mark.xdist_group("faults")
FEW, MANY = 10, 200
LONGEST_MOMENT_S = 1.5
"""The clip takes longer than that, so that a cancel falls into any stage of it."""
RELEASED_WITHIN_S = 1.0
GROWTH_MIB = 32


@pytest.fixture
def own_plant(servers: Servers, tmp_path: Path) -> Iterator[Plant]:
    """A plant with one worker process, for its memory alone."""
    with planted(servers, tmp_path, HASTY) as made:
        made.crew.start(processes=1)
        made.succeeded(made.client.image())
        yield made


def _cancel_once(plant: Plant, clip_uri: str, chance: random.Random) -> float:
    """Seconds from the cancel to the moment at which nobody worked on it."""
    made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
    time.sleep(chance.uniform(0, LONGEST_MOMENT_S))
    assert cancel(plant.installation, made)
    record = plant.finished(made)
    assert record.status is Status.CANCELED
    assert record.released_at is not None
    assert record.completed_at is not None
    assert plant.leased(made) == []
    return (record.released_at - record.completed_at).total_seconds()


def _worker_pid(plant: Plant, clip_uri: str) -> int:
    """The process that segments, found by what it holds."""
    made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
    pid = plant.holder(made)
    plant.succeeded(made)
    return pid


def test_a_cancel_at_any_moment_is_released_and_the_worker_goes_on(
    own_plant: Plant, clip_uri: str
) -> None:
    chance = random.Random(5)
    for _ in range(FEW):
        _cancel_once(own_plant, clip_uri, chance)
    own_plant.succeeded(own_plant.client.image())
    open_units = "SELECT 1 FROM units WHERE state NOT IN ('done', 'dropped')"
    assert own_plant.rows(open_units) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_two_hundred_cancels_are_released_in_a_second_and_cost_no_memory(
    own_plant: Plant, clip_uri: str
) -> None:
    chance = random.Random(7)
    pid = _worker_pid(own_plant, clip_uri)
    for _ in range(FEW):
        _cancel_once(own_plant, clip_uri, chance)
    base_mib = memory_mib(pid)
    took_s = sorted(_cancel_once(own_plant, clip_uri, chance) for _ in range(MANY))
    assert took_s[math.ceil(0.99 * MANY) - 1] <= RELEASED_WITHIN_S
    until(lambda: memory_mib(pid) - base_mib < GROWTH_MIB)
    assert _worker_pid(own_plant, clip_uri) == pid
