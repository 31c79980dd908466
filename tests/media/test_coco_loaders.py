"""The coco_rle file in the programs that people open it with."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import faster_coco_eval
import hotcoco
import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from workers.masks import Mask, Rle, decode, encode
from workers.media.coco import to_ytvis, write_coco
from workers.media.plan import FramePlan, Picture
from workers.media.shards import ShardFrame, ShardInstance

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Disc = Callable[[int, int, int], Rle]
Json = dict[str, Any]
HEIGHT, WIDTH, FRAMES = 60, 90, 5
PLAN = FramePlan(
    pts=np.arange(FRAMES, dtype=np.int64) * 512,
    source_index=np.arange(FRAMES, dtype=np.int64) * 3,
    origin=0,
    time_base=Fraction(1, 12800),
    rate=Fraction(25, 3),
    picture=Picture(WIDTH, HEIGHT, 0, Fraction(1), 1, 2, 2, tone_mapped=False),
    seekable=True,
    has_audio=False,
)


@pytest.fixture
def frames(disc: Disc) -> list[ShardFrame]:
    """A person on every frame, a dog from the second on, a pixel in the corner on the last."""
    corner = np.zeros((HEIGHT, WIDTH), np.bool_)
    corner[-1, -1] = True

    def found(index: int) -> list[ShardInstance]:
        masks = [("person", disc(HEIGHT, WIDTH, index)), ("狗", disc(HEIGHT, WIDTH, index + 4))]
        if index == FRAMES - 1:
            masks.append(("person", encode(corner)))
        return [
            ShardInstance(mask, (0.0, 0.0, 1.0, 1.0), 0.9 - 0.1 * number, label, number)
            for number, (label, mask) in enumerate(masks, 1)
            if index or number == 1
        ]

    return [
        ShardFrame(index, int(PLAN.source_index[index]), int(PLAN.pts[index]), found(index))
        for index in range(FRAMES)
    ]


@pytest.fixture
def file(frames: list[ShardFrame], tmp_path: Path) -> Path:
    path = tmp_path / "video.coco.json"
    write_coco(path, PLAN, ["person"], frames)
    return path


@pytest.fixture
def truth(frames: list[ShardFrame]) -> list[Mask]:
    return [decode(found.mask) for frame in frames for found in frame.instances]


def quietly(make: Callable[[], Any]) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        return make()


@pytest.mark.parametrize(
    "loader", [COCO, faster_coco_eval.COCO, hotcoco.COCO], ids=lambda one: one.__module__
)
def test_every_coco_loader_gives_the_masks_back(
    loader: Callable[[str], Any], file: Path, truth: list[Mask]
) -> None:
    loaded = quietly(lambda: loader(str(file)))
    annotations = loaded.loadAnns(sorted(loaded.getAnnIds()))
    masks = [np.asarray(loaded.annToMask(annotation)) == 1 for annotation in annotations]
    np.testing.assert_array_equal(masks, truth)
    assert len(loaded.getImgIds()) == FRAMES


@pytest.mark.parametrize(
    ("loader", "evaluate"),
    [
        (COCO, COCOeval),
        (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
        (hotcoco.COCO, hotcoco.COCOeval),
    ],
    ids=lambda one: one.__module__,
)
def test_every_evaluation_finds_the_result_equal_to_itself(
    loader: Callable[[str], Any], evaluate: Callable[..., Any], file: Path
) -> None:
    annotations = json.loads(file.read_text())["annotations"]

    def precision() -> float:
        wanted = loader(str(file))
        evaluation = evaluate(wanted, wanted.loadRes(annotations), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        return float(evaluation.stats[0])

    assert quietly(precision) == pytest.approx(1.0)


def test_supervision_loads_masks_and_classes(
    file: Path, frames: list[ShardFrame], tmp_path: Path
) -> None:
    for image in json.loads(file.read_text())["images"]:
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / image["file_name"])
    loaded = supervision.DetectionDataset.from_coco(str(tmp_path), str(file), force_masks=True)
    assert loaded.classes == ["person", "狗"]
    assert len(loaded) == FRAMES
    for frame, (_, _, detections) in zip(frames, loaded, strict=True):
        masks = [decode(found.mask) for found in frame.instances]
        np.testing.assert_array_equal(np.asarray(detections.mask), masks)


def test_youtube_vis_form_has_all_that_its_evaluation_reads(
    file: Path, frames: list[ShardFrame]
) -> None:
    """The keys of the data set's own API, which is in no package registry."""
    made: Json = json.loads(json.dumps(to_ytvis(json.loads(file.read_text()))))
    assert set(made) == {"info", "categories", "videos", "annotations"}
    (video,) = made["videos"]
    assert {"id", "width", "height", "length", "file_names"} <= set(video)
    assert video["length"] == len(video["file_names"]) == FRAMES
    assert [track["id"] for track in made["annotations"]] == [1, 2, 3]
    for track in made["annotations"]:
        assert track["video_id"] == video["id"]
        assert track["category_id"] in {category["id"] for category in made["categories"]}
        assert (track["width"], track["height"], track["iscrowd"]) == (WIDTH, HEIGHT, 0)
        check_track(track, frames)


def check_track(track: Json, frames: list[ShardFrame]) -> None:
    """Its entries, one a frame, are the masks of that object or None."""
    entries = zip(track["segmentations"], track["bboxes"], track["areas"], frames, strict=True)
    for segmentation, box, area, frame in entries:
        here = [found for found in frame.instances if found.object_id == track["track_id"]]
        if not here:
            assert (segmentation, box, area) == (None, None, None)
            continue
        np.testing.assert_array_equal(coco_mask.decode(segmentation) == 1, decode(here[0].mask))
        assert area == coco_mask.area(segmentation)
        assert box == list(coco_mask.toBbox(segmentation))
