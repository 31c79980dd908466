"""The service as a user runs it: real model, real workers, killed, canceled and crowded."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import numpy as np
import psycopg
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from visionseg.artifacts.weights import locate, names_of, wrong_files
from visionseg.commands.background import Background, running
from visionseg.config import Models
from workers.masks import Rle, decode
from workers.media.clips import SCRIPTS, compose, write_clip

CACHE = Models().cache
FRAMES = 220
SIZE = (180, 320)
FINAL = {"succeeded", "failed", "canceled"}

pytestmark = [
    pytest.mark.skipif(
        bool(wrong_files(CACHE, names_of("model") + names_of("still"))),
        reason="run `visionseg weights fetch` first",
    ),
    pytest.mark.xdist_group("whole service"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    with running(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[list[Rle]]]:
    """A clip of several chunks as a data URI, and its truth."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    stills = {
        name: np.asarray(Image.open(locate(CACHE, name)).convert("RGB"))
        for name in ("astronaut.png", "rocket.jpg")
    }
    truth = write_clip(path, compose(stills, SCRIPTS["astronaut"], FRAMES, SIZE))
    return _uri(path, "video/mp4"), truth


def _uri(path: Path, content_type: str) -> str:
    return f"data:{content_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _client(service: Background) -> httpx2.Client:
    """A client patient enough for a hold."""
    return httpx2.Client(
        base_url=service.address, headers=service.headers, timeout=300, trust_env=False
    )


def _owner_of_the_chunk(service: Background) -> str:
    told = json.loads((service.home / "services.json").read_text(encoding="utf-8"))
    url = told["VISIONSEG_DATABASE_URL"].replace("postgresql+psycopg", "postgresql")
    query = "SELECT owner FROM units WHERE kind = 'chunk' AND state = 'leased'"
    with psycopg.connect(url) as connection:
        ((owner,),) = connection.execute(query).fetchall()
    return str(owner)


def _post(
    service: Background,
    route: str,
    given: Mapping[str, Any],
    more: Mapping[str, Any] = MappingProxyType({}),
    **headers: str,
) -> dict[str, Any]:
    body = {"provider": "wujie", "model": "facebook/sam3", "input": given, **more}
    with _client(service) as client:
        reply = client.post(f"/v1/vision-segment/{route}", json=body, headers=headers)
    assert reply.status_code in {200, 202}, reply.text
    record: dict[str, Any] = reply.json()
    return record


