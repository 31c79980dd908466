"""Pictures through the segmenter's interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import never
from visionseg.contract.errors import ErrorCode, Refusal
from workers.masks import decode
from workers.masks import encode as encode_mask
from workers.segmenters.base import (
    Box,
    FrameBox,
    FramePoint,
    ImagePrompts,
    Instance,
    Point,
    SessionOptions,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.sam3.drawing import draw_apart, draw_never_empty, encode
from workers.segmenters.sam3.features import Detections
from workers.segmenters.sam3.finder import PictureFinder
from workers.segmenters.sam3.precision import cast_heavy_weights, choose
from workers.segmenters.sam3.segmenter import Sam3Segmenter
from workers.segmenters.sam3.weights import read_network

PICTURE = film(1)[0]


def _find(
    segmenter: Sam3Segmenter,
    concepts: Sequence[str] = (),
    points: Sequence[Point] = (),
    boxes: Sequence[Box] = (),
    threshold: float = 0.2,
) -> list[Instance]:
    asked = ImagePrompts(tuple(concepts), tuple(points), tuple(boxes), threshold)
    return segmenter.segment([PICTURE], [asked], never)[0]


def test_every_concept_is_found_best_first_and_the_threshold_drops(
    segmenter: Sam3Segmenter,
) -> None:
    found = _find(segmenter, ["person", "red ball"])
    scores = [one.score for one in found]
    assert {one.label for one in found} == {"person", "red ball"}
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 0.2
    middle = scores[len(scores) // 2]
    fewer = _find(segmenter, ["person", "red ball"], threshold=middle)
    assert 0 < len(fewer) < len(found)
    assert all(one.score >= middle - 1e-4 for one in fewer)
    assert _find(segmenter, ["person"], threshold=0.99) == []
    for one in found:
        assert (one.mask.height, one.mask.width) == PICTURE.shape[:2]
        assert one.box[0] <= one.box[2] <= PICTURE.shape[1]


def test_a_detection_without_a_pixel_is_left_out(segmenter: Sam3Segmenter) -> None:
    logits = torch.stack([torch.full((8, 8), -1.0), torch.full((8, 8), 1.0)])
    found = {"person": Detections(torch.tensor([0.9, 0.8]), logits, torch.zeros(2, 4))}
    with segmenter.network.computing():
        (seen,) = segmenter.network.look_at([PICTURE])
        finder = PictureFinder(segmenter.network, seen, (10, 10), found)
        assert [one.score for one in finder.by_concepts(["person"], (), 0.5)] == pytest.approx(
            [0.8]
        )


def test_boxes_give_one_object_each_and_free_points_one_more(segmenter: Sam3Segmenter) -> None:
    boxes = [Box(5, 5, 40, 40), Box(50, 10, 90, 50)]
    found = _find(segmenter, boxes=boxes, points=[Point(10, 10), Point(45, 52)])
    assert len(found) == 3
    assert {one.label for one in found} == {"object"}
    assert all(one.mask.area for one in found)
    assert _find(segmenter, points=[Point(10, 10, positive=False)]) == []


def test_points_keep_the_instances_they_are_on(segmenter: Sam3Segmenter) -> None:
    everything = _find(segmenter, ["person"])
    chosen = decode(everything[0].mask)
    y, x = (int(side[0]) for side in np.nonzero(chosen))
    kept = _find(segmenter, ["person"], [Point(x, y)])
    assert 0 < len(kept) <= len(everything)
    assert all(decode(one.mask)[y, x] for one in kept)


def test_exemplars_change_what_a_concept_finds(segmenter: Sam3Segmenter) -> None:
    shown = _find(segmenter, ["person"], boxes=[Box(5, 5, 40, 40)])
    assert shown != _find(segmenter, ["person"])


def test_a_prompt_outside_the_picture_is_refused(segmenter: Sam3Segmenter) -> None:
    with pytest.raises(Refusal) as refusal:
        _find(segmenter, points=[Point(500, 10)])
    assert refusal.value.code is ErrorCode.PROMPT_OUTSIDE


def test_a_stop_is_heard(segmenter: Sam3Segmenter) -> None:
    with pytest.raises(Stopped):
        segmenter.segment([PICTURE], [ImagePrompts(("person",))], lambda: True)


def test_a_concept_of_too_many_tokens_is_cut_with_a_warning(segmenter: Sam3Segmenter) -> None:
    long = "the red ball beside the person " * 9
    assert _find(segmenter, [long])
    (warning,) = segmenter.cautions(["person", long])
    assert "first 32 tokens" in warning


def test_words_are_read_once(segmenter: Sam3Segmenter) -> None:
    network = segmenter.network
    with network.computing():
        assert network.words("a green thing") is network.words("a green thing")
        first = network.words("thing 0")
        for number in range(1, 258):
            network.words(f"thing {number}")
        assert network.words("thing 0") is not first


def test_masks_are_encoded_where_they_are_as_elsewhere() -> None:
    generator = torch.Generator().manual_seed(3)
    for share in (0.0, 0.3, 0.7, 1.0):
        mask = torch.rand(17, 23, generator=generator) < share
        assert encode(mask) == encode_mask(mask.numpy())


def test_a_mask_without_a_pixel_over_zero_is_its_likeliest_one() -> None:
    logits = torch.full((8, 8), -5.0)
    logits[2, 3] = -1.0
    assert draw_never_empty(logits, (8, 8)).bbox == (3, 2, 1, 1)


def test_objects_of_one_concept_share_no_pixel_and_the_better_one_has_it() -> None:
    logits = torch.full((3, 4, 4), 1.0)
    first, second, other = draw_apart(logits, (4, 4), [0.4, 0.9, 0.1], [0, 0, 1])
    assert (first.area, second.area, other.area) == (0, 16, 16)


def test_weights_cast_for_bfloat16_give_what_autocast_gives(make_network: MakeNetwork) -> None:
    half = make_network()
    cast_heavy_weights(half.model)
    pixels = half.pixels([PICTURE])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        ours = half.detect(half.look(pixels), [half.words("person")])[0]
        network = make_network()
        plain = network.detect(network.look(pixels), [network.words("person")])[0]
    assert torch.equal(ours.logits, plain.logits)
    assert torch.equal(ours.boxes, plain.boxes)
    bytes_of = [
        sum(one.numel() * one.element_size() for one in model.parameters())
        for model in (half.model, network.model)
    ]
    assert bytes_of[0] < 0.6 * bytes_of[1]


def test_every_kind_of_prompt_works_in_bfloat16(tiny_folder: Path) -> None:
    network = read_network(tiny_folder, choose("cpu", "bf16"), 2)
    segmenter = Sam3Segmenter(network, "half")
    box, point = Box(5, 5, 90, 50), Point(30, 20)
    assert _find(segmenter, ["person"], boxes=[box])
    assert len(_find(segmenter, points=[Point(92, 52), point], boxes=[Box(5, 5, 40, 40)])) == 2
    prompts = VideoPrompts(
        ("person",), (FramePoint(1, 5, point),), (FrameBox(0, 6, box),), threshold=0.2
    )
    session = segmenter.open_session(prompts, SessionOptions(2))
    results = session.step(film(3), never) + session.flush()
    assert {6} <= {one.object_id for one in results[0].instances}
    resumed = segmenter.open_session(prompts, SessionOptions(2), session.state())
    onward = [one.step(film(4)[3:], never) + one.flush() for one in (session, resumed)]
    assert onward[0] == onward[1]


def test_a_full_gpu_is_told_as_memory_that_is_full(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Sam3Segmenter(make_network(), "tiny")

    def full(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("no memory is left")

    monkeypatch.setattr(segmenter.network, "look", full)
    with pytest.raises(MemoryError, match="no memory is left"):
        _find(segmenter, ["person"])
