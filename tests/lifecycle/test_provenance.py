"""Where results come from: told in the record, true, and gone with the prediction."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from sqlalchemy import text

from tests.fakes.segmenters import BrightSegmenter
from tests.lifecycle.conftest import Client
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageInput, VideoInput
from visionseg.contract.reply import Provenance
from visionseg.contract.status import Status
from visionseg.predictions.delete import delete
from visionseg.predictions.installation import Installation
from workers.bench import Bench
from workers.segmenters.base import Origin


def _provenance(client: Client, made: PredictionId) -> Provenance:
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    assert record.provenance is not None
    return record.provenance


def _input(installation: Installation, made: PredictionId) -> Path:
    query = text("SELECT source->>'store_key' FROM predictions WHERE id = :id")
    with installation.database.connect() as connection:
        return installation.store.path(connection.execute(query, {"id": made}).scalar_one())


def _given(installation: Installation, made: PredictionId) -> dict[str, Any]:
    data = _input(installation, made).read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def test_a_picture_tells_its_bytes_its_engine_and_every_parameter(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image(threshold=0.25)
    assert client.read(made).provenance is None
    bench.take_a_turn()
    told = _provenance(client, made)
    given = _given(installation, made)
    assert told.input.model_dump() == {**given, "content_type": "image/png"}
    (engine,) = told.engines
    assert (engine.name, engine.version, engine.device) == ("embedded/lite", "fake", "cpu")
    assert engine.weights == {"fake.bin": "00"}
    assert engine.software["av"] == importlib.metadata.version("av")
    assert "visionseg" in engine.software
    assert set(told.parameters) == set(ImageInput.model_fields) - {"image"}
    assert told.parameters["threshold"] == 0.25
    assert told.frame_map is None


@pytest.mark.parametrize("output_format", ["mp4", "coco_rle"])
def test_a_video_names_the_file_that_maps_its_frames_to_the_source(
    installation: Installation,
    client: Client,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    output_format: str,
) -> None:
    made = client.video(video=clip_uri, output_format=output_format, frame_stride=4, start_time=0.5)
    bench.take_a_turn()
    told = _provenance(client, made)
    assert told.input.model_dump() == {
        **_given(installation, made),
        "content_type": "video/mp4",
    }
    assert set(told.parameters) == set(VideoInput.model_fields) - {"video"}
    assert len(told.engines) == 1
    assert told.frame_map == "index.json"
    index = json.loads(client.artifact(made, told.frame_map).read_text())
    base = Fraction(index["time_base"])
    with av.open(str(_input(installation, made))) as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    for entry in index["frames"]:
        assert entry["pts"] == shown[entry["source_frame"]]
        assert entry["time"] == pytest.approx(float((entry["pts"] - shown[0]) * base))
    assert [entry["source_frame"] for entry in index["frames"]] == list(range(5, 30, 4))


def test_unlike_workers_of_one_video_are_all_told(
    client: Client, make_bench: Callable[..., Bench], clip_uri: str, small_chunks: None
) -> None:
    old, new = BrightSegmenter(), BrightSegmenter()
    new.origin = Origin("a faster one", {"fake.bin": "11"})
    made = client.video(video=clip_uri, output_format="coco_rle")
    benches = [make_bench(old), make_bench(old), make_bench(new)]
    while client.read(made).status is not Status.SUCCEEDED:
        bench = benches.pop(0) if len(benches) > 1 else benches[0]
        claimed = bench._claim(bench.lanes)
        assert claimed is not None
        bench._perform(claimed, lambda: None)
    told = _provenance(client, made)
    assert [engine.device for engine in told.engines] == ["cpu", "a faster one"]


def test_provenance_goes_with_the_prediction(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    bench.take_a_turn()
    _provenance(client, made)
    delete(installation, made)
    assert client.read(made).provenance is None
