"""SAM 2.1 on pictures: clicks and boxes, equal to plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import Sam2Model, Sam2Processor

from tests.fakes.tiny_sam3 import film
from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from visionseg.contract.errors import Refusal
from workers.segmenters.base import Box, ImagePrompts, Point, Stopped
from workers.segmenters.registry import ENGINES
from workers.segmenters.sam2.network import TrackerNetwork
from workers.segmenters.sam2.segmenter import Sam2Segmenter

PICTURE = film(1)[0]
SIZE = PICTURE.shape[0], PICTURE.shape[1]
TALL = PICTURE.transpose(1, 0, 2)
CLICK = Point(12, 10)
FAR = Point(60, 40)
AWAY = Point(50, 45, positive=False)
BOX = Box(30, 15, 50, 35)
TOLERANCE = 1e-4


def _never() -> bool:
    return False


@torch.inference_mode()
@pytest.mark.parametrize(
    ("points", "box"),
    [((CLICK,), None), ((CLICK, AWAY), None), ((), BOX), ((Point(40, 25), AWAY), BOX)],
    ids=["a click", "clicks", "a box", "a box and clicks"],
)
def test_marks_give_the_masks_of_plain_transformers(
    tiny_sam2: Path, network: TrackerNetwork, points: tuple[Point, ...], box: Box | None
) -> None:
    plain = Sam2Model.from_pretrained(tiny_sam2).eval()
    processor = Sam2Processor.from_pretrained(tiny_sam2)
    given = processor(
        images=Image.fromarray(PICTURE),
        input_points=[[[[one.x, one.y] for one in points]]] if points else None,
        input_labels=[[[int(one.positive) for one in points]]] if points else None,
        input_boxes=[[[box.x_min, box.y_min, box.x_max, box.y_max]]] if box else None,
        return_tensors="pt",
    )
    several = len(points) == 1 and box is None
    theirs = plain(**given, multimask_output=several)
    (seen,) = network.look_at([PICTURE], [""])
    ours = network.mark(seen, SIZE, points, box)
    best = int(theirs.iou_scores[0, 0].argmax())
    expected = theirs.pred_masks[0, 0, best]
    assert (ours.logits - expected).abs().max() / expected.abs().max() < TOLERANCE
    assert ours.score == pytest.approx(float(theirs.iou_scores[0, 0, best].clamp(0, 1)), abs=1e-4)


def test_boxes_are_an_object_each_and_free_clicks_one_more(segmenter: Sam2Segmenter) -> None:
    asked = ImagePrompts(points=(CLICK, FAR), boxes=(BOX, Box(2, 2, 20, 20)))
    (found,) = segmenter.segment([PICTURE], [asked], _never)
    assert len(found) == 3
    assert [one.label for one in found] == ["object"] * 3
    assert all(one.mask.area for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all((one.mask.height, one.mask.width) == SIZE for one in found)


def test_pictures_of_several_sizes_together_give_what_each_gives_alone(
    segmenter: Sam2Segmenter,
) -> None:
    pictures = [PICTURE, TALL, film(3)[2]]
    asked = [ImagePrompts(boxes=(BOX,))] * 3
    together = segmenter.segment(pictures, asked, _never)
    apart = [segmenter.segment([one], asked[:1], _never)[0] for one in pictures]
    for (one,), (other,) in zip(together, apart, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert abs(one.mask.area - other.mask.area) <= 2


def test_a_second_prompt_on_a_picture_does_not_look_at_it_again(network: TrackerNetwork) -> None:
    looked: list[int] = []
    hook = network.model.vision_encoder.register_forward_hook(lambda *_: looked.append(1))
    network.keep_pictures(2)
    segmenter = Sam2Segmenter("n", network, "v")
    try:
        for _ in range(2):
            asked = ImagePrompts(points=(CLICK,), known_as="mine/1")
            segmenter.segment([PICTURE], [asked], _never)
        assert len(looked) == 1
        unnamed = ImagePrompts(points=(CLICK,))
        segmenter.segment([PICTURE], [unnamed], _never)
        segmenter.segment([PICTURE], [unnamed], _never)
        assert len(looked) == 3
    finally:
        hook.remove()
        network.keep_pictures(0)


def test_marks_outside_the_picture_are_refused_and_a_stop_is_heard(
    segmenter: Sam2Segmenter,
) -> None:
    with pytest.raises(Refusal, match="outside"):
        segmenter.segment([PICTURE], [ImagePrompts(points=(Point(500, 1),))], _never)
    with pytest.raises(Stopped):
        segmenter.segment([PICTURE], [ImagePrompts(points=(CLICK,))], lambda: True)
    assert segmenter.cautions(["words"]) == []


def test_the_model_is_loaded_by_its_name_from_a_folder(tiny_sam2: Path, tmp_path: Path) -> None:
    name = "facebook/sam2.1-hiera-small"
    segmenter = ENGINES[name].load(Models(others=f"{name}={tiny_sam2}", sam3_batch=2))
    assert (segmenter.name, segmenter.pictures_at_once) == (name, 2)
    assert "batch 2" in segmenter.version
    for path in tiny_sam2.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"holds no SAM 2\.1"):
        ENGINES[name].load(Models(others=f"{name}={tmp_path}"))
    with pytest.raises(WeightsError, match=rf"weights of {name} .*no such folder"):
        ENGINES[name].load(Models(others=f"{name}=/nowhere/at/all"))
