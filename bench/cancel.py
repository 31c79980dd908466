"""How long a worker holds on after a cancel in the middle of a clip: completed to released.

Run with `python -m bench.cancel` after `visionseg weights fetch`.
"""

from __future__ import annotations

import base64
import math
import random
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from bench.processes import descendants, memory_mib
from visionseg.artifacts.weights import locate
from visionseg.commands.background import Background, running
from visionseg.config import Models
from workers.media.clips import SCRIPTS, compose, write_clip

ROUNDS = 200
WARM_UP = 10
LATEST_FRAME = 60
FRAMES = 200

Json = dict[str, Any]


def clip_uri(folder: Path, frames: int = FRAMES) -> str:
    """The demo's clip at 640x360 as a data URI."""
    stills = {
        name: np.asarray(Image.open(locate(Models().cache, name)).convert("RGB"))
        for name in ("astronaut.png", "rocket.jpg")
    }
    path = folder / "clip.mp4"
    write_clip(path, compose(stills, SCRIPTS["astronaut"], frames))
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def cancel_once(client: httpx2.Client, uri: str, frames: int) -> float:
    """Cancels after so many frames; seconds from `completed_at` to `released_at`."""
    given = {"video": uri, "prompt": "person", "output_format": "coco_rle"}
    headers = {"Prefer": "respond-async"}
    reply = client.post("/v1/vision-segment/video", json={"input": given}, headers=headers)
    record: Json = reply.json()
    while client.get(record["urls"]["get"]).json()["progress"]["frames_done"] < frames:
        time.sleep(0.05)
    client.post(record["urls"]["cancel"])
    while (now := client.get(record["urls"]["get"]).json())["released_at"] is None:
        time.sleep(0.05)
    completed, released = (
        datetime.fromisoformat(now[name]) for name in ("completed_at", "released_at")
    )
    return (released - completed).total_seconds()


def worker_mib(service: Background) -> float:
    """The memory of the process that holds the model: the largest of all."""
    return max(memory_mib(pid) for pid in descendants(service.process.pid))


def main() -> None:
    """Prints how long it took to let go, and the worker's memory before and after."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as service,
        httpx2.Client(
            base_url=service.address, headers=service.headers, timeout=60, trust_env=False
        ) as client,
    ):
        uri, chance = clip_uri(Path(folder)), random.Random(1)  # noqa: S311 - moments, no secrets

        def cancel_somewhere() -> float:
            return cancel_once(client, uri, chance.randint(0, LATEST_FRAME))

        for _ in range(WARM_UP):
            cancel_somewhere()
        before_mib = worker_mib(service)
        held = sorted(cancel_somewhere() for _ in range(ROUNDS))
        after_mib = worker_mib(service)
    p99 = held[math.ceil(0.99 * ROUNDS) - 1]
    sys.stdout.write(
        f"cancel to release over {ROUNDS} rounds: least {held[0]:.3f} s, "
        f"median {median(held):.3f} s, p99 {p99:.3f} s, most {held[-1]:.3f} s\n"
        f"memory of the worker: {before_mib:.0f} MiB before, {after_mib:.0f} MiB after\n"
    )


if __name__ == "__main__":
    main()
