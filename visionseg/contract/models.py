"""The models by name: what each can do. Workers implement them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from visionseg.contract.inputs import DEFAULT_MODEL, DEFAULT_PROVIDER

LITE = "embedded/lite"
SAM3 = DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: the names it is asked by and what it takes.

    `closed_vocabulary` means that words outside visionseg.contract.vocabulary are refused.
    """

    name: str
    provider: str
    description: str
    text: bool = True
    points: bool = True
    boxes: bool = True
    video: bool = True
    closed_vocabulary: bool = False


MODELS: Mapping[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(SAM3, DEFAULT_PROVIDER, "SAM3: any concept in words, clicks and boxes"),
        ModelCard(
            LITE,
            DEFAULT_PROVIDER,
            "The built-in CPU model: 80 everyday nouns, clicks and boxes (not SAM3)",
            closed_vocabulary=True,
        ),
    )
}
PROVIDERS = tuple(sorted({card.provider for card in MODELS.values()}))