def _submit(service: Background, route: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return _post(service, route, given, Prefer="respond-async")


def _get(service: Background, record: Mapping[str, Any]) -> dict[str, Any]:
    with _client(service) as client:
        found: dict[str, Any] = client.get(record["urls"]["get"]).json()
    return found


def _finished(service: Background, record: Mapping[str, Any]) -> dict[str, Any]:
    while (now := _get(service, record))["status"] not in FINAL:
        time.sleep(0.2)
    return now


def _until_frames(service: Background, record: Mapping[str, Any], frames: int) -> None:
    while (now := _get(service, record))["progress"]["frames_done"] < frames:
        assert now["status"] not in FINAL, now
        time.sleep(0.1)


def _coco(service: Background, record: Mapping[str, Any]) -> dict[str, Any]:
    with _client(service) as client:
        url = next(one["url"] for one in record["artifacts"] if one["name"] == "video.coco.json")
        found: dict[str, Any] = client.get(url).json()
    return found


def _fit(coco: Mapping[str, Any], truth: list[list[Rle]]) -> float:
    found: dict[int, np.ndarray[Any, Any]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools' own, under numpy 2
        for one in coco["annotations"]:
            found[one["image_id"]] = coco_mask.decode(one["segmentation"]) > 0
    fits = []
    for number, (rle,) in enumerate(truth, 1):
        true = decode(rle)
        mask = found.get(number, np.zeros_like(true))
        fits.append((mask & true).sum() / (mask | true).sum())
    return float(np.mean(fits))


def _ask(clip: tuple[str, list[list[Rle]]], **more: Any) -> dict[str, Any]:
    return {"video": clip[0], "prompt": "person", "output_format": "coco_rle", **more}


def test_a_worker_killed_in_the_middle_changes_nothing_in_the_result(
    service: Background, clip: tuple[str, list[list[Rle]]]
) -> None:
    undisturbed = _finished(service, _submit(service, "video", _ask(clip)))
    assert undisturbed["status"] == "succeeded", undisturbed
    made = _submit(service, "video", _ask(clip))
    _until_frames(service, made, 110)
    for pid in _owner_of_the_chunk(service).split("/")[1:]:
        os.kill(int(pid), signal.SIGKILL)
    after = _finished(service, made)
    assert after["status"] == "succeeded", after
    assert "worker lost" in after["logs"]
    coco = _coco(service, undisturbed)
    assert _coco(service, after)["annotations"] == coco["annotations"]
    assert {one["track_id"] for one in coco["annotations"]} == {1}
    assert _fit(coco, clip[1]) >= 0.7


def test_a_cancel_is_final_at_once_and_the_worker_takes_the_next_job(
    service: Background, clip: tuple[str, list[list[Rle]]]
) -> None:
    made = _submit(service, "video", _ask(clip))
    _until_frames(service, made, 20)
    with _client(service) as client:
        canceled = client.post(made["urls"]["cancel"]).json()
    assert canceled["status"] == "canceled"
    photo = _uri(locate(CACHE, "astronaut.png"), "image/png")
    next_one = _post(service, "predictions", {"image": photo, "prompt": "person"})
    assert next_one["status"] == "succeeded"
    released = _get(service, made)
    assert (released["status"], released["output"]) == ("canceled", None)
    assert released["released_at"] is not None
    assert released["progress"]["frames_done"] < FRAMES


def test_ten_clients_at_once_are_all_served_and_pictures_are_not_behind_videos(
    service: Background, clip: tuple[str, list[list[Rle]]]
) -> None:
    photo = _uri(locate(CACHE, "astronaut.png"), "image/png")
    image = ("predictions", {"image": photo, "prompt": "person"})
    video = ("video", _ask(clip, max_frames=40))
    asked = [video] * 4 + [image] * 6
    with ThreadPoolExecutor(10) as pool:
        records = list(pool.map(lambda one: _post(service, *one), asked))
    assert [record["status"] for record in records] == ["succeeded"] * 10
    assert len({record["id"] for record in records}) == 10
    ends = [(record["completed_at"], record["kind"]) for record in records]
    assert [kind for _, kind in sorted(ends)].index("image") < 6
    last_image = max(end for end, kind in ends if kind == "image")
    last_video = max(end for end, kind in ends if kind == "video")
    assert last_image < last_video


def test_the_hosted_pages_own_prompt_is_accepted(
    service: Background, clip: tuple[str, list[list[Rle]]]
) -> None:
    record = _post(service, "video", _ask(clip, prompt="the running dog", max_frames=5))
    assert record["status"] == "succeeded"
    assert any("running" in warning for warning in record["warnings"])
    assert any("not SAM3" in warning for warning in record["warnings"])


def test_an_unknown_word_is_refused_with_the_closest_known_one(service: Background) -> None:
    photo = _uri(locate(CACHE, "astronaut.png"), "image/png")
    with _client(service) as client:
        body = {"input": {"image": photo, "prompt": "girafe"}}
        reply = client.post("/v1/vision-segment/predictions", json=body)
    assert reply.status_code == 422
    problem = reply.json()
    assert problem["code"] == "unsupported_prompt"
    assert "giraffe" in problem["detail"]


def test_marks_find_what_they_are_on(service: Background) -> None:
    cup = _uri(locate(CACHE, "coffee.png"), "image/png")
    click = {"point_prompts": [{"x": 330, "y": 200}], "include_boxes": True}
    record = _post(service, "predictions", {"image": cup, "return_zip": False, **click})
    ((x_min, y_min, x_max, y_max),) = record["boxes"]
    assert x_min < 330 < x_max
    assert y_min < 200 < y_max
    assert (x_max - x_min) * (y_max - y_min) < 600 * 400 / 2


def test_a_dry_run_tells_the_work_and_keeps_nothing(
    service: Background, clip: tuple[str, list[list[Rle]]]
) -> None:
    record = _post(service, "video", _ask(clip), {"dry_run": True})
    assert (record["status"], record["output"], record["artifacts"]) == ("succeeded", None, [])
    plan = record["plan"]
    assert (plan["frames"], plan["chunks"], plan["refusal"]) == (FRAMES, 3, None)
    assert plan["estimated_s"] > 0
    with _client(service) as client:
        assert client.get(record["input"]["video"]).status_code == 410


def test_outputs_are_for_their_owner_only(service: Background) -> None:
    photo = _uri(locate(CACHE, "astronaut.png"), "image/png")
    record = _post(service, "predictions", {"image": photo, "prompt": "person"})
    url = record["artifacts"][0]["url"]
    assert httpx2.get(url, trust_env=False).status_code == 401
    with _client(service) as client:
        assert client.get(url).content[:4] == b"\x89PNG"
