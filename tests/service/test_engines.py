"""Which engine answers, and what a client hears when none can."""

from __future__ import annotations

from typing import Any

import pytest

from visionseg.config import Models
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import AnySubmission, ImageSubmission, VideoSubmission
from visionseg.contract.models import LITE, MODELS, NOT_YET, SAM3
from visionseg.predictions.engines import choose, served

ALONE = Models(embedded_fallback=False)
FALLING_BACK = Models(embedded_fallback=True)


def _asked(model: str | None = None, **given: Any) -> ImageSubmission:
    body: dict[str, Any] = {"input": {"image": "https://example.com/x.jpg", **given}}
    return ImageSubmission.model_validate(body | ({"model": model} if model else {}))


def test_without_sam3_its_name_is_answered_by_the_embedded_model_only_if_that_is_set() -> None:
    choice = choose(_asked(), FALLING_BACK)
    assert choice.engine == LITE
    assert choice.warnings == (
        "facebook/sam3 is not installed here; embedded/lite (not SAM3) answered.",
    )
    with pytest.raises(Refusal) as refusal:
        choose(_asked(), ALONE)
    assert refusal.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert "EMBEDDED_FALLBACK=1" in refusal.value.detail
    assert refusal.value.headers["Retry-After"] == "300"


def test_the_embedded_model_can_be_asked_for_by_its_name() -> None:
    assert choose(_asked(LITE), ALONE) == choose(_asked(LITE), FALLING_BACK)
    assert choose(_asked(LITE), ALONE).warnings == ()


def test_words_that_are_not_understood_are_told() -> None:
    (warning,) = choose(_asked(LITE, prompt="the running dog"), ALONE).warnings
    assert "'dog'" in warning
    assert "running" in warning


def test_unknown_words_are_ignored_where_marks_tell_what_is_meant() -> None:
    asked = _asked(LITE, prompt="gizmo", point_prompts=[{"x": 1, "y": 1}])
    (warning,) = choose(asked, ALONE).warnings
    assert "gizmo" in warning


def test_an_unknown_word_alone_is_refused_with_the_list() -> None:
    with pytest.raises(Refusal) as refusal:
        choose(_asked(LITE, prompt="gizmo"), ALONE)
    assert refusal.value.code is ErrorCode.UNSUPPORTED_PROMPT
    assert "giraffe" in refusal.value.problems[0].detail


def test_where_weights_are_named_sam3_answers_any_words() -> None:
    settings = Models(sam3_weights="/some/where", embedded_fallback=True)
    choice = choose(_asked(prompt="gizmo"), settings)
    assert (choice.engine, choice.warnings) == (SAM3, ())
    assert served(settings) == (SAM3, LITE)
    assert served(ALONE) == (LITE,)


SAM2 = "facebook/sam2.1-hiera-large"
LITE_TEXT = "vil-uob/sam3-litetext-s0"
ALL = Models(others=f"{SAM2}, {LITE_TEXT}=/some/where", embedded_fallback=True)
POINT = {"x": 1, "y": 1}
BOX = {"x_min": 1, "y_min": 1, "x_max": 9, "y_max": 9}


def _asked_video(model: str, **given: Any) -> VideoSubmission:
    return VideoSubmission.model_validate(
        {"model": model, "input": {"video": "https://example.com/x.mp4", **given}}
    )


def test_the_models_that_are_served_are_a_setting() -> None:
    assert served(ALL) == (LITE, LITE_TEXT, SAM2)
    assert ALL.weights == {SAM2: SAM2, LITE_TEXT: "/some/where"}
    assert choose(_asked(SAM2, point_prompts=[POINT]), ALL).engine == SAM2
    assert choose(_asked(LITE_TEXT, prompt="a gizmo"), ALL).engine == LITE_TEXT


def test_a_model_that_is_not_served_is_unavailable_whatever_the_fallback() -> None:
    with pytest.raises(Refusal) as refusal:
        choose(_asked(SAM2, point_prompts=[POINT]), FALLING_BACK)
    assert refusal.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert "MODEL_WEIGHTS" in refusal.value.detail


def test_a_setting_that_names_an_unknown_model_is_told_with_those_there_are() -> None:
    for wrong in ("facebook/sam9", SAM3, LITE):
        with pytest.raises(ValueError, match=f"no model {wrong}; there are: .*{SAM2}"):
            Models(others=wrong)


@pytest.mark.parametrize(
    ("submission", "fields", "words"),
    [
        (_asked(SAM2, prompt="person"), ["prompt"], "text"),
        (_asked(SAM2), ["prompt"], "text"),
        (_asked(SAM2, prompt="person", box_prompts=[BOX]), ["prompt"], "text"),
        (_asked_video(SAM2, prompt="person"), ["prompt"], "text"),
        (_asked(LITE_TEXT, point_prompts=[POINT]), ["point_prompts"], "points"),
        (_asked(LITE_TEXT, prompt="cat", box_prompts=[BOX]), ["box_prompts"], "boxes"),
        (_asked_video(LITE_TEXT, prompt="cat"), ["video"], "videos"),
        (
            _asked_video(LITE_TEXT, point_prompts=[POINT]),
            ["video", "point_prompts"],
            "videos, points",
        ),
    ],
)
def test_what_a_model_cannot_do_is_refused_and_told(
    submission: AnySubmission, fields: list[str], words: str
) -> None:
    with pytest.raises(Refusal) as refusal:
        choose(submission, ALL)
    assert refusal.value.code is ErrorCode.UNSUPPORTED_BY_MODEL
    assert refusal.value.kind.status == 422
    assert f"{submission.model} does not do this: {words}." in refusal.value.detail
    assert [one.pointer for one in refusal.value.problems] == [f"/input/{one}" for one in fields]


def test_a_model_that_nothing_can_run_yet_is_unknown_and_told_why() -> None:
    assert not set(NOT_YET) & set(MODELS)
    with pytest.raises(Refusal) as refusal:
        choose(_asked("facebook/sam3.1"), ALL)
    assert refusal.value.code is ErrorCode.UNKNOWN_MODEL
    assert "has no SAM 3.1 yet" in refusal.value.detail
