"""The large models through the API, the queue and real workers, on tiny weights."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import httpx2
import pytest
from PIL import Image

from tests.fakes.tiny_lite_text import save_tiny_lite_text
from tests.fakes.tiny_sam2 import save_tiny_sam2
from tests.fakes.tiny_sam3 import film
from visionseg.artifacts.weights import names_of, wrong_files
from visionseg.commands.background import Background, running
from visionseg.config import Models

FINAL = {"succeeded", "failed", "canceled"}
FRAMES = 20
SAM3 = "facebook/sam3"
SAM2 = "facebook/sam2.1-hiera-large"
LITE_TEXT = "vil-uob/sam3-litetext-s0"

pytestmark = [
    pytest.mark.skipif(
        bool(wrong_files(Models().cache, names_of("model"))),
        reason="run `visionseg weights fetch` first",
    ),
    pytest.mark.xdist_group("whole service"),
]


@pytest.fixture(scope="module")
def service(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Background]:
    sam2 = save_tiny_sam2(tmp_path_factory.mktemp("sam2"))
    lite_text = save_tiny_lite_text(tmp_path_factory.mktemp("lite_text"))
    settings = {
        "SAM3_WEIGHTS": str(tiny_folder),
        "MODEL_WEIGHTS": f"{SAM2}={sam2},{LITE_TEXT}={lite_text}",
        "SAM3_BATCH": "4",
        "OMP_NUM_THREADS": "1",
        "EMBEDDED_FALLBACK": "0",
    }
    with running(tmp_path_factory.mktemp("home"), settings) as started:
        yield started


@pytest.fixture(scope="module")
def client(service: Background) -> Iterator[httpx2.Client]:
    with httpx2.Client(
        base_url=service.address, headers=service.headers, timeout=300, trust_env=False
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def picture() -> str:
    file = io.BytesIO()
    Image.fromarray(film(1)[0]).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 54, "yuv420p"
        for frame in film(FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return f"data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _finished(
    client: httpx2.Client, route: str, given: dict[str, Any], model: str = SAM3
) -> dict[str, Any]:
    reply = client.post(
        f"/v1/vision-segment/{route}",
        json={"input": given, "model": model},
        headers={"Prefer": "respond-async"},
    )
    assert reply.status_code == 202, reply.text
    record: dict[str, Any] = reply.json()
    while record["status"] not in FINAL:
        time.sleep(0.2)
        record = client.get(record["urls"]["get"]).json()
    assert record["status"] == "succeeded", record
    assert record["version"].startswith(f"{model} ")
    return record


def _ids_followed(client: httpx2.Client, record: dict[str, Any]) -> set[int]:
    """The ids in the index of a video's frames, of which none may lack."""
    (url,) = [one["url"] for one in record["artifacts"] if one["name"] == "index.json"]
    frames = json.loads(client.get(url).content)["frames"]
    assert [frame["source_frame"] for frame in frames] == list(range(FRAMES))
    return {one["id"] for frame in frames for one in frame["objects"]}


def test_any_words_are_answered_by_sam3(client: httpx2.Client, picture: str) -> None:
    listed = client.get("/v1/vision-segment/models").json()["models"]
    here = {model["name"] for model in listed if model["available"]}
    assert here == {SAM3, SAM2, LITE_TEXT, "embedded/lite"}
    asked = {"image": picture, "prompt": "a gizmo, red ball", "threshold": 0.1}
    record = _finished(client, "predictions", {**asked, "include_scores": True})
    assert record["warnings"] == []
    assert set(record["metrics"]["labels"]) == {"a gizmo", "red ball"}
    assert record["scores"] == sorted(record["scores"], reverse=True)


def test_words_too_long_are_told(client: httpx2.Client, picture: str) -> None:
    asked = {"image": picture, "prompt": "a red ball on a chair " * 12, "threshold": 0.1}
    (warning,) = _finished(client, "predictions", asked)["warnings"]
    assert "first 32 tokens" in warning


POINT, NEGATIVE = {"x": 30, "y": 20}, {"x": 60, "y": 40, "positive": False}
BOX = {"x_min": 5, "y_min": 5, "x_max": 40, "y_max": 40}
WORDS = {"prompt": "person", "threshold": 0.1}


