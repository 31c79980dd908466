"""Pictures now and then beside a long video on one worker: what each costs the other.

Run with `python -m bench.beside [SECONDS]` after `visionseg weights fetch`: a picture every so many
seconds. The model takes as long as SAM3 on a data centre's GPU: see `bench.fixed_cost`.
"""

from __future__ import annotations

import base64
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from bench.cancel import clip_uri
from bench.fixed_cost import BATCH_FRAMES
from bench.queueing import our_environment, plant, program, worker
from visionseg.access import keys
from visionseg.artifacts.weights import locate
from visionseg.commands.background import free_port
from visionseg.config import Models
from visionseg.contract.models import LITE
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, Lane

EVERY_S = 1.0
PICTURES_ALONE = 20
FRAMES = 1000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A running API, and a key for it."""

    address: str
    key: str

    def client(self) -> httpx2.Client:
        """A client patient enough for a hold."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx2.Client(base_url=self.address, headers=headers, timeout=600, trust_env=False)


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """An API, a worker for the media, and one with the model of fixed cost."""
    with ExitStack() as stack:
        installation = stack.enter_context(plant(folder))
        port = free_port()
        environment = {**our_environment(installation), "VISIONSEG_PORT": str(port)}
        stack.enter_context(program((sys.executable, "-m", "api"), environment))
        stack.enter_context(worker(installation, [*CPU_LANES, Lane.DELIVERY]))
        stack.enter_context(worker(installation, GPU_LANES, "bench.fixed_cost"))
        made = keys.create(installation.database, "", "bench")
        service = Service(f"http://127.0.0.1:{port}", made.secret)
        with service.client() as client:
            while not is_ready(client):
                time.sleep(0.2)
        yield service


def is_ready(client: httpx2.Client) -> bool:
    """Whether the API answers and both workers have told that they live."""
    try:
        reply = client.get("/readyz")
    except httpx2.TransportError:
        return False
    return reply.is_success and not reply.json()["degraded"]


def segment(service: Service, kind: str, given: Json) -> tuple[float, float]:
    """Seconds from the request to the final record, and those that it was worked on."""
    began = time.monotonic()
    with service.client() as client:
        reply = client.post(f"/v1/vision-segment/{kind}", json={"model": LITE, "input": given})
    record: Json = reply.json()
    if record["status"] != "succeeded":
        raise SystemExit(str(record)[:500])
    return time.monotonic() - began, float(record["metrics"]["predict_time"])


@dataclass(frozen=True, slots=True)
class Pictures:
    """How long clients waited for pictures, in seconds, and how long they were worked on."""

    waits_s: list[float]
    worked_s: float

    @property
    def p95_s(self) -> float:
        """What 19 of 20 did not exceed."""
        return sorted(self.waits_s)[math.ceil(0.95 * len(self.waits_s)) - 1]


def pictures(
    service: Service, given: Json, every_s: float, enough: Callable[[int], bool]
) -> Pictures:
    """A picture every few seconds until there are enough, each waited for by its own client."""
    asked: list[Future[tuple[float, float]]] = []
    with ThreadPoolExecutor(64) as pool:
        while not enough(len(asked)):
            asked.append(pool.submit(segment, service, "predictions", given))
            time.sleep(every_s)
        found = [one.result() for one in asked]
    return Pictures([wait for wait, _ in found], sum(worked for _, worked in found))


def main(every_s: float) -> None:
    """Prints what the one costs the other."""
    photo = locate(Models().cache, "astronaut.png")
    data = base64.b64encode(photo.read_bytes()).decode()
    picture = {"image": f"data:image/png;base64,{data}", "prompt": "person"}
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as service:
        clip = {"video": clip_uri(Path(folder), frames=FRAMES), "prompt": "person"}
        clip["output_format"] = "coco_rle"
        segment(service, "predictions", picture)
        alone = pictures(service, picture, every_s, lambda count: count >= PICTURES_ALONE)
        _, video_alone_s = segment(service, "video", clip)
        with ThreadPoolExecutor(1) as pool:
            video = pool.submit(segment, service, "video", clip)
            beside = pictures(service, picture, every_s, lambda _: video.done())
            _, video_beside_s = video.result()
    batch_s = video_alone_s / FRAMES * BATCH_FRAMES
    bound_s = 2 * batch_s + alone.p95_s
    more_s = video_beside_s - video_alone_s - beside.worked_s
    sys.stdout.write(
        f"a picture every {every_s} s, alone: median {median(alone.waits_s):.2f} s, "
        f"p95 {alone.p95_s:.2f} s\n"
        f"beside the video: {len(beside.waits_s)}, median {median(beside.waits_s):.2f} s, "
        f"p95 {beside.p95_s:.2f} s; two batches of frames and its own time are {bound_s:.2f} s\n"
        f"a video of {FRAMES} frames: alone {video_alone_s:.1f} s, beside the pictures "
        f"{video_beside_s:.1f} s; they took {beside.worked_s:.1f} s, and it was slower by "
        f"{100 * more_s / video_alone_s:.0f} % beyond that\n"
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else EVERY_S)
