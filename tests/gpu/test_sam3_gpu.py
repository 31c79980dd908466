"""SAM3's engine on a GPU, at the true network's size with random weights.

The same tests run on a CPU with the tiny network, so that they are known to work where no GPU is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.fakes.tiny_sam3 import film, save_full, save_tiny
from visionseg.config import Models
from workers.masks import iou
from workers.segmenters.base import (
    Box,
    FrameBox,
    FramePoint,
    FrameResult,
    ImagePrompts,
    Point,
    SessionOptions,
    VideoPrompts,
)
from workers.segmenters.sam3.following import FollowingSession
from workers.segmenters.sam3.loading import load
from workers.segmenters.sam3.operators import PlainOperators
from workers.segmenters.sam3.relief import SMALLER_STEPS
from workers.segmenters.sam3.segmenter import Sam3Segmenter

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.timeout(480),
]
GPU = pytest.param("cuda", marks=ON_GPU)
FRAMES = 48
FILM = film(FRAMES)
BOX, POINT = Box(5, 5, 40, 40), Point(70, 30)
ASKED = VideoPrompts(
    ("person", "red ball"), (FramePoint(3, 9, POINT),), (FrameBox(0, 7, BOX),), threshold=0.1
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module", params=["cpu", GPU])
def segmenter(
    request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Sam3Segmenter:
    """On a GPU the network of the true size, in the numbers of the product."""
    folder, batch = tiny, 4
    if request.param == "cuda":
        folder, batch = save_full(tmp_path_factory.mktemp("full")), 8
    else:
        torch.set_num_threads(1)
    models = Models(sam3_weights=str(folder), sam3_device=request.param, sam3_batch=batch)
    loaded = load(models)
    loaded.network.model.hotstart_unmatch_thresh = 15
    loaded.network.model.max_num_objects = 6
    return loaded


def _never() -> bool:
    return False


def _session(segmenter: Sam3Segmenter, state: bytes | None = None) -> FollowingSession:
    return FollowingSession(segmenter.network, "gpu", ASKED, SessionOptions(4), state)


def _allocated(segmenter: Sam3Segmenter) -> int:
    return torch.cuda.memory_allocated() if segmenter.network.device.type == "cuda" else 0


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "bf16"), *(pytest.param("cuda", kind, marks=ON_GPU) for kind in ("fp32", "bf16"))],
)
def test_pictures_are_near_to_those_of_full_precision_on_a_cpu(
    tiny: Path, device: str, precision: str
) -> None:
    asked = ImagePrompts(("person", "red ball"), threshold=0.2)
    found = []
    for where, kind in (("cpu", "fp32"), (device, precision)):
        settings = Models(sam3_weights=str(tiny), sam3_device=where, sam3_precision=kind)
        found.append(load(settings).segment(FILM[:1], [asked], _never)[0])
    assert abs(len(found[0]) - len(found[1])) <= 2
    best = [max(iou(one.mask, other.mask) for other in found[1]) for one in found[0]]
    assert sum(best) / len(best) > 0.9


def test_every_kind_of_prompt_is_answered_on_pictures(segmenter: Sam3Segmenter) -> None:
    asked = [
        ImagePrompts(("person",), threshold=0.0),
        ImagePrompts(points=(POINT, Point(5, 5, positive=False))),
        ImagePrompts(boxes=(BOX,)),
        ImagePrompts(("person", "red ball"), (POINT,), (BOX,), threshold=0.0),
    ]
    found = segmenter.segment(FILM[:4], asked, _never)
    assert all(found)
    assert {(one.mask.height, one.mask.width) for one in found[0]} == {FILM[0].shape[:2]}
    assert {one.label for one in found[0]} == {"person"}


def test_a_film_handed_on_is_bit_identical(segmenter: Sam3Segmenter) -> None:
    whole = _session(segmenter)
    results = whole.step(FILM, _never)
    results += whole.flush()
    ids = {one.object_id for result in results for one in result.instances}
    assert {7, 9} <= ids
    for piece in (7, 30):
        parts, state = list[FrameResult](), None
        for first in range(0, FRAMES, piece):
            session = _session(segmenter, state)
            parts += session.step(FILM[first : first + piece], _never)
            state = session.state()
        assert parts + _session(segmenter, state).flush() == results


def test_a_longer_film_takes_no_more_memory(segmenter: Sam3Segmenter) -> None:
    session = _session(segmenter)
    session.step(FILM, _never)
    state, allocated = len(session.state()), _allocated(segmenter)
    for _ in range(2):
        session.step(FILM, _never)
    assert len(session.state()) <= 1.1 * state
    assert _allocated(segmenter) <= 1.05 * allocated


def test_memory_maps_beside_the_device_change_no_bit(segmenter: Sam3Segmenter) -> None:
    near, far = _session(segmenter), _session(segmenter)
    far._now.session.to_host()
    assert far.step(FILM[:20], _never) == near.step(FILM[:20], _never)


def test_a_shortage_in_the_middle_of_a_film_is_met_by_smaller_steps(
    segmenter: Sam3Segmenter,
) -> None:
    calls = iter(range(1000))

    def before(*_: object) -> None:
        if next(calls) in {6, 7}:
            raise torch.OutOfMemoryError("no memory is left")

    attention = segmenter.network.model.tracker_model.memory_attention
    hook = attention.register_forward_pre_hook(before)
    session = _session(segmenter)
    results = session.step(FILM[:20], _never) + session.flush()
    hook.remove()
    assert [one.index for one in results] == list(range(20))
    assert SMALLER_STEPS in {told for one in results for told in one.warnings}


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_the_operators_find_on_the_device_what_they_find_on_a_cpu(device: str) -> None:
    generator = torch.Generator().manual_seed(5)
    masks = (torch.rand(6, 1, 72, 72, generator=generator) < 0.5).to(torch.uint8)
    ious, scores = torch.rand(40, 40, generator=generator), torch.rand(40, generator=generator)
    operators = PlainOperators()
    _, areas = operators.cc_2d(masks.to(device))
    assert torch.equal(areas.cpu(), operators.cc_2d(masks)[1])
    kept = operators.generic_nms(ious.to(device), scores.to(device), 0.9)
    assert torch.equal(kept.cpu(), operators.generic_nms(ious, scores, 0.9))
