"""SAM 2.1 along videos: equal to plain transformers, bounded, handed on without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Sam2VideoModel, Sam2VideoProcessor

from tests.fakes.tiny_sam3 import film
from visionseg.contract.errors import Refusal
from workers.masks import decode
from workers.segmenters.base import (
    Box,
    FrameBox,
    FramePoint,
    FrameResult,
    Point,
    SessionOptions,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.sam2 import following, tracking
from workers.segmenters.sam2.following import MarksSession
from workers.segmenters.sam2.network import TrackerNetwork
from workers.segmenters.sam2.segmenter import Sam2Segmenter
from workers.segmenters.sam2.tracking import Tracked

FRAMES = film(24)
CLICK = FramePoint(0, 7, Point(12, 10))
AWAY = FramePoint(0, 7, Point(50, 45, positive=False))
BOX = FrameBox(0, 3, Box(30, 15, 50, 35))
MARKS = VideoPrompts(points=(CLICK, AWAY), boxes=(BOX,))
LATER = VideoPrompts(
    points=(CLICK, FramePoint(9, 7, Point(30, 20, positive=False))),
    boxes=(FrameBox(5, 3, Box(30, 15, 50, 35)), FrameBox(14, 7, Box(20, 10, 60, 40))),
)
TOLERANCE = 1e-3
"""Of logits as parts of the largest: objects go in other batches than in plain transformers."""


def _never() -> bool:
    return False


def _ids(results: list[FrameResult]) -> list[list[int]]:
    return [[one.object_id for one in result.instances] for result in results]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, Tensor]]:
    """The logits of each frame, as the session sees them."""
    seen: list[dict[int, Tensor]] = []
    plain = following._instances

    def noting(found: dict[int, Tracked], shown: dict[int, Tracked], size: Any) -> Any:
        seen.append({one: given.logits for one, given in {**found, **shown}.items()})
        return plain(found, shown, size)

    monkeypatch.setattr(following, "_instances", noting)
    return seen


def _plain(folder: Path) -> Iterator[dict[int, Tensor]]:
    """What transformers' own loop gives for `MARKS`."""
    model = Sam2VideoModel.from_pretrained(folder).eval()
    processor = Sam2VideoProcessor.from_pretrained(folder)
    session = processor.init_video_session(
        video=FRAMES, inference_device="cpu", dtype=torch.float32
    )
    processor.add_inputs_to_inference_session(
        session,
        frame_idx=0,
        obj_ids=[7],
        input_points=[[[[12, 10], [50, 45]]]],
        input_labels=[[[1, 0]]],
    )
    model(inference_session=session, frame_idx=0)
    processor.add_inputs_to_inference_session(
        session, frame_idx=0, obj_ids=[3], input_boxes=[[[30, 15, 50, 35]]]
    )
    model(inference_session=session, frame_idx=0)
    for output in model.propagate_in_video_iterator(session, start_frame_idx=0):
        yield dict(zip(output.object_ids, output.pred_masks[:, 0], strict=True))


def test_every_frame_is_that_of_plain_transformers(
    tiny_sam2: Path, segmenter: Sam2Segmenter, told: list[dict[int, Tensor]]
) -> None:
    with torch.inference_mode():
        theirs = list(_plain(tiny_sam2))
    segmenter.open_session(MARKS, SessionOptions()).step(FRAMES, _never)
    assert len(theirs) == len(told) == len(FRAMES)
    for ours, plain in zip(told, theirs, strict=True):
        assert set(ours) == set(plain) == {3, 7}
        for object_id, logits in plain.items():
            off = (ours[object_id] - logits).abs().max() / logits.abs().max()
            assert off < TOLERANCE


@pytest.mark.parametrize("prompts", [MARKS, LATER], ids=["shown at first", "shown later too"])
@pytest.mark.parametrize("cuts", [(8,), (1, 5, 6, 13, 22)], ids=str)
def test_a_session_handed_on_gives_the_same_to_the_bit(
    segmenter: Sam2Segmenter, prompts: VideoPrompts, cuts: tuple[int, ...]
) -> None:
    whole = segmenter.open_session(prompts, SessionOptions()).step(FRAMES, _never)
    pieces: list[FrameResult] = []
    state, begun = None, 0
    for end in (*cuts, len(FRAMES)):
        session = segmenter.open_session(prompts, SessionOptions(), state)
        pieces += session.step(FRAMES[begun:end], _never)
        assert session.flush() == []
        state, begun = session.state(), end
        session.close()
    assert pieces == whole


