"""SAM3 on its tiny weights in workers that can die, and a film for them."""

from __future__ import annotations

import base64
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest
import torch
from sqlalchemy import Row, text

from tests.fakes.tiny_sam3 import film, save_tiny
from tests.lifecycle.conftest import Client
from visionseg.access.keys import Caller
from visionseg.config import Lease, Models
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import SAM3
from visionseg.contract.status import Status
from visionseg.predictions import finish
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from visionseg.records import turns
from visionseg.records.units import Claim
from workers.bench import Bench
from workers.hosts import owner_name
from workers.media.shards import ShardFrame, read_shards
from workers.segmenters import registry
from workers.segmenters.registry import Engine
from workers.segmenters.sam3 import loading
from workers.segmenters.sam3.segmenter import Sam3Segmenter

FRAMES = 70
BATCH = 4


Load = Callable[[], Sam3Segmenter]


class Died(BaseException):
    """Nothing handles it, as nothing handles a SIGKILL."""


@pytest.fixture(scope="module")
def film_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 54, "yuv420p"
        for frame in film(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def load(tiny_folder: Path) -> Load:
    """Loads the model anew, as another worker does; objects are judged, and most stay."""

    def made() -> Sam3Segmenter:
        models = Models(sam3_weights=str(tiny_folder), sam3_batch=BATCH, sam3_warm_up=False)
        segmenter = loading.load(models)
        model = segmenter.network.model
        model.hotstart_unmatch_thresh = model.hotstart_dup_thresh = 15
        model.max_num_objects, model.det_nms_thresh = 4, 0.0
        return segmenter

    return made


class Service:
    """An installation with SAM3, whose workers keep a checkpoint after each batch of frames."""

    def __init__(self, installation: Installation, caller: Caller) -> None:
        models = Models(sam3_weights="the tiny ones")
        settings = installation.settings.model_copy(
            update={"models": models, "lease": Lease(checkpoint_s=0, watch_s=0.02)}
        )
        self.installation = dataclasses.replace(installation, settings=settings)
        self.client = Client(self.installation, caller)

    def bench(
        self, segmenter: Sam3Segmenter, draining: Callable[[], bool] = lambda: False
    ) -> Bench:
        return Bench(
            installation=self.installation,
            lanes=[*GPU_LANES, *CPU_LANES],
            owner=owner_name(),
            segmenters={SAM3: segmenter},
            draining=draining,
        )

    def submit(self, film_uri: str, **given: Any) -> PredictionId:
        asked = {"prompt": "person, red ball", "threshold": 0.2, **given}
        return self.client.video(video=film_uri, output_format="coco_rle", **asked)

    def rows(self, query: str, made: PredictionId) -> list[Row[Any]]:
        with self.installation.database.connect() as connection:
            return list(connection.execute(text(query), {"id": made}))

    def kept(self, made: PredictionId) -> list[str]:
        """The store's keys of the work files that are not let go of."""
        query = """SELECT store_key FROM files WHERE prediction_id = :id AND role = 'work'
                   AND expires_at IS NULL ORDER BY store_key"""
        return [row.store_key for row in self.rows(query, made)]

    def frames(self, made: PredictionId) -> list[ShardFrame]:
        record = self.client.read(made)
        assert record.status is Status.SUCCEEDED, (record.error, record.logs)
        query = """SELECT store_key FROM files WHERE prediction_id = :id AND role = 'shard'
                   ORDER BY position"""
        keys = [row.store_key for row in self.rows(query, made)]
        return list(read_shards(self.installation.store.path(key) for key in keys))


@pytest.fixture
def service(installation: Installation, caller: Caller) -> Service:
    return Service(installation, caller)


def cut(monkeypatch: pytest.MonkeyPatch, chunk_frames: int) -> None:
    monkeypatch.setitem(registry.ENGINES, SAM3, Engine("unused", chunk_frames, BATCH))


def watch(segmenter: Sam3Segmenter, before: Callable[[int], None]) -> None:
    """Calls `before` with the number of each frame that is to be followed."""
    model: Any = segmenter.network.model
    follow = model.follow

    def watched(session: Any, frame: Any, terms: Any) -> Any:
        before(frame.index)
        return follow(session, frame, terms)

    model.follow = watched


def deadly(segmenter: Sam3Segmenter, at: set[int], seen: Counter[int]) -> Sam3Segmenter:
    """Dies once on each of the frames `at`; counts in `seen` how often each frame was begun."""

    def before(index: int) -> None:
        seen[index] += 1
        if index in at:
            at.remove(index)
            raise Died

    watch(segmenter, before)
    return segmenter


def work_on(service: Service, segmenters: Iterator[Sam3Segmenter]) -> int:
    """Every unit goes to another worker; those of dead ones are freed. Returns the deaths."""
    deaths = 0
    while True:
        bench = service.bench(next(segmenters))
        claimed = bench._claim(bench.lanes)
        if claimed is None:
            return deaths
        try:
            bench._perform(claimed, lambda: None)
        except Died:
            deaths += 1
            assert finish.lose(service.installation, claimed)
            make_ready(service, claimed)


def make_ready(service: Service, claimed: Claim) -> None:
    """Without the wait after a loss."""
    with service.installation.database.begin() as connection:
        query = text("UPDATE units SET not_before = now() WHERE id = :id")
        connection.execute(query, {"id": claimed.unit_id})
        turns.refresh(connection, claimed.prediction_id)


@pytest.fixture(scope="module")
def followed_once() -> list[ShardFrame]:
    """Filled by the first test that needs it."""
    return []


@pytest.fixture
def undisturbed(
    followed_once: list[ShardFrame],
    service: Service,
    load: Load,
    film_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> list[ShardFrame]:
    """The film in one piece, followed by one worker."""
    cut(monkeypatch, FRAMES)
    if not followed_once:
        made = service.submit(film_uri)
        service.bench(load()).take_a_turn()
        followed_once.extend(service.frames(made))
    return followed_once
