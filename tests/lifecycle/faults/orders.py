"""What the clients of a storm ask for, and what comes of it."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.fakes.loading import Noun
from tests.fakes.tls_sites import TlsSite, send
from tests.lifecycle.conftest import picture, png_uri
from tests.lifecycle.faults.clients import Clients, Order, Reply
from tests.lifecycle.faults.conftest import Plant
from tests.serving import PREDICTIONS, VIDEO
from visionseg.artifacts.weights import locate
from visionseg.config import Models
from workers.media.clips import SCRIPTS, compose, write_clip

EVENTS = ("start", "output", "completed")
HOLD_ONE_IN = 4
TELL_ONE_IN = 2
CHOSEN = {"picture": 8, "fetched picture": 3, "slow picture": 2, "masks": 2, "slow film": 3}
"""The kinds for the quick segmenter, and how often."""
FOUND = {"found cat": 4, "followed cat": 1}
"""Those for the embedded model."""
STILLS = ("astronaut.png", "chelsea.png", "rocket.jpg")
FILM_FRAMES = 12
FILM_SIZE = (180, 320)
ATTEMPT = re.compile(r"(\d{6})-\d{3}-")

Kinds = Mapping[str, tuple[str, dict[str, Any]]]
"""Routes and inputs by name."""

Files = list[tuple[str, str, str]]
"""Roles, names without attempts, and sums."""


@dataclass(frozen=True)
class Result:
    """What a client gets: its output and artifacts by sum, numbers, and the files behind them."""

    artifacts: Mapping[str, str]
    output: str
    scores: Any
    boxes: Any
    files: Files


def kinds_of_orders(clip_uri: str, url_of_picture: str) -> Kinds:
    """What the quick segmenter is asked for."""
    here = png_uri(picture())
    clip = {"video": clip_uri}
    scored = {"include_scores": True, "include_boxes": True}
    return {
        "picture": (PREDICTIONS, {"image": here, "save_overlay": True, **scored}),
        "fetched picture": (PREDICTIONS, {"image": url_of_picture, "return_zip": False}),
        "slow picture": (PREDICTIONS, {"image": here, "prompt": Noun.SLOW, **scored}),
        "masks": (VIDEO, {**clip, "prompt": Noun.ORDINARY, "output_format": "masks"}),
        "slow film": (VIDEO, {**clip, "prompt": Noun.SLOW, "output_format": "mp4"}),
    }


def kinds_of_real_orders(clients: Clients, folder: Path) -> Kinds:
    """What the embedded model is asked for; the film is an upload."""
    cache = Models().cache
    stills = {name: Image.open(locate(cache, name)).convert("RGB") for name in STILLS}
    cat = png_uri(np.asarray(stills["chelsea.png"].resize((225, 150))))
    film = folder / "film.mp4"
    pixels = {name: np.asarray(still) for name, still in stills.items()}
    write_clip(film, compose(pixels, SCRIPTS["astronaut and cat"], FILM_FRAMES, FILM_SIZE))
    uploaded = clients.upload(film.read_bytes(), "video/mp4")
    video = {"video": uploaded, "prompt": Noun.REAL, "output_format": "coco_rle"}
    return {
        "found cat": (PREDICTIONS, {"image": cat, "prompt": Noun.REAL, "include_scores": True}),
        "followed cat": (VIDEO, video),
    }


def serve_picture(site: TlsSite) -> str:
    """The address of a picture on a site of the test."""
    data = base64.b64decode(png_uri(picture(24)).partition(",")[2])
    site.routes["/picture.png"] = lambda handler: send(handler, data)
    return f"https://localhost:{site.port}/picture.png"


def drawn(
    kinds: Kinds,
    weights: Mapping[str, int],
    count: int,
    luck: random.Random,
    webhook: str,
) -> list[Order]:
    """So many orders of some kinds; some hold, some have a webhook."""
    names = luck.choices(list(weights), list(weights.values()), k=count)
    return [_order(name, *kinds[name], luck, webhook) for name in names]


def _order(
    name: str, route: str, given: dict[str, Any], luck: random.Random, webhook: str
) -> Order:
    body: dict[str, Any] = {"input": given}
    if not luck.randrange(TELL_ONE_IN):
        body |= {"webhook": webhook, "webhook_events_filter": EVENTS}
    return Order(name, route, body, holds=not luck.randrange(HOLD_ONE_IN))


def result_of(plant: Plant, clients: Clients, record: Reply) -> Result:
    """What a final prediction gave, fetched as a client fetches it; it must have succeeded."""
    assert record["status"] == "succeeded", (record["error"], record["logs"])
    one = record["id"]
    told = {artifact["name"]: artifact["sha256"] for artifact in record["artifacts"]}
    artifacts = {
        artifact["name"]: _sum(clients.download(artifact["url"]))
        for artifact in record["artifacts"]
    }
    assert artifacts == told
    output = record["output"]
    inline = output.startswith("data:")
    rows = plant.rows("SELECT role, name, sha256 FROM files WHERE prediction_id = :id", id=one)
    files = sorted(
        (row.role, ATTEMPT.sub(r"\1-", row.name.removeprefix(one)), row.sha256) for row in rows
    )
    return Result(
        artifacts=artifacts,
        output=output if inline else output.rpartition("/")[2].removeprefix(one),
        scores=record.get("scores"),
        boxes=record.get("boxes"),
        files=files,
    )


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
