from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from visionseg.artifacts.weights import locate, names_of
from visionseg.config import Models
from visionseg.contract.errors import ErrorCode, Refusal
from workers.masks import decode
from workers.media.clips import SCRIPTS, compose
from workers.segmenters.base import Box, ImagePrompts, Instance, Point, Rgb, Stopped
from workers.segmenters.lite.regions import mask_box, mask_overlap
from workers.segmenters.lite.segmenter import LiteSegmenter

Find = Callable[[Rgb, ImagePrompts], list[Instance]]
Stills = dict[str, Rgb]

CUP = Point(260, 140)
CAT_NOSE = Point(265, 240)


def overlap(instance: Instance, truth: np.ndarray[tuple[int, int], np.dtype[np.bool_]]) -> float:
    return mask_overlap(decode(instance.mask), truth)


def test_a_word_finds_the_object_with_its_label_score_and_tight_box(
    find: Find, stills: Stills
) -> None:
    (person,) = find(stills["astronaut.png"], ImagePrompts(("person",)))
    mask = decode(person.mask)
    assert mask.shape == (512, 512)
    assert mask[100, 220]  # her face
    assert not mask[100, 420]  # the shuttle
    assert person.label == "person"
    assert 0.5 <= person.score <= 1
    box = mask_box(mask)
    assert box is not None
    assert person.box == (box.x_min, box.y_min, box.x_max, box.y_max)


@pytest.mark.parametrize("concept", ["the sleepy cat", "睡觉的猫", "animals"])
def test_an_instance_is_labelled_as_the_client_wrote_the_concept(
    find: Find, stills: Stills, concept: str
) -> None:
    (cat,) = find(stills["chelsea.png"], ImagePrompts((concept,)))
    assert cat.label == concept


def test_a_known_noun_that_is_not_there_finds_nothing(find: Find, stills: Stills) -> None:
    assert find(stills["astronaut.png"], ImagePrompts(("the running dog",))) == []


def test_a_threshold_drops_what_scores_below_it(find: Find, stills: Stills) -> None:
    (cup,) = find(stills["coffee.png"], ImagePrompts(("cup",)))
    assert find(stills["coffee.png"], ImagePrompts(("cup",), threshold=cup.score + 0.01)) == []


def test_composed_objects_are_outlined_from_words_boxes_and_clicks(
    find: Find, stills: Stills
) -> None:
    picture, (cat, person) = next(compose(stills, SCRIPTS["astronaut and cat"], 1))
    named = find(picture, ImagePrompts(("person", "cat")))
    assert [one.score for one in named] == sorted((one.score for one in named), reverse=True)
    by_label = {one.label: one for one in named}
    assert overlap(by_label["cat"], cat) > 0.9
    assert overlap(by_label["person"], person) > 0.9
    box = mask_box(person)
    assert box is not None
    (boxed,) = find(picture, ImagePrompts(boxes=(box,)))
    assert overlap(boxed, person) > 0.9
    (clicked,) = find(picture, ImagePrompts(points=(Point(500, 260),)))
    assert overlap(clicked, cat) > 0.9


def test_a_click_gets_its_best_mask_whatever_the_threshold(find: Find, stills: Stills) -> None:
    (cup,) = find(stills["coffee.png"], ImagePrompts(points=(CUP,), threshold=1.0))
    mask = decode(cup.mask)
    assert mask[140, 260]
    assert not mask[350, 50]
    assert 0.05 < cup.mask.area / mask.size < 0.4


def test_a_mask_obeys_every_click(find: Find, stills: Stills) -> None:
    points = (CUP, Point(470, 200), Point(300, 230, positive=False))
    (found,) = find(stills["coffee.png"], ImagePrompts(points=points))
    mask = decode(found.mask)
    assert mask[140, 260]
    assert mask[200, 470]
    assert not mask[230, 300]


def test_a_negative_click_in_a_box_is_left_out(find: Find, stills: Stills) -> None:
    box = Box(60, 10, 440, 290)
    clicks = (Point(CAT_NOSE.x, CAT_NOSE.y, positive=False),)
    (found,) = find(stills["chelsea.png"], ImagePrompts(points=clicks, boxes=(box,)))
    assert not decode(found.mask)[240, 265]
    assert found.mask.area > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (5, 5), (30, 30), (300, 9)])
