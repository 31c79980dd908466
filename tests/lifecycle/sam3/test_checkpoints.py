"""The checkpoints of a video on SAM3: how many there are, whose, and what is told with them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tests.lifecycle.sam3.conftest import (
    Load,
    Service,
    cut,
    watch,
)
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions import checkpoint, finish
from visionseg.predictions.sweep import delete_expired_files
from visionseg.queue.lanes import CPU_LANES
from workers.segmenters.sam3.relief import SMALLER_STEPS


def test_of_a_units_checkpoints_two_are_kept_and_with_the_job_they_go(
    service: Service,
    load: Load,
    film_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut(monkeypatch, 12)
    kept: list[list[str]] = []
    made = service.submit(film_uri, max_frames=48)
    segmenter = load()
    watch(segmenter, lambda _: kept.append(service.kept(made)))
    service.bench(segmenter).take_a_turn()
    assert service.client.read(made).status is Status.SUCCEEDED
    names = [[Path(key).name.partition("-")[0] for key in keys] for keys in kept]
    assert max(one.count("state") for one in names) == 2
    assert max(one.count("progress") for one in names) == 2
    assert max(one.count("checkpoint") for one in names) == 2
    assert names[-1].count("checkpoint") == 2
    assert service.kept(made) == []
    for _ in range(2):  # so many files at once
        delete_expired_files(service.installation)
    (shard,) = {service.installation.store.path(one) for one in _shards(service, made)[:1]}
    left = {path.name.partition("-")[0] for path in shard.parents[1].rglob("*") if path.is_file()}
    assert not left & {"state", "progress", "checkpoint"}


def _shards(service: Service, made: PredictionId) -> list[str]:
    query = "SELECT store_key FROM files WHERE prediction_id = :id AND role = 'shard'"
    return [row.store_key for row in service.rows(query, made)]


def test_a_checkpoint_of_a_holder_that_lost_its_unit_is_nobodys(
    service: Service, film_uri: str
) -> None:
    service.submit(film_uri)
    bench = service.bench(None)  # type: ignore[arg-type]  # it opens no session
    claimed = bench._claim([*CPU_LANES])
    assert claimed is not None
    assert checkpoint.is_wanted(service.installation, claimed)
    assert checkpoint.keep(service.installation, claimed, {"checkpoints": []}, [], [])
    assert finish.lose(service.installation, claimed)
    assert not checkpoint.is_wanted(service.installation, claimed)
    assert not checkpoint.keep(service.installation, claimed, {"checkpoints": [1]}, [], [])
    assert checkpoint.kept(service.installation, claimed) == {"checkpoints": []}


@pytest.mark.parametrize("part", ["vision_encoder", "memory_attention"])
def test_a_video_for_which_memory_is_short_succeeds_and_says_so(
    service: Service,
    load: Load,
    film_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    cut(monkeypatch, 12)
    segmenter = load()
    model = segmenter.network.model
    place = model.detector_model if part == "vision_encoder" else model.tracker_model
    calls = itertools.count()

    def before(*_: object) -> None:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("no memory is left")

    hook = getattr(place, part).register_forward_pre_hook(before)
    made = service.submit(film_uri, max_frames=30)
    service.bench(segmenter).take_a_turn()
    hook.remove()
    record = service.client.read(made)
    assert record.status is Status.SUCCEEDED, (record.error, record.logs)
    assert record.warnings == [SMALLER_STEPS]
    assert [frame.index for frame in service.frames(made)] == list(range(30))
