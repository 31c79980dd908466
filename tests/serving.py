"""The API as clients meet it, and the work of a worker done by the real use cases."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from api.app import Server, create_app
from visionseg.artifacts.names import public_name, store_key
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import LITE
from visionseg.predictions import finish
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import CPU_LANES, GPU_LANES
from visionseg.records.files import NewFile, Role
from visionseg.records.units import Claim

PREDICTIONS = "/v1/vision-segment/predictions"
VIDEO = "/v1/vision-segment/video"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)
IMAGE_BODY: Mapping[str, Any] = {"input": {"image": PIXEL, "prompt": "person"}}
VIDEO_BODY: Mapping[str, Any] = {
    "input": {"video": "https://example.com/street.mp4", "prompt": "person"}
}
AT_ONCE = {"Prefer": "respond-async"}


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def take(installation: Installation) -> Claim:
    """Claims the next unit of work, as a worker would."""
    lanes = [*GPU_LANES, *CPU_LANES]
    found = claim(installation.database, lanes, [LITE], "host/1/2", 30)
    assert found is not None
    return found


def give(
    installation: Installation, held: Claim, data: bytes, name: str = "mask_000.png"
) -> PredictionId:
    """Ends a claimed unit and its prediction with one file of the result."""
    key = store_key(held.prediction_id, held.seq, held.attempt, name)
    stored = installation.store.put_bytes(key, data)
    file = NewFile(
        role=Role.ARTIFACT,
        name=public_name(held.prediction_id, name),
        store_key=stored.key,
        content_type="image/png",
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )
    success = Success(file.name, scores=[0.75], boxes=[[1, 2, 3, 4]], metrics={"frames": 1})
    outcome = Outcome(files=[file], frames_done=1, log_lines=["done"], success=success)
    assert finish.complete(installation, held, outcome)
    return held.prediction_id


def finish_next(installation: Installation, data: bytes = b"a mask") -> PredictionId:
    """Does the next unit of work whole."""
    return give(installation, take(installation), data)


def with_http(installation: Installation, **changes: object) -> Installation:
    """The same installation under other settings of how the API is reached."""
    http = installation.settings.http.model_copy(update=changes)
    settings = installation.settings.model_copy(update={"http": http})
    return dataclasses.replace(installation, settings=settings)


def with_limits(installation: Installation, **changes: object) -> Installation:
    """The same installation under other limits."""
    limits = installation.settings.limits.model_copy(update=changes)
    settings = installation.settings.model_copy(update={"limits": limits})
    return dataclasses.replace(installation, settings=settings)


class Running:
    """The real server on a loopback port, in a thread."""

    def __init__(self, installation: Installation) -> None:
        own = with_http(installation, port=0)
        self._server = Server(create_app(own), own.settings)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    @property
    def waited_for(self) -> int:
        """How many predictions somebody waits for."""
        return len(self._server._service.hub._watches)

    def stop(self) -> None:
        """Stops as SIGTERM does, and returns when all connections are closed."""
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@contextmanager
def running(installation: Installation) -> Iterator[Running]:
    server = Running(installation)
    try:
        yield server
    finally:
        server.stop()


def wait_until(condition: Callable[[], object]) -> None:
    """Looks again and again until the condition holds; a test's own timeout ends it otherwise."""
    while not condition():
        time.sleep(0.01)
