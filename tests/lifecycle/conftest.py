"""A worker's bench in this process, with quick segmenters, and tiny pictures and clips."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.fakes.segmenters import BrightSegmenter
from visionseg.access import keys
from visionseg.access.keys import Bounds, Caller, authenticate
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import (
    AnyRender,
    ImageRender,
    ImageSubmission,
    Kind,
    VideoRender,
    VideoSubmission,
)
from visionseg.contract.models import LITE
from visionseg.contract.reply import Prediction
from visionseg.predictions.installation import Installation
from visionseg.predictions.read import read
from visionseg.predictions.render import render
from visionseg.predictions.submit import submit
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, Lane
from workers.bench import Bench
from workers.hosts import owner_name
from workers.segmenters import registry
from workers.segmenters.base import Segmenter
from workers.segmenters.registry import Engine

BASE = "http://test"
WIDTH, HEIGHT = 64, 48


def picture(place: int = 8) -> npt.NDArray[np.uint8]:
    """A dark picture with a bright square, 16 pixels wide, at `place` from the left."""
    made = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    made[16:32, place : place + 16] = 220
    return made


def png_uri(image: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.fixture(scope="session")
def clip_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Thirty frames of the bright square moving right, 10 a second."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


class Client:
    """Submits, and reads records, as the API does."""

    def __init__(self, installation: Installation, caller: Caller) -> None:
        self._installation = installation
        self._caller = caller

    def image(self, body: dict[str, Any] | None = None, **given: Any) -> PredictionId:
        asked = {"image": png_uri(picture()), **given}
        submission = ImageSubmission.model_validate({"input": asked, **(body or {})})
        return submit(self._installation, self._caller, submission, asked, BASE)

    def video(self, body: dict[str, Any] | None = None, **given: Any) -> PredictionId:
        asked = {"prompt": "person", **given}
        submission = VideoSubmission.model_validate({"input": asked, **(body or {})})
        return submit(self._installation, self._caller, submission, asked, BASE)

    def render(
        self, source: PredictionId, body: dict[str, Any] | None = None, **changed: Any
    ) -> PredictionId:
        video = self.read(source).kind is Kind.VIDEO
        model: type[AnyRender] = VideoRender if video else ImageRender
        asked = model.model_validate({"input": changed, **(body or {})})
        return render(self._installation, self._caller, source, asked, BASE)

    def read(self, prediction_id: PredictionId) -> Prediction:
        return read(self._installation, self._caller.organisation_id, prediction_id, BASE)

    def artifact(self, prediction_id: PredictionId, name: str) -> Path:
        """The stored file behind an artifact."""
        query = "SELECT store_key FROM files WHERE name = %s"
        with self._installation.database.connect() as connection:
            found = connection.exec_driver_sql(query, (f"{prediction_id}_{name}",)).scalar_one()
        return self._installation.store.path(found)


@pytest.fixture
def caller(installation: Installation, make_key: Callable[..., str]) -> Caller:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    return authenticate(installation.database, pepper, f"Bearer {make_key()}")


@pytest.fixture
def client(installation: Installation, caller: Caller) -> Client:
    return Client(installation, caller)


MakeClient = Callable[..., Client]


@pytest.fixture
def make_client(installation: Installation) -> MakeClient:
    """A client with a key of its own under given bounds."""
    pepper = installation.settings.http.key_pepper.get_secret_value()

    def make(**bounds: float | None) -> Client:
        made = keys.create(installation.database, pepper, "k", bounds=Bounds(**bounds))  # type: ignore[arg-type]  # its own fields
        caller = keys.authenticate(installation.database, pepper, f"Bearer {made.secret}")
        return Client(installation, caller)

    return make


@pytest.fixture
def make_bench(installation: Installation) -> Callable[..., Bench]:
    """A bench that serves every lane, or the given ones, with the given segmenter."""

    def make(
        segmenter: Segmenter | None = None,
        draining: bool = False,
        lanes: Sequence[Lane] = (*GPU_LANES, *CPU_LANES),
    ) -> Bench:
        loaded: Segmenter = segmenter or BrightSegmenter()
        return Bench(
            installation=installation,
            lanes=lanes,
            owner=owner_name(),
            segmenters={LITE: loaded},
            draining=lambda: draining,
        )

    return make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight frames a chunk, so that a short clip has several."""
    monkeypatch.setitem(registry.ENGINES, LITE, Engine("unused", chunk_frames=8, batch_frames=2))
