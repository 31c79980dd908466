"""SAM3 with a small text encoder: words on pictures, equal to plain transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import Sam3LiteTextModel, Sam3Processor

from tests.fakes.tiny_lite_text import save_tiny_lite_text
from tests.fakes.tiny_sam3 import film
from visionseg.artifacts.weights import WeightsError
from visionseg.config import Models
from workers.segmenters.base import ImagePrompts, SessionOptions, VideoPrompts
from workers.segmenters.registry import ENGINES
from workers.segmenters.sam3.words_only import WordsOnlySegmenter

NAME = "vil-uob/sam3-litetext-s0"
PICTURES = film(4)
TOLERANCE = 1e-4


def _never() -> bool:
    return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_lite_text(tmp_path_factory.mktemp("tiny_lite_text"))


@pytest.fixture(scope="module")
def segmenter(folder: Path) -> WordsOnlySegmenter:
    loaded = ENGINES[NAME].load(Models(others=f"{NAME}={folder}", sam3_batch=4))
    assert isinstance(loaded, WordsOnlySegmenter)
    return loaded


@torch.inference_mode()
@pytest.mark.parametrize("concept", ["person", "a red ball on the left"])
def test_words_give_the_detections_of_plain_transformers(
    folder: Path, segmenter: WordsOnlySegmenter, concept: str
) -> None:
    plain = Sam3LiteTextModel.from_pretrained(folder).eval()
    processor = Sam3Processor.from_pretrained(folder)
    given = processor(images=Image.fromarray(PICTURES[0]), text=concept, return_tensors="pt")
    theirs = plain(**given)
    network = segmenter.network
    (seen,) = network.look_at(PICTURES[:1])
    (ours,) = network.detect_all([(seen, concept, None)])
    expected = theirs.pred_masks[0]
    assert (ours.logits - expected).abs().max() / expected.abs().max() < TOLERANCE
    scores = theirs.pred_logits[0].sigmoid() * theirs.presence_logits[0].sigmoid()
    assert (ours.scores - scores).abs().max() < TOLERANCE


def test_every_concept_is_found_on_every_picture(segmenter: WordsOnlySegmenter) -> None:
    assert segmenter.name == NAME
    asked = ImagePrompts(("person", "red ball"), threshold=0.1)
    found = segmenter.segment(PICTURES[:2], [asked] * 2, _never)
    assert [{one.label for one in instances} for instances in found] == [set(asked.concepts)] * 2
    (caution,) = segmenter.cautions(["a " * 50, "person"])
    assert "first 32 tokens" in caution


def test_it_follows_nothing(segmenter: WordsOnlySegmenter) -> None:
    with pytest.raises(NotImplementedError, match="takes no videos"):
        segmenter.open_session(VideoPrompts(("person",)), SessionOptions())


def test_weights_of_another_model_are_told(tiny_folder: Path) -> None:
    with pytest.raises(WeightsError, match="SAM3-LiteText"):
        ENGINES[NAME].load(Models(others=f"{NAME}={tiny_folder}"))
