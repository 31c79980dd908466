"""Every field of the two inputs: its default, its bounds, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from api.fields import field_problems
from visionseg.contract.inputs import (
    ImageInput,
    ImageSubmission,
    VideoInput,
    VideoSubmission,
)

IMAGE = {"image": "https://example.com/a.png"}
VIDEO = {"video": "https://example.com/a.mp4", "prompt": "person"}
POINT = {"x": 1, "y": 2}
BOX = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}


def test_image_defaults_are_those_of_the_contract() -> None:
    assert ImageInput.model_validate(IMAGE).model_dump() == {
        "image": "https://example.com/a.png",
        "prompt": None,
        "threshold": 0.5,
        "point_prompts": [],
        "box_prompts": [],
        "mask_color": "green",
        "mask_opacity": 0.5,
        "save_overlay": False,
        "mask_only": False,
        "return_zip": True,
        "include_scores": False,
        "include_boxes": False,
    }


def test_video_defaults_are_those_of_the_contract() -> None:
    assert VideoInput.model_validate(VIDEO).model_dump() == {
        "video": "https://example.com/a.mp4",
        "prompt": "person",
        "output_format": "mp4",
        "threshold": 0.5,
        "frame_stride": 1,
        "start_time": 0.0,
        "end_time": None,
        "max_frames": None,
        "prompt_propagation": True,
        "re_detect_every": 30,
        "mask_color": "green",
        "mask_opacity": 0.5,
        "fps": None,
        "point_prompts": [],
        "box_prompts": [],
    }


def test_body_defaults_are_those_of_the_contract() -> None:
    assert ImageSubmission.model_validate({"input": IMAGE}).model_dump(exclude={"input"}) == {
        "provider": "wujie",
        "model": "facebook/sam3",
        "deadline_s": 86400,
        "priority": 0,
        "webhook": None,
        "webhook_events_filter": ["completed"],
        "dry_run": False,
    }


def test_person_is_looked_for_only_where_nothing_says_what_to_find() -> None:
    for more, effective in (
        ({}, "person"),
        ({"prompt": ""}, "person"),
        ({"prompt": " \n"}, "person"),
        ({"prompt": "dog"}, "dog"),
        ({"point_prompts": [POINT]}, None),
        ({"box_prompts": [BOX], "prompt": ""}, None),
        ({"box_prompts": [BOX], "prompt": "dog"}, "dog"),
    ):
        assert ImageInput.model_validate({**IMAGE, **more}).effective_prompt() == effective


Case = tuple[str, list[Any], list[Any]]
SHARED: list[Case] = [
    ("threshold", [0, 1, 0.25], [-0.01, 1.01, "much", None, True, 10**400, [0.5]]),
    ("mask_opacity", [0, 1, 0.25], [-0.01, 1.01, "much", None, False]),
    (
        "mask_color",
        ["green", "red", "blue", "yellow", "cyan", "magenta"],
        ["Green", "pink", "", 1, None],
    ),
    ("prompt", ["a dog, a cat", "x" * 1000], ["x" * 1001, 5, ["dog"]]),
]
IMAGE_ONLY: list[Case] = [
    (name, [True, False], ["maybe", 2, None])
    for name in ("save_overlay", "mask_only", "return_zip", "include_scores", "include_boxes")
]
IMAGE_ONLY += [
    ("image", ["https://example.com", "file_x"], ["", None, 5]),
    (
        "point_prompts",
        [[], [POINT] * 256, [{**POINT, "positive": False}], [{"x": -1.5, "y": 0}]],
        [[POINT] * 257, [{"x": 1}], [{**POINT, "z": 1}], [{"x": True, "y": 1}], POINT, "1,2"],
    ),
    (
        "box_prompts",
        [[], [BOX] * 256],
        [[BOX] * 257, [{**BOX, "x_max": 1}], [{**BOX, "y_max": 1.5}], [[1, 2, 3, 4]], BOX],
    ),
]
COUNTS = [1, 10**9], [0, -1, 1.5, True, "many", 10**9 + 1]
VIDEO_ONLY: list[Case] = [
    ("video", ["https://example.com", "file_x"], ["", None, 5]),
    ("output_format", ["mp4", "frames", "masks", "coco_rle"], ["gif", "MP4", None]),
    ("frame_stride", *COUNTS),
    ("re_detect_every", *COUNTS),
    ("max_frames", [None, *COUNTS[0]], COUNTS[1]),
    ("start_time", [0, 2.5, 10**7], [-0.1, 10**8, True, "0:10"]),
    ("end_time", [None, 0.5, 10**7], [0, -1, 10**8, True]),
    ("prompt_propagation", [True, False], ["maybe", 2]),
    ("fps", [None, 0.5, 29.97, 1000], [0, -1, 1001, True]),
    (
        "point_prompts",
        [[{**POINT, "frame_index": 0, "object_id": 1}], [{**POINT, "frame_index": 10**9}]],
        [[{**POINT, "frame_index": -1}], [{**POINT, "object_id": 0}]],
    ),
    (
        "box_prompts",
        [[{**BOX, "frame_index": 3, "object_id": 10**6}]],
        [[{**BOX, "object_id": 10**6 + 1}], [{**BOX, "frame_index": True}]],
    ),
]
Model = type[ImageInput] | type[VideoInput]
CASES: list[tuple[Model, dict[str, str], str, list[Any], list[Any]]] = [
    (ImageInput, IMAGE, *case) for case in SHARED + IMAGE_ONLY
]
CASES += [(VideoInput, VIDEO, *case) for case in SHARED + VIDEO_ONLY]


@pytest.mark.parametrize(
    ("model", "base", "name", "good", "bad"),
    CASES,
    ids=[f"{case[0].__name__}.{case[2]}" for case in CASES],
)
def test_a_field_keeps_its_bounds(
    model: Model,
    base: dict[str, str],
    name: str,
    good: list[Any],
    bad: list[Any],
) -> None:
    for value in good:
        model.model_validate({**base, name: value})
    for value in bad:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({**base, name: value})
        assert all(one["loc"][0] == name for one in caught.value.errors() if one["loc"])


def test_a_video_needs_something_to_find() -> None:
    video = {"video": VIDEO["video"]}
    nothing: list[dict[str, Any]] = [{}, {"prompt": ""}, {"point_prompts": []}]
    for given in nothing:
        with pytest.raises(ValidationError, match="needs a prompt, a point or a box"):
            VideoInput.model_validate({**video, **given})
    VideoInput.model_validate({**video, "point_prompts": [POINT]})
    VideoInput.model_validate({**video, "box_prompts": [BOX]})


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({"inputs": {}, "input": IMAGE}, "/inputs", "did you mean `input`?"),
        ({"input": {**IMAGE, "promt": "x"}}, "/input/promt", "did you mean `prompt`?"),
        (
            {"input": {**IMAGE, "point_prompts": [{**POINT, "postive": True}]}},
            "/input/point_prompts/0/postive",
            "did you mean `positive`?",
        ),
        ({"input": {**IMAGE, "a/b~c": 1}}, "/input/a~1b~0c", "known are: box_prompts, image,"),
        ({"input": {**IMAGE, "box_prompts": [{}]}}, "/input/box_prompts/0/x_min", "required"),
        ({"input": 5}, "/input", "valid dictionary"),
    ],
)
def test_a_problem_points_at_its_field_and_names_what_was_meant(
    body: dict[str, Any], pointer: str, detail: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        ImageSubmission.model_validate(body)
    problems = {one.pointer: one.detail for one in field_problems(caught.value, ImageSubmission)}
    assert detail in problems[pointer]


def test_no_more_than_twenty_problems_are_told() -> None:
    with pytest.raises(ValidationError) as caught:
        VideoSubmission.model_validate({"input": {**VIDEO, **{f"x{n}": n for n in range(50)}}})
    assert len(field_problems(caught.value, VideoSubmission)) == 20
