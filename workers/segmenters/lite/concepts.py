"""Which of the detector's nouns a client's concepts ask for."""

from __future__ import annotations

from collections.abc import Sequence

from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.vocabulary import reduce_phrase


def known_concepts(concepts: Sequence[str], *, shown: bool) -> tuple[str, ...]:
    """The concepts that hold a known noun; the others are ignored where the client also `shown`.

    Raises `Refusal` for an unknown concept where no point or box shows what is meant.
    """
    unknown = [concept for concept in concepts if not reduce_phrase(concept).nouns]
    if unknown and not shown:
        raise Refusal(
            ErrorCode.UNSUPPORTED_PROMPT,
            f"embedded/lite knows no noun in '{unknown[0]}'; show the object with points or boxes.",
            detail_zh=f"embedded/lite 不认识“{unknown[0]}”中的名词；请用点或框指出对象。",
        )
    return tuple(concept for concept in concepts if concept not in unknown)


def labels_by_noun(concepts: Sequence[str]) -> dict[str, str]:
    """For each noun asked for, the concept to label its instances with: the first that holds it."""
    labels: dict[str, str] = {}
    for concept in concepts:
        for noun in reduce_phrase(concept).nouns:
            labels.setdefault(noun, concept)
    return labels
