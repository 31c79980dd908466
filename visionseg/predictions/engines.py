"""Which engine answers for the model that was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from visionseg.config import Models
from visionseg.contract.errors import ErrorCode, Problem, Refusal
from visionseg.contract.inputs import AnySubmission
from visionseg.contract.models import LITE, MODELS, NOT_YET, PROVIDERS, SAM3
from visionseg.contract.vocabulary import (
    closest_noun,
    known_nouns,
    reduce_phrase,
    split_concepts,
)


@dataclass(frozen=True, slots=True)
class Choice:
    """The engine that will answer, and what the client should know about that."""

    engine: str
    warnings: tuple[str, ...]


def available(model: str, settings: Models) -> bool:
    """Whether workers of this installation load the model."""
    return model == LITE or model in settings.weights


def served(settings: Models) -> tuple[str, ...]:
    """The models that workers of this installation load."""
    return tuple(model for model in MODELS if available(model, settings))


def choose(submission: AnySubmission, settings: Models) -> Choice:
    """The engine for a submission.

    Raises `Refusal`: unknown_provider, unknown_model, model_unavailable, unsupported_by_model,
    unsupported_prompt.
    """
    _check_names(submission)
    _check_abilities(submission)
    engine, warnings = submission.model, tuple[str, ...]()
    if not available(engine, settings):
        if engine != SAM3 or not settings.embedded_fallback:
            raise _not_installed(engine)
        engine = LITE
        warnings = (f"{submission.model} is not installed here; {LITE} (not SAM3) answered.",)
    if MODELS[engine].closed_vocabulary:
        warnings += _check_words(submission)
    return Choice(engine, warnings)


def _check_names(submission: AnySubmission) -> None:
    if submission.provider not in PROVIDERS:
        names = ", ".join(PROVIDERS)
        raise Refusal(
            ErrorCode.UNKNOWN_PROVIDER,
            f"There is no provider of that name here; there is: {names}.",
            detail_zh=f"此处没有该提供方；可用的有：{names}。",
            problems=(Problem("/provider", f"one of: {names}"),),
        )
    if submission.model not in MODELS:
        names = ", ".join(MODELS)
        why = f" ({NOT_YET[submission.model]})" if submission.model in NOT_YET else ""
        raise Refusal(
            ErrorCode.UNKNOWN_MODEL,
            f"There is no model of that name here{why}; there are: {names}.",
            detail_zh=f"此处没有该模型；可用的有：{names}。",
            problems=(Problem("/model", f"one of: {names}"),),
        )


def _check_abilities(submission: AnySubmission) -> None:
    card = MODELS[submission.model]
    lacking = card.lacks(submission.input)
    if not lacking:
        return
    words = ", ".join(word for _, word in lacking)
    raise Refusal(
        ErrorCode.UNSUPPORTED_BY_MODEL,
        f"{card.name} does not do this: {words}. It takes {card.takes()}.",
        detail_zh=f"{card.name} 不支持：{words}。它支持：{card.takes()}。",
        problems=tuple(
            Problem(f"/input/{field}", f"{card.name} takes {card.takes()}") for field, _ in lacking
        ),
    )


def _check_words(submission: AnySubmission) -> tuple[str, ...]:
    prompt = submission.input.effective_prompt()
    marked = bool(submission.input.point_prompts or submission.input.box_prompts)
    warnings: list[str] = []
    for concept in split_concepts(prompt or ""):
        reduction = reduce_phrase(concept)
        if reduction.nouns and reduction.ignored:
            words = ", ".join(reduction.ignored)
            nouns = ", ".join(reduction.nouns)
            warnings.append(f"{LITE} took '{concept}' as '{nouns}' and ignored: {words}.")
        elif not reduction.nouns and marked:
            warnings.append(f"{LITE} does not know '{concept}' and went by the points and boxes.")
        elif not reduction.nouns:
            raise _unknown_word(concept)
    return tuple(warnings)


def _not_installed(model: str) -> Refusal:
    how = "Name it in MODEL_WEIGHTS"
    if model == SAM3:
        how = (
            f"Set SAM3_WEIGHTS to its weights, ask for the model {LITE}, or set "
            "EMBEDDED_FALLBACK=1 to let that one answer"
        )
    return Refusal(
        ErrorCode.MODEL_UNAVAILABLE,
        f"{model} is not installed here. {how}.",
        headers={"Retry-After": "300"},
    )


def _unknown_word(concept: str) -> Refusal:
    closest = closest_noun(concept)
    hint = f" The closest it knows is '{closest}'." if closest else ""
    return Refusal(
        ErrorCode.UNSUPPORTED_PROMPT,
        f"{LITE} knows 80 everyday nouns and none of them is in '{concept}'.{hint} Use one of "
        "them, or points or boxes; only SAM3 takes any words.",
        detail_zh=f"{LITE} 只认识 80 个常见名词，“{concept}”不在其中。请换用其中的词，或用点、框；"
        "只有 SAM3 能接受任意词语。",
        problems=(Problem("/input/prompt", f"known nouns: {', '.join(known_nouns())}"),),
    )
