"""The video units: formats, ranges, chunks, and results that do not depend on how they are cut."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from sqlalchemy import text

from tests.fakes.segmenters import BrightSegmenter
from tests.lifecycle.conftest import Client, picture
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import sweep
from workers.bench import Bench


def _coco(client: Client, made: PredictionId) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(client.artifact(made, "video.coco.json").read_text())
    return loaded


def _times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [round(frame.time or 0.0, 6) for frame in container.decode(video=0)]


def test_coco_rle_holds_the_true_masks_with_source_frames_and_times(
    client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(
        video=clip_uri, output_format="coco_rle", frame_stride=3, start_time=0.5, end_time=2.0
    )
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    coco = _coco(client, made)
    assert [image["frame_index"] for image in coco["images"]] == [5, 8, 11, 14, 17]
    assert [image["timestamp"] for image in coco["images"]] == [0.5, 0.8, 1.1, 1.4, 1.7]
    assert [one["name"] for one in coco["categories"]] == ["person"]
    for image, found in zip(coco["images"], coco["annotations"], strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, under numpy 2
            mask = coco_mask.decode(found["segmentation"]) > 0
        truth = picture(image["frame_index"])[..., 0] > 128
        assert (mask & truth).sum() / (mask | truth).sum() > 0.9
        assert (found["image_id"], found["track_id"]) == (image["id"], 1)


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("output_format", ["mp4", "frames", "masks", "coco_rle"])
def test_every_frame_is_in_every_format_however_late_results_come(
    client: Client,
    make_bench: Callable[..., Bench],
    clip_uri: str,
    small_chunks: None,
    output_format: str,
    delay: int,
) -> None:
    segmenter = BrightSegmenter()
    segmenter.delay = delay
    made = client.video(video=clip_uri, output_format=output_format)
    make_bench(segmenter).take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    assert record.metrics["frames"] == 30
    assert (record.progress.frames_done, record.progress.frames_total) == (30, 30)
    index = json.loads(client.artifact(made, "index.json").read_text())
    assert [frame["source_frame"] for frame in index["frames"]] == list(range(30))
    scores = [frame["objects"][0]["score"] for frame in index["frames"]]
    assert scores == [round(number / 1000, 3) for number in range(30)]
    output = client.artifact(made, record.artifacts[0].name)
    if output_format == "mp4":
        assert _times(output) == [round(number / 10, 6) for number in range(30)]
    elif output_format != "coco_rle":
        names = zipfile.ZipFile(output).namelist()
        assert len(names) == 31
        assert names[0] in {"frame_000000.png", "mask_000000_0001.png"}


def test_frames_are_painted_and_masks_are_exact(
    client: Client, bench: Bench, clip_uri: str
) -> None:
    painted = client.video(video=clip_uri, output_format="frames", max_frames=2, mask_opacity=1)
    masks = client.video(video=clip_uri, output_format="masks", max_frames=2)
    bench.take_a_turn()
    with zipfile.ZipFile(client.artifact(painted, "frames.zip")) as archive:
        frame = np.asarray(Image.open(io.BytesIO(archive.read("frame_000001.png"))))
    assert frame[20, 5].tolist() == [0, 255, 0]
    with zipfile.ZipFile(client.artifact(masks, "masks.zip")) as archive:
        mask = np.asarray(Image.open(io.BytesIO(archive.read("mask_000001_0001.png"))))
    assert mask.dtype == np.uint8
    assert np.unique(mask).tolist() == [0, 255]


def test_fps_sets_the_rate_of_the_written_video(
    client: Client, bench: Bench, clip_uri: str
) -> None:
    made = client.video(video=clip_uri, fps=25, max_frames=5)
    bench.take_a_turn()
    assert _times(client.artifact(made, "video.mp4")) == [0.0, 0.04, 0.08, 0.12, 0.16]


def test_a_stride_plays_at_true_speed(client: Client, bench: Bench, clip_uri: str) -> None:
    made = client.video(video=clip_uri, frame_stride=10)
    bench.take_a_turn()
    assert _times(client.artifact(made, "video.mp4")) == [0.0, 1.0, 2.0]


def _shards(installation: Installation, made: PredictionId) -> list[bytes]:
    query = text(
        "SELECT store_key FROM files WHERE prediction_id = :id AND role = 'shard' ORDER BY name"
    )
    with installation.database.connect() as connection:
        keys = connection.execute(query, {"id": made}).scalars().all()
    return [installation.store.path(key).read_bytes() for key in keys]


def test_another_worker_goes_on_from_the_checkpoint_with_equal_results(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    clip_uri: str,
    small_chunks: None,
) -> None:
    warm = client.video(video=clip_uri, output_format="coco_rle")
    make_bench().take_a_turn()
    handed_on = client.video(video=clip_uri, output_format="coco_rle")
    for _ in range(6):
        bench = make_bench()
        claimed = bench._claim(bench.lanes)
        assert claimed is not None
        bench._perform(claimed, lambda: None)
    assert client.read(handed_on).status is Status.SUCCEEDED
    assert _shards(installation, warm) == _shards(installation, handed_on)
    assert len(_shards(installation, warm)) == 4


def test_without_propagation_chunks_stand_alone(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri, output_format="coco_rle", prompt_propagation=False)
    bench.take_a_turn()
    assert client.read(made).status is Status.SUCCEEDED
    query = text(
        "SELECT cardinality(after) FROM units WHERE kind = 'chunk' AND prediction_id = :id"
    )
    with installation.database.connect() as connection:
        assert set(connection.execute(query, {"id": made}).scalars()) == {0}
    scores = [found["score"] for found in _coco(client, made)["annotations"]]
    assert scores[:9] == [0.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.0]


def test_work_files_are_gone_after_success_and_results_stay(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri)
    bench.take_a_turn()
    sweep(installation)
    query = text("SELECT role, deleted_at IS NULL FROM files WHERE prediction_id = :id")
    with installation.database.connect() as connection:
        kept = {tuple(row) for row in connection.execute(query, {"id": made})}
    gone, stay = {"work", "part"}, {"shard", "artifact", "input", "basis"}
    assert kept == {*((role, False) for role in gone), *((role, True) for role in stay)}
    assert client.artifact(made, "video.mp4").exists()
