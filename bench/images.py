"""Pictures a second through the queue, one by one and eight together.

Run with `python -m bench.images`. It starts its own PostgreSQL and Redis, and works in this process
on two models: one that computes nothing and takes 100 ms a batch, whatever is in it, as a GPU whose
time goes to starting operations; and SAM3's engine on a tiny network of random weights, on this
CPU, where a batch saves little. No client waits, so what the API costs is not in it.
"""

from __future__ import annotations

import base64
import io
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import structlog
from PIL import Image
from sqlalchemy import text

from bench.queueing import Client, plant
from tests.fakes.segmenters import BrightSegmenter
from tests.fakes.tiny_sam3 import save_tiny
from visionseg.config import Gathering, Models
from visionseg.contract.models import LITE, SAM3
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import GPU_LANES
from workers.bench import Bench
from workers.hosts import owner_name
from workers.segmenters.base import ImagePrompts, Instance, Rgb, Segmenter, ShouldStop
from workers.segmenters.registry import ENGINES

PICTURES = 64
BATCH_S = 0.1
TOGETHER = 8


class Fixed(BrightSegmenter):
    """Takes as long for a batch as for one picture."""

    pictures_at_once = TOGETHER

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """What is bright, after the time of a batch."""
        time.sleep(BATCH_S)
        return super().segment(images, prompts, should_stop)


def pictures() -> Iterator[str]:
    """Different pictures of 640 x 480 as data URIs."""
    noise = np.random.default_rng(0).integers(0, 120, (480, 640, 3), dtype=np.uint8)
    for number in range(PICTURES):
        picture = noise.copy()
        picture[100:300, number : number + 200] = 220
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG")
        yield f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def measured(installation: Installation, segmenter: Segmenter, together: int) -> float:
    """Pictures a second of one worker that finds them all waiting."""
    gathering = Gathering(pictures_at_once=together)
    settings = installation.settings.model_copy(update={"gathering": gathering})
    bench = Bench(
        installation=replace(installation, settings=settings),
        lanes=GPU_LANES,
        owner=owner_name(),
        segmenters={LITE: segmenter},
        draining=lambda: False,
    )
    client = Client(installation)
    for picture in pictures():
        client.image(picture)
    began = time.monotonic()
    while _left(installation):
        bench.take_a_turn()
    return PICTURES / (time.monotonic() - began)


def _left(installation: Installation) -> int:
    query = text("SELECT count(*) FROM predictions WHERE completed_at IS NULL")
    with installation.database.connect() as connection:
        return int(connection.execute(query).scalar_one())


def main() -> None:
    """Prints pictures a second by model and batch."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder, plant(Path(folder)) as installation:
        weights = save_tiny(Path(folder) / "tiny")
        models = Models(sam3_weights=str(weights), sam3_batch=TOGETHER, sam3_pictures_kept=0)
        tiny = ENGINES[SAM3].load(models)
        measured(installation, BrightSegmenter(), 1)  # what is set up once
        for name, segmenter in ((f"{BATCH_S} s a batch", Fixed()), ("tiny SAM3", tiny)):
            for together in (1, TOGETHER):
                rate = measured(installation, segmenter, together)
                sys.stdout.write(f"{name}, {together} at once: {rate:.1f} pictures a second\n")


if __name__ == "__main__":
    main()
