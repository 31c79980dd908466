"""The tiny SAM3 on a GPU: near to what a CPU gives, and handed on bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fakes.tiny_sam3 import film, save_tiny
from visionseg.config import Models
from workers.masks import iou
from workers.segmenters.base import ImagePrompts, SessionOptions, VideoPrompts
from workers.segmenters.sam3.loading import load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


def _never() -> bool:
    return False


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_pictures_are_near_to_those_of_a_cpu(folder: Path, precision: str) -> None:
    asked = ImagePrompts(("person", "red ball"), threshold=0.2)
    found = []
    for device, kind in (("cpu", "fp32"), ("cuda", precision)):
        settings = Models(sam3_weights=str(folder), sam3_device=device, sam3_precision=kind)
        found.append(load(settings).segment(film(1), [asked], _never)[0])
    assert abs(len(found[0]) - len(found[1])) <= 2
    best = [max(iou(one.mask, other.mask) for other in found[1]) for one in found[0]]
    assert sum(best) / len(best) > 0.9


def test_a_film_handed_on_is_bit_identical_and_takes_no_more_memory(folder: Path) -> None:
    segmenter = load(Models(sam3_weights=str(folder), sam3_device="cuda"))
    segmenter.network.model.hotstart_unmatch_thresh = 15
    prompts, options = VideoPrompts(("person",), threshold=0.2), SessionOptions(1)
    whole = segmenter.open_session(prompts, options)
    results = whole.step(film(64), _never)
    after_64 = torch.cuda.memory_allocated()
    parts, state = [], None
    for first in range(0, 64, 30):
        session = segmenter.open_session(prompts, options, state)
        parts += session.step(film(64)[first : first + 30], _never)
        state = session.state()
        session.close()
    assert parts == results
    whole.step(film(128)[64:], _never)
    assert torch.cuda.memory_allocated() <= 1.05 * after_64