@pytest.mark.parametrize(
    "marks",
    [
        {"point_prompts": [POINT]},
        {"point_prompts": [POINT, NEGATIVE]},
        {"box_prompts": [BOX]},
        {"box_prompts": [BOX], "point_prompts": [POINT]},
        {**WORDS, "box_prompts": [BOX]},
        {**WORDS, "point_prompts": [POINT]},
        {**WORDS, "box_prompts": [BOX], "point_prompts": [POINT]},
    ],
    ids=[
        "a point",
        "a point and one that is not of it",
        "a box",
        "a box and a point",
        "words and a box",
        "words and a point",
        "all together",
    ],
)
def test_marks_on_pictures_are_answered(
    client: httpx2.Client, picture: str, marks: dict[str, Any]
) -> None:
    record = _finished(client, "predictions", {"image": picture, **marks, "include_boxes": True})
    assert record["boxes"]


@pytest.mark.parametrize("output_format", ["mp4", "frames", "masks", "coco_rle"])
def test_videos_come_in_every_format(client: httpx2.Client, clip: str, output_format: str) -> None:
    boxes = [{**BOX, "frame_index": 0, "object_id": 3}]
    points = [{**POINT, "frame_index": 4, "object_id": 9}]
    points += [{**NEGATIVE, "frame_index": 6, "object_id": 9}]
    record = _finished(
        client,
        "video",
        {
            "video": clip,
            "prompt": "person",
            "threshold": 0.1,
            "box_prompts": boxes,
            "point_prompts": points,
            "output_format": output_format,
        },
    )
    assert record["metrics"]["frames"] == FRAMES
    names = {one["name"]: one["url"] for one in record["artifacts"]}
    index = json.loads(client.get(names["index.json"]).content)
    assert [frame["source_frame"] for frame in index["frames"]] == list(range(FRAMES))
    ids = [{one["id"] for one in frame["objects"]} for frame in index["frames"]]
    assert 3 in ids[0]
    assert next(number for number, found in enumerate(ids) if 9 in found) == 4
    if output_format == "masks":
        archive = client.get(next(url for name, url in names.items() if name.endswith(".zip")))
        assert len(zipfile.ZipFile(io.BytesIO(archive.content)).namelist()) > FRAMES


def test_words_alone_are_followed_with_their_labels(client: httpx2.Client, clip: str) -> None:
    asked = {"video": clip, "prompt": "person, red ball", "threshold": 0.1, "re_detect_every": 3}
    record = _finished(client, "video", {**asked, "output_format": "coco_rle"})
    names = {one["name"]: one["url"] for one in record["artifacts"]}
    coco = json.loads(client.get(names["video.coco.json"]).content)
    assert {one["name"] for one in coco["categories"]} == {"person", "red ball"}
    assert len(coco["images"]) == FRAMES
    assert coco["annotations"]


def test_a_model_that_takes_words_only_answers_words(client: httpx2.Client, picture: str) -> None:
    asked = {"image": picture, "prompt": "a gizmo, red ball", "threshold": 0.1}
    record = _finished(client, "predictions", asked, LITE_TEXT)
    assert set(record["metrics"]["labels"]) == {"a gizmo", "red ball"}


def test_a_model_that_takes_marks_answers_them_and_follows_them(
    client: httpx2.Client, picture: str, clip: str
) -> None:
    box = {"x_min": 5, "y_min": 5, "x_max": 40, "y_max": 40}
    asked = {"image": picture, "box_prompts": [box], "point_prompts": [{"x": 60, "y": 40}]}
    record = _finished(client, "predictions", {**asked, "include_boxes": True}, SAM2)
    assert len(record["boxes"]) == 2
    marks = {
        "box_prompts": [{**box, "object_id": 3}],
        "point_prompts": [{"x": 60, "y": 40, "frame_index": 4, "object_id": 8}],
    }
    record = _finished(client, "video", {"video": clip, **marks, "output_format": "masks"}, SAM2)
    assert _ids_followed(client, record) == {3, 8}


@pytest.mark.parametrize(
    ("route", "model", "told"),
    [("predictions", SAM2, "text"), ("video", SAM2, "text"), ("video", LITE_TEXT, "videos")],
)
def test_what_a_model_cannot_do_is_refused_at_once(
    client: httpx2.Client, picture: str, clip: str, route: str, model: str, told: str
) -> None:
    media = {"image": picture} if route == "predictions" else {"video": clip}
    body = {"model": model, "input": {**media, "prompt": "person"}}
    reply = client.post(f"/v1/vision-segment/{route}", json=body)
    assert reply.status_code == 422
    problem = reply.json()
    assert problem["code"] == "unsupported_by_model"
    assert f"{model} does not do this: {told}." in problem["detail"]
    assert problem["errors"]
