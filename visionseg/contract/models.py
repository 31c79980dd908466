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
    `image_s` and `frame_s` are the seconds to expect of a picture and of a video's frame before
    any was measured.
    """

    name: str
    provider: str
    description: str
    text: bool = True
    points: bool = True
    boxes: bool = True
    video: bool = True
    closed_vocabulary: bool = False
    image_s: float | None = None
    frame_s: float | None = None


MODELS: Mapping[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(SAM3, DEFAULT_PROVIDER, "SAM3: any concept in words, clicks and boxes"),
        ModelCard(
            LITE,
            DEFAULT_PROVIDER,
            "The built-in CPU model: 80 everyday nouns, clicks and boxes (not SAM3)",
            closed_vocabulary=True,
            image_s=1.0,
            frame_s=0.1,
        ),
    )
}
PROVIDERS = tuple(sorted({card.provider for card in MODELS.values()}))
