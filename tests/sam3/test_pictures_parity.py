"""Pictures: the same as plain transformers where the differences are off, and what each one does.

The weights are random; what is compared is the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Sam3Model, Sam3Processor, Sam3TrackerModel, Sam3TrackerProcessor

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from workers.masks import decode
from workers.segmenters.base import Box, Point, Rgb
from workers.segmenters.sam3.differences import NONE, Differences
from workers.segmenters.sam3.drawing import draw
from workers.segmenters.sam3.finder import exemplar_boxes
from workers.segmenters.sam3.network import Network

TOLERANCE = 1e-4
PICTURE = film(1)[0]
SIZE = (PICTURE.shape[0], PICTURE.shape[1])
WIDE, TALL = film(1, 54, 96)[0], film(1, 80, 60)[0]


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Any:
    return Sam3Model.from_pretrained(tiny_folder).eval()


@pytest.fixture(scope="module")
def plain_tracker(tiny_folder: Path) -> Any:
    return Sam3TrackerModel.from_pretrained(tiny_folder).eval()


@pytest.fixture(scope="module")
def network(make_network: MakeNetwork) -> Network:
    return make_network(NONE)


def _off(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a part of the largest value over 1."""
    return float((one - other).abs().max() / max(1.0, float(other.abs().max())))


def _asked(folder: Path, picture: Rgb, **prompts: Any) -> Any:
    processor = Sam3Processor.from_pretrained(folder)
    return processor(images=picture, return_tensors="pt", **prompts)


@torch.inference_mode()
def test_words_give_its_logits_scores_and_boxes(
    network: Network, plain: Any, tiny_folder: Path
) -> None:
    inputs = _asked(tiny_folder, PICTURE, text="person")
    sizes = inputs.pop("original_sizes").tolist()
    theirs = plain(**inputs)
    (found,) = network.detect_all([(network.look_at([PICTURE])[0], "person", None)])
    scores = theirs.pred_logits[0].sigmoid() * theirs.presence_logits[0].sigmoid()
    assert _off(found.scores, scores) < TOLERANCE
    assert _off(found.logits, theirs.pred_masks[0]) < TOLERANCE
    assert _off(found.boxes, theirs.pred_boxes[0]) < TOLERANCE
    processor = Sam3Processor.from_pretrained(tiny_folder)
    (result,) = processor.post_process_instance_segmentation(
        theirs, threshold=0.0, mask_threshold=0.5, target_sizes=sizes
    )
    masks = draw(found.logits, SIZE, logits_first=False)
    wrong = sum(
        int((torch.from_numpy(decode(mask)) != truth.bool()).sum())
        for mask, truth in zip(masks, result["masks"], strict=True)
    )
    assert wrong <= 2  # pixels within a rounding of the threshold
    assert draw(found.logits, SIZE) != masks  # the difference `interpolate_logits`


@torch.inference_mode()
def test_exemplars_give_its_logits(network: Network, plain: Any, tiny_folder: Path) -> None:
    boxes = [Box(5, 5, 50, 40), Box(60, 10, 90, 50)]
    corners = [[[box.x_min, box.y_min, box.x_max, box.y_max] for box in boxes]]
    inputs = _asked(
        tiny_folder, PICTURE, text="person", input_boxes=corners, input_boxes_labels=[[1, 1]]
    )
    inputs.pop("original_sizes")
    theirs = plain(**inputs)
    seen = network.look_at([PICTURE])[0]
    (found,) = network.detect_all([(seen, "person", exemplar_boxes(boxes, SIZE))])
    (without,) = network.detect_all([(seen, "person", None)])
    assert _off(found.logits, theirs.pred_masks[0]) < TOLERANCE
    assert _off(found.boxes, theirs.pred_boxes[0]) < TOLERANCE
    assert _off(found.logits, without.logits) > TOLERANCE


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([Point(30, 20)], None),
        ([Point(30, 20), Point(60, 40, positive=False)], None),
        ([], Box(10, 5, 60, 45)),
        ([Point(30, 20)], Box(10, 5, 60, 45)),
    ],
    ids=["a click", "two clicks", "a box", "a box and a click"],
)
@torch.inference_mode()
def test_marks_give_its_logits_and_scores(
    make_network: MakeNetwork,
    network: Network,
    plain_tracker: Any,
    tiny_folder: Path,
    points: list[Point],
    box: Box | None,
) -> None:
    given: dict[str, Any] = {}
    if points:
        given["input_points"] = [[[[point.x, point.y] for point in points]]]
        given["input_labels"] = [[[int(point.positive) for point in points]]]
    if box:
        given["input_boxes"] = [[[box.x_min, box.y_min, box.x_max, box.y_max]]]
    pictures = Sam3Processor.from_pretrained(tiny_folder).image_processor
    inputs = Sam3TrackerProcessor(pictures)(images=PICTURE, return_tensors="pt", **given)
    inputs.pop("original_sizes")
    several = len(points) == 1 and box is None
    theirs = plain_tracker(**inputs, multimask_output=several)
    best = int(theirs.iou_scores[0, 0].argmax())
    maps, _ = network.model.tracker_view(network.look_at([PICTURE])[0])
    ours = network.mark(maps, SIZE, points, box)
    assert _off(ours.logits, theirs.pred_masks[0, 0, best]) < TOLERANCE
    assert ours.score == pytest.approx(float(theirs.iou_scores[0, 0, best].clamp(0, 1)), abs=1e-4)
    network.model.differences = Differences()
    try:
        with_embedding = network.mark(maps, SIZE, points, box)
    finally:
        network.model.differences = NONE
    assert _off(with_embedding.logits, ours.logits) > TOLERANCE  # the difference `no_memory`


@torch.inference_mode()
def test_several_pictures_at_once_give_what_each_gives_alone(make_network: MakeNetwork) -> None:
    many, single = make_network(batch=4), make_network(batch=1)
    pictures, concepts = [WIDE, TALL, WIDE], ["person", "red ball"]
    boxes = exemplar_boxes([Box(5, 5, 40, 40)], SIZE)
    found = []
    for network in (many, single):
        seen = network.look_at(pictures)
        asked = [(one, concept, None) for one in seen for concept in concepts]
        found.append(list(network.detect_all([*asked, (seen[0], "person", boxes)])))
    assert len(found[0]) == 7
    for one, other in zip(*found, strict=True):
        assert _off(one.logits, other.logits) < TOLERANCE
        assert _off(one.scores, other.scores) < TOLERANCE