def test_ids_are_the_clients_and_an_object_begins_where_it_is_shown(
    segmenter: Sam2Segmenter,
) -> None:
    results = segmenter.open_session(LATER, SessionOptions()).step(FRAMES, _never)
    ids = _ids(results)
    assert [result.index for result in results] == list(range(len(FRAMES)))
    assert all(found == [7] for found in ids[:5])
    assert all(set(found) <= {3, 7} for found in ids)
    assert ids[5] == [3, 7]
    assert [one.label for one in results[5].instances] == ["object", "object"]


@pytest.fixture
def corrections(monkeypatch: pytest.MonkeyPatch) -> set[tuple[int, bool]]:
    """Frames with marks, and whether the mask so far goes in with them."""
    seen: set[tuple[int, bool]] = set()
    plain = tracking._infer

    def noting(model: Any, session: Any, frame: int, place: int, **given: Any) -> Any:
        if given:
            seen.add((frame, given["before"] is not None))
        return plain(model, session, frame, place, **given)

    monkeypatch.setattr(tracking, "_infer", noting)
    return seen


def test_a_click_on_a_later_frame_corrects_and_a_box_draws_anew(
    segmenter: Sam2Segmenter, corrections: set[tuple[int, bool]]
) -> None:
    plain = VideoPrompts(points=LATER.points[:1], boxes=LATER.boxes[:1])
    without = segmenter.open_session(plain, SessionOptions()).step(FRAMES, _never)
    corrected = segmenter.open_session(LATER, SessionOptions()).step(FRAMES, _never)
    assert corrections == {(0, False), (5, False), (9, True), (14, False)}
    assert corrected[:9] == without[:9]
    assert corrected[9] != without[9]
    alone = VideoPrompts(boxes=(FrameBox(0, 7, LATER.boxes[1].box),))
    anew = segmenter.open_session(alone, SessionOptions()).step(FRAMES[14:15], _never)
    (drawn,) = [one for one in corrected[14].instances if one.object_id == 7]
    (expected,) = anew[0].instances
    assert (decode(drawn.mask) == decode(expected.mask)).mean() > 0.999


def test_memory_and_state_do_not_grow_with_the_video(network: TrackerNetwork) -> None:
    session = MarksSession(network, "v", MARKS, SessionOptions(), None)
    sizes, tensors = [], []
    for _ in range(4):
        session.step(FRAMES, _never)
        sizes.append(len(session.state()))
        outputs = session._now.session.output_dict_per_obj.values()
        tensors.append(sum(len(one) for kinds in outputs for one in kinds.values()))
    assert tensors[1:] == tensors[:-1]
    assert max(sizes) - min(sizes) < 200  # digits of the frames' numbers
    assert not session._now.session.processed_frames


def test_without_propagation_an_object_is_on_its_own_frames_only(
    segmenter: Sam2Segmenter,
) -> None:
    results = segmenter.open_session(LATER, SessionOptions(propagate=False)).step(FRAMES, _never)
    ids = _ids(results)
    assert {index: found for index, found in enumerate(ids) if found} == {0: [7], 5: [3], 14: [7]}


def test_a_negative_click_alone_begins_nothing(segmenter: Sam2Segmenter) -> None:
    prompts = VideoPrompts(points=(AWAY,))
    results = segmenter.open_session(prompts, SessionOptions()).step(FRAMES[:3], _never)
    assert _ids(results) == [[], [], []]


def test_wrong_states_and_marks_are_refused_and_a_stop_is_heard(segmenter: Sam2Segmenter) -> None:
    state = segmenter.open_session(MARKS, SessionOptions()).state()
    other = Sam2Segmenter(segmenter.name, segmenter.network, "other weights")
    with pytest.raises(ValueError, match=r"not a state of .* other weights"):
        other.open_session(MARKS, SessionOptions(), state)
    with pytest.raises(ValueError, match="not a state"):
        segmenter.open_session(MARKS, SessionOptions(), b"nonsense")
    outside = VideoPrompts(points=(FramePoint(3, 1, Point(900, 1)),))
    with pytest.raises(Refusal, match="outside"):
        segmenter.open_session(outside, SessionOptions()).step(FRAMES[:1], _never)
    with pytest.raises(Stopped):
        segmenter.open_session(MARKS, SessionOptions()).step(FRAMES, lambda: True)
    answers = iter([False, False, True])
    with pytest.raises(Stopped):
        segmenter.open_session(MARKS, SessionOptions()).step(FRAMES, lambda: next(answers))
