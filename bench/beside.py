"""Pictures now and then beside a long video on one worker: what each costs the other.

Run with `python -m bench.beside` after `visionseg weights fetch`. The model is `embedded/lite`.
"""

from __future__ import annotations

import base64
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx2

from bench.cancel import clip_uri
from visionseg.artifacts.weights import locate
from visionseg.commands.background import Background, running
from visionseg.config import Models

PICTURES = 8
EVERY_S = 5.0
FRAMES = 500
Json = dict[str, Any]


def client_of(service: Background) -> httpx2.Client:
    """A client patient enough for a hold."""
    return httpx2.Client(
        base_url=service.address, headers=service.headers, timeout=600, trust_env=False
    )


def ask_for_picture(service: Background, uri: str) -> float:
    """Seconds from the request to the final record."""
    began = time.monotonic()
    with client_of(service) as client:
        body = {"input": {"image": uri, "prompt": "person"}}
        record: Json = client.post("/v1/vision-segment/predictions", json=body).json()
    if record["status"] != "succeeded":
        raise SystemExit(str(record)[:500])
    return time.monotonic() - began


def ask_for_video(service: Background, uri: str) -> float:
    """Seconds that the video was worked on."""
    with client_of(service) as client:
        given = {"video": uri, "prompt": "person", "output_format": "coco_rle"}
        record: Json = client.post("/v1/vision-segment/video", json={"input": given}).json()
    if record["status"] != "succeeded":
        raise SystemExit(str(record)[:500])
    return float(record["metrics"]["predict_time"])


def pictures(service: Background, uri: str, count: int) -> list[float]:
    """A picture every few seconds, each waited for by a client of its own."""
    with ThreadPoolExecutor(count) as pool:
        waits = []
        for _ in range(count):
            waits.append(pool.submit(ask_for_picture, service, uri))
            time.sleep(EVERY_S)
        return sorted(wait.result() for wait in waits)


def told(name: str, seconds: list[float]) -> str:
    """Median and most."""
    return f"{name:<32} median {median(seconds):.2f} s, most {seconds[-1]:.2f} s\n"


def main() -> None:
    """Prints pictures alone, the video alone, and both together."""
    photo = locate(Models().cache, "astronaut.png")
    picture = f"data:image/png;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as service:
        clip = clip_uri(Path(folder), frames=FRAMES)
        ask_for_picture(service, picture)
        alone = pictures(service, picture, PICTURES)
        video_alone = ask_for_video(service, clip)
        with ThreadPoolExecutor(1) as pool:
            video = pool.submit(ask_for_video, service, clip)
            beside = pictures(service, picture, PICTURES)
            video_beside = video.result()
    sys.stdout.write(told("pictures alone", alone))
    sys.stdout.write(told("pictures beside the video", beside))
    sys.stdout.write(
        f"{f'video of {FRAMES} frames':<32} alone {video_alone:.1f} s, beside {PICTURES} pictures "
        f"{video_beside:.1f} s\n"
    )


if __name__ == "__main__":
    main()
