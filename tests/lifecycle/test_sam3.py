"""A video on SAM3, cut into chunks shorter than its delay: handed on, it is the same."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import text

from tests.fakes.tiny_sam3 import save_tiny
from tests.lifecycle.conftest import Client
from visionseg.access.keys import Caller
from visionseg.config import Models
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import SAM3
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from workers.bench import Bench
from workers.hosts import owner_name
from workers.segmenters import registry
from workers.segmenters.base import Segmenter
from workers.segmenters.registry import ENGINES, Engine


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    torch.set_num_threads(1)
    folder = save_tiny(tmp_path_factory.mktemp("tiny"))
    return ENGINES[SAM3].load(Models(sam3_weights=str(folder), sam3_batch=4))


@pytest.fixture
def with_weights(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """An installation whose SAM3 cuts videos into chunks of eight frames."""
    monkeypatch.setitem(registry.ENGINES, SAM3, Engine("unused", chunk_frames=8, batch_frames=4))
    models = Models(sam3_weights="the tiny ones")
    settings = installation.settings.model_copy(update={"models": models})
    return dataclasses.replace(installation, settings=settings)


def _bench(installation: Installation, segmenter: Segmenter) -> Bench:
    return Bench(
        installation=installation,
        lanes=[*GPU_LANES, *CPU_LANES],
        owner=owner_name(),
        segmenters={SAM3: segmenter},
        draining=lambda: False,
    )


def _shards(installation: Installation, made: PredictionId) -> list[bytes]:
    query = text(
        "SELECT store_key FROM files WHERE prediction_id = :id AND role = 'shard' ORDER BY name"
    )
    with installation.database.connect() as connection:
        keys = connection.execute(query, {"id": made}).scalars().all()
    return [Path(installation.store.path(key)).read_bytes() for key in keys]


def test_another_worker_goes_on_from_the_checkpoint_with_equal_results(
    with_weights: Installation, caller: Caller, clip_uri: str, segmenter: Segmenter
) -> None:
    client = Client(with_weights, caller)
    asked: dict[str, Any] = {
        "video": clip_uri,
        "output_format": "coco_rle",
        "prompt": "person, " + "a red ball on a chair " * 12,
        "threshold": 0.1,
        "box_prompts": [{"x_min": 0, "y_min": 10, "x_max": 30, "y_max": 40}],
    }
    warm = client.video(**asked)
    _bench(with_weights, segmenter).take_a_turn()
    handed_on = client.video(**asked)
    for _ in range(6):
        bench = _bench(with_weights, segmenter)
        claimed = bench._claim(bench.lanes)
        assert claimed is not None
        bench._perform(claimed, lambda: None)
    for made in (warm, handed_on):
        record = client.read(made)
        assert record.status is Status.SUCCEEDED, record.error
        (warning,) = record.warnings
        assert "first 32 tokens" in warning
        index = json.loads(client.artifact(made, "index.json").read_text())
        assert [frame["source_frame"] for frame in index["frames"]] == list(range(30))
        assert any(frame["objects"] for frame in index["frames"])
    assert _shards(with_weights, warm) == _shards(with_weights, handed_on)
    assert len(_shards(with_weights, warm)) == 3  # the first chunk's frames come with the second
