"""Worker programs killed in the middle of a video on SAM3: others go on from its checkpoints."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Servers
from tests.crews import HASTY, Worker, until
from tests.lifecycle.faults.conftest import Plant, planted
from tests.lifecycle.sam3.conftest import BATCH, FRAMES
from visionseg.config import Models
from visionseg.contract.ids import PredictionId

pytestmark = pytest.mark.xdist_group("faults")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def _checkpoint(plant: Plant, made: PredictionId) -> int:
    """The frame of the last checkpoint of a unit that somebody holds; 0 where there is none."""
    query = """SELECT result->'progress'->'checkpoints'->0->>'index' AS frame FROM units
               WHERE prediction_id = :id AND state = 'leased' AND result IS NOT NULL"""
    return max((int(row.frame) for row in plant.rows(query, id=made)), default=0)


def _kill_after(plant: Plant, worker: Worker, made: PredictionId, frame: int) -> int:
    """Kills the worker behind a checkpoint beyond `frame`; returns that of its last one.

    It stands still while this is looked at, so that the video cannot end meanwhile.
    """
    until(lambda: _checkpoint(plant, made) > frame)
    worker.signal(signal.SIGSTOP)
    reached = _checkpoint(plant, made)
    worker.kill()
    return reached


def test_a_killed_worker_costs_no_more_than_what_came_after_its_last_checkpoint(
    servers: Servers, tmp_path: Path, tiny_folder: Path, film_uri: str
) -> None:
    models = Models(sam3_weights=str(tiny_folder), sam3_batch=BATCH)
    lease = HASTY.model_copy(update={"checkpoint_s": 0})
    with planted(servers, tmp_path, lease, models=models) as plant:
        asked: dict[str, Any] = {
            "prompt": "person, red ball",
            "threshold": 0.2,
            "output_format": "coco_rle",
        }
        worker = plant.crew.start(also=ONE_THREAD)
        undisturbed = plant.client.video(video=film_uri, **asked)
        plant.succeeded(undisturbed)
        made, reached = plant.client.video(video=film_uri, **asked), 0
        for _ in range(2):
            reached = _kill_after(plant, worker, made, reached)
            assert 0 < reached < FRAMES
            worker = plant.crew.start(also=ONE_THREAD)
        record = plant.succeeded(made)
        assert record.logs.count("worker lost") == 2
        assert plant.shards(made) == plant.shards(undisturbed)
