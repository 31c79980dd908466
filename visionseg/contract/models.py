"""The models by name: what each can do. Workers implement them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from visionseg.contract.inputs import DEFAULT_MODEL, DEFAULT_PROVIDER, SegmentInput, VideoInput

LITE = "embedded/lite"
SAM3 = DEFAULT_MODEL


class Family(StrEnum):
    """Models of one family run on the same code and differ in their weights."""

    LITE = "lite"
    SAM3 = "sam3"
    SAM3_LITE_TEXT = "sam3_lite_text"
    SAM2 = "sam2"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: the name it is asked by, which is its id on the hub, and what it takes.

    `closed_vocabulary` means that words outside visionseg.contract.vocabulary are refused, `gated`
    that the hub gives the weights only to accounts that accept a licence. `image_s` and `frame_s`
    are the seconds to expect of a picture and of a video's frame before any was measured.
    """

    name: str
    family: Family
    description: str
    provider: str = DEFAULT_PROVIDER
    text: bool = True
    points: bool = True
    boxes: bool = True
    video: bool = True
    closed_vocabulary: bool = False
    gated: bool = False
    image_s: float | None = None
    frame_s: float | None = None

    def takes(self) -> str:
        """What it takes, in words: `points and boxes on pictures and videos`."""
        named = (("text", self.text), ("points", self.points), ("boxes", self.boxes))
        media = "pictures and videos" if self.video else "pictures"
        return f"{' and '.join(name for name, given in named if given)} on {media}"

    def lacks(self, asked: SegmentInput) -> list[tuple[str, str]]:
        """What of an input it cannot do: each field of the input and the word for it."""
        given = (
            ("video", "videos", isinstance(asked, VideoInput), self.video),
            ("prompt", "text", bool(asked.effective_prompt()), self.text),
            ("point_prompts", "points", bool(asked.point_prompts), self.points),
            ("box_prompts", "boxes", bool(asked.box_prompts), self.boxes),
        )
        return [(field, word) for field, word, wanted, able in given if wanted and not able]


def _by_name(cards: Iterable[ModelCard]) -> Mapping[str, ModelCard]:
    return {card.name: card for card in cards}


MODELS: Mapping[str, ModelCard] = _by_name(
    (
        ModelCard(SAM3, Family.SAM3, "SAM3: any concept in words, clicks and boxes", gated=True),
        ModelCard(
            LITE,
            Family.LITE,
            "The built-in CPU model: 80 everyday nouns, clicks and boxes (not SAM3)",
            closed_vocabulary=True,
            image_s=1.0,
            frame_s=0.1,
        ),
        *(
            ModelCard(
                f"vil-uob/sam3-litetext-{size}",
                Family.SAM3_LITE_TEXT,
                f"SAM3 with a small text encoder ({size}): any concept in words, on pictures",
                points=False,
                boxes=False,
                video=False,
            )
            for size in ("s0", "s1", "l")
        ),
        *(
            ModelCard(
                f"facebook/sam2.1-hiera-{size}",
                Family.SAM2,
                f"SAM 2.1 ({size}): clicks and boxes, followed along videos",
                text=False,
            )
            for size in ("tiny", "small", "base-plus", "large")
        ),
    )
)
PROVIDERS = tuple(sorted({card.provider for card in MODELS.values()}))

NOT_YET: Mapping[str, str] = {
    "facebook/sam3.1": "transformers, which runs the models here, has no SAM 3.1 yet"
}
"""Models that users know and that no release can run: why. One moves to `MODELS` when it can."""
