"""The whole service once: started, asked over HTTP as a client would, looked at, stopped."""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import requests
from PIL import Image

from visionseg.artifacts.weights import locate
from visionseg.commands.background import Background, running
from visionseg.config import Models
from workers.masks import Rle, iou
from workers.media.clips import SCRIPTS, compose, write_clip

OUTPUT = Path("demo-output")
FRAMES = 110
Json = dict[str, Any]


@dataclass(frozen=True)
class Client:
    """Asks a running service."""

    service: Background

    def post(self, route: str, given: Json) -> Json:
        """Posts as the hosted documentation does; the reply is the final record."""
        body = {"provider": "wujie", "model": "facebook/sam3", "input": given}
        with _progress(self.service):
            reply = requests.post(
                f"{self.service.address}/v1/vision-segment/{route}",
                json=body,
                headers=self.service.headers,
                timeout=300,
            )
        record: Json = reply.json()
        if record.get("status") != "succeeded":
            raise SystemExit(f"not succeeded: {json.dumps(record, indent=2)[:2000]}")
        return record

    def download(self, url: str) -> bytes:
        """The bytes behind an output: a data URI or a URL of the service."""
        if url.startswith("data:"):
            return base64.b64decode(url.partition(",")[2])
        reply = requests.get(url, headers=self.service.headers, timeout=60)
        reply.raise_for_status()
        return reply.content


@contextmanager
def _progress(service: Background) -> Iterator[None]:
    """Shows how far the running prediction is, while the caller waits for it."""
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(service, done))
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(service: Background, done: threading.Event) -> None:
    listed = f"{service.address}/v1/vision-segment/predictions?limit=1"
    shown = ""
    while not done.wait(0.5):
        try:
            reply = requests.get(listed, headers=service.headers, timeout=5)
            progress = reply.json()["results"][0]["progress"]
        except (requests.RequestException, KeyError, IndexError):
            continue
        if sys.stdout.isatty():
            total = progress["frames_total"] or "?"
            told = f"  … {progress['stage']:<11} {progress['frames_done']}/{total} frames"
            click.echo(f"\r{told:<60}", nl=False)
        elif progress["stage"] != shown:
            shown = progress["stage"]
            click.echo(f"  … {shown}")
    if sys.stdout.isatty():
        click.echo(f"\r{'':<60}\r", nl=False)


def _data_uri(path: Path) -> str:
    kind = "video/mp4" if path.suffix == ".mp4" else "image/png"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _save(name: str, data: bytes) -> None:
    (OUTPUT / name).write_bytes(data)


def _keep(name: str, record: Json) -> None:
    """The record as it came, but for long data URIs, which are in the files beside it."""
    short = dict(record)
    if len(short["output"]) > 1000:
        short["output"] = f"{short['output'][:60]}… ({len(record['output'])} characters)"
    text = json.dumps(short, indent=2, ensure_ascii=False)
    (OUTPUT / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def _found(record: Json) -> str:
    pairs = zip(record["scores"], record["boxes"], strict=True)
    return "; ".join(f"score {score:.2f}, box {box}" for score, box in pairs) or "nothing"


def ask_for_words(client: Client, photo: Path) -> None:
    """A photograph and the word `person`."""
    given = {"image": _data_uri(photo), "prompt": "person", "save_overlay": True}
    record = client.post("predictions", {**given, "include_scores": True, "include_boxes": True})
    _keep("overlay", record)
    _save("masks.zip", client.download(record["output"]))
    painted = next(file for file in record["artifacts"] if file["name"] == "overlay.png")
    _save("overlay.png", client.download(painted["url"]))
    click.echo(f"overlay.png, masks.zip   the person in {photo.name}: {_found(record)}")


def ask_with_a_mark(client: Client, name: str, photo: Path, mark: Json) -> None:
    """A photograph and a click or a box; the answer is one painted picture."""
    given = {"image": _data_uri(photo), "return_zip": False, **mark}
    record = client.post("predictions", {**given, "include_scores": True, "include_boxes": True})
    _keep(name, record)
    _save(f"{name}.png", client.download(record["output"]))
    click.echo(f"{name + '.png':<24} what the {name} is on in {photo.name}: {_found(record)}")


def ask_for_video(client: Client, clip: Path, output_format: str, name: str) -> None:
    """A clip in one format."""
    given = {"video": _data_uri(clip), "prompt": "person", "output_format": output_format}
    record = client.post("video", given)
    _keep(f"video-{output_format}", record)
    _save(name, client.download(record["output"]))
    frames, seconds = record["metrics"]["frames"], record["metrics"]["predict_time"]
    click.echo(
        f"{name:<24} {frames} frames in {seconds:.1f} s, {record['metrics']['objects']} followed"
    )


def compare(truth: list[list[Rle]]) -> None:
    """How well the clip's masks fit what is known of it."""
    coco = json.loads((OUTPUT / "video.coco.json").read_text(encoding="utf-8"))
    found: dict[int, Rle] = {}
    for one in coco["annotations"]:
        height, width = one["segmentation"]["size"]
        counts = one["segmentation"]["counts"]
        found[one["image_id"]] = Rle(height, width, counts, one["area"], tuple(one["bbox"]))
    fits = [iou(found[n], rles[0]) if n in found else 0.0 for n, rles in enumerate(truth, 1)]
    click.echo(
        f"{'':<24} the masks fit the clip's known truth by IoU {np.mean(fits):.2f} on the mean"
    )


def main() -> None:
    """Leaves pictures, files and records in demo-output/ and says what they show."""
    started = time.monotonic()
    OUTPUT.mkdir(exist_ok=True)
    cache = Models().cache
    stills = {
        path.name: np.asarray(Image.open(path).convert("RGB"))
        for path in (locate(cache, name) for name in ("astronaut.png", "rocket.jpg"))
    }
    clip = OUTPUT / "clip.mp4"
    truth = write_clip(clip, compose(stills, SCRIPTS["astronaut"], FRAMES))
    click.echo("starting PostgreSQL, Redis, the API and the workers …")
    with tempfile.TemporaryDirectory(prefix="visionseg-demo-") as home, running(Path(home)) as up:
        client = Client(up)
        ask_for_words(client, locate(cache, "astronaut.png"))
        click_on = {"point_prompts": [{"x": 330, "y": 200, "positive": True}]}
        ask_with_a_mark(client, "click", locate(cache, "coffee.png"), click_on)
        box = {"x_min": 20, "y_min": 0, "x_max": 400, "y_max": 300}
        ask_with_a_mark(client, "box", locate(cache, "chelsea.png"), {"box_prompts": [box]})
        ask_for_video(client, clip, "mp4", "video.mp4")
        ask_for_video(client, clip, "coco_rle", "video.coco.json")
    compare(truth)
    click.echo(f"all in {OUTPUT}/ after {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
