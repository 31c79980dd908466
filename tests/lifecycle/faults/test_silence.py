"""PostgreSQL or Redis fall silent for a worker: open connections on which nothing comes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Servers
from tests.crews import HASTY, Crew, until
from tests.fakes.loading import Noun
from tests.lifecycle.faults.conftest import Plant, planted
from tests.relays import database_relayed, redis_relayed
from visionseg.config import Settings

pytestmark = pytest.mark.xdist_group("faults")
PATIENT = HASTY.model_copy(update={"lease_s": 60})
ANSWER_WITHIN_S = 1.0
GIVEN_UP = '"watch_failed"'


def _settings(plant: Plant) -> Settings:
    settings = plant.installation.settings
    services = settings.services.model_copy(update={"database_answer_s": ANSWER_WITHIN_S})
    return settings.model_copy(update={"services": services})


@contextmanager
def _crew(settings: Settings, folder: Path) -> Iterator[Crew]:
    """Workers that reach the servers as these settings say."""
    folder.mkdir()
    crew = Crew(settings, folder)
    try:
        yield crew
    finally:
        crew.close()


def _tries(plant: Plant, made: str) -> set[int]:
    query = "SELECT attempt - given_back AS tries FROM units WHERE prediction_id = :id"
    return {row.tries for row in plant.rows(query, id=made)}


def test_a_database_silent_for_less_than_a_lease_costs_no_second_try(
    servers: Servers, tmp_path: Path, clip_uri: str
) -> None:
    with (
        planted(servers, tmp_path, PATIENT) as plant,
        database_relayed(_settings(plant)) as (relay, through),
        _crew(through, tmp_path / "cut off") as crew,
    ):
        crew.start()
        made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
        holder = plant.holder(made)
        with relay.silent():
            until(lambda: GIVEN_UP in crew.log())
        assert "worker lost" not in plant.succeeded(made).logs
        assert _tries(plant, made) == {1}
        os.kill(holder, 0)


def test_a_database_silent_for_longer_costs_the_lease_and_the_worker_comes_back(
    servers: Servers, tmp_path: Path, clip_uri: str
) -> None:
    with (
        planted(servers, tmp_path, HASTY) as plant,
        database_relayed(_settings(plant)) as (relay, through),
        _crew(through, tmp_path / "cut off") as cut_off,
    ):
        first = cut_off.start()
        made = plant.client.video(video=clip_uri, prompt=Noun.SLOW, output_format="coco_rle")
        plant.holder(made)
        with relay.silent():
            second = plant.crew.start()
            record = plant.succeeded(made)
        assert "worker lost" in record.logs
        assert plant.client.read(made) == record
        second.kill()
        plant.succeeded(plant.client.image())
        assert plant.client.read(made) == record
        assert first.runs


def test_a_worker_whose_redis_fell_silent_hears_hints_again(
    servers: Servers, tmp_path: Path
) -> None:
    with (
        planted(servers, tmp_path, HASTY) as plant,
        redis_relayed(_settings(plant)) as (relay, through),
        _crew(through, tmp_path / "cut off") as crew,
    ):
        worker = crew.start()
        plant.succeeded(plant.client.image(prompt=Noun.SLOW))
        running = plant.client.image(prompt=Noun.SLOW)
        plant.holder(running)
        with relay.silent():
            queued = plant.client.image()
            plant.succeeded(running)
        plant.succeeded(queued)
        assert _tries(plant, queued) == {1}
        assert worker.runs
