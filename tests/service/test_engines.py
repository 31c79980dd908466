"""Which engine answers, and what a client hears when none can."""

from __future__ import annotations

from typing import Any

import pytest

from visionseg.config import Models
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import ImageSubmission
from visionseg.contract.models import LITE, SAM3
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