def test_clicks_and_boxes_get_a_mask_even_where_there_is_nothing_to_see(
    find: Find, shape: tuple[int, int]
) -> None:
    blank = np.full((*shape, 3), 127, np.uint8)
    (clicked,) = find(blank, ImagePrompts(points=(Point(0, 0),)))
    (boxed,) = find(blank, ImagePrompts(boxes=(Box(-3, -3, 0.5, 0.5),)))
    assert clicked.mask.area > 0
    assert boxed.mask.area > 0
    assert find(blank, ImagePrompts(("person",))) == []


def test_an_exemplar_is_an_instance_of_the_concept(find: Find, stills: Stills) -> None:
    box = Box(365, 0, 470, 310)  # the shuttle, in which the detector sees nothing
    found = find(stills["astronaut.png"], ImagePrompts(("person",), boxes=(box,)))
    assert [one.label for one in found] == ["person", "person"]
    assert any(decode(one.mask)[60, 415] for one in found)


def test_an_exemplar_that_the_detector_sees_too_is_one_instance(find: Find, stills: Stills) -> None:
    prompts = ImagePrompts(("person",), boxes=(Box(0, 10, 375, 512),), threshold=1.0)
    (person,) = find(stills["astronaut.png"], prompts)
    assert person.label == "person"


def test_an_unknown_word_is_ignored_beside_a_click(find: Find, stills: Stills) -> None:
    (found,) = find(stills["coffee.png"], ImagePrompts(("crockery",), points=(CUP,)))
    assert found.label == "object"


def test_an_unknown_word_alone_is_refused(find: Find, stills: Stills) -> None:
    with pytest.raises(Refusal) as refused:
        find(stills["coffee.png"], ImagePrompts(("crockery",)))
    assert refused.value.code is ErrorCode.UNSUPPORTED_PROMPT


def test_a_click_outside_the_picture_is_refused(find: Find, stills: Stills) -> None:
    with pytest.raises(Refusal) as refused:
        find(stills["coffee.png"], ImagePrompts(points=(Point(600, 10),)))
    assert refused.value.code is ErrorCode.PROMPT_OUTSIDE


def test_a_large_picture_gets_masks_of_its_own_size(find: Find, stills: Stills) -> None:
    large = stills["astronaut.png"].repeat(5, 0).repeat(5, 1)
    (large_person,) = find(large, ImagePrompts(("person",)))
    (person,) = find(stills["astronaut.png"], ImagePrompts(("person",)))
    assert (large_person.mask.height, large_person.mask.width) == (2560, 2560)
    assert overlap(person, decode(large_person.mask)[2::5, 2::5]) > 0.9


def test_work_that_should_stop_stops_between_model_calls(
    lite: LiteSegmenter, stills: Stills
) -> None:
    answers = iter([False, False, True])
    prompts = ImagePrompts(("person",))
    with pytest.raises(Stopped):
        lite.segment([stills["astronaut.png"]], [prompts], lambda: next(answers))


def test_another_process_finds_the_same_masks(find: Find, stills: Stills) -> None:
    script = """
import sys
import numpy as np
from PIL import Image
from visionseg.config import Models
from workers.segmenters.base import ImagePrompts, Point
from workers.segmenters.lite.segmenter import LiteSegmenter
cache = Models().cache
picture = np.asarray(Image.open(cache / "coffee.png").convert("RGB"))
prompts = ImagePrompts(points=(Point(260, 140), Point(470, 200)))
found = LiteSegmenter(cache, 2).segment([picture], [prompts], lambda: False)
sys.stdout.write(found[0][0].mask.counts)
"""
    prompts = ImagePrompts(points=(CUP, Point(470, 200)))
    (here,) = find(stills["coffee.png"], prompts)
    assert Models().cache.is_dir()
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert there.stdout.decode() == here.mask.counts


def test_it_tells_the_sums_of_its_files(lite: LiteSegmenter) -> None:
    assert (lite.origin.device, set(lite.origin.weights)) == ("cpu", set(names_of("model")))
    for name, told in lite.origin.weights.items():
        data = locate(Models().cache, name).read_bytes()
        assert told == hashlib.sha256(data).hexdigest()
