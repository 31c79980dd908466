"""Videos through the session's interface: delays, hand-over, marks, and what is remembered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, THRESHOLD, Watched, follow, never, settle
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
from workers.segmenters.sam3 import following, tracking
from workers.segmenters.sam3.differences import Differences
from workers.segmenters.sam3.following import LOOKS_AFTER_NEW, TOO_MANY, FollowingSession
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.relief import MOST_OBJECTS
from workers.segmenters.sam3.segmenter import Sam3Segmenter
from workers.segmenters.sam3.shown import marks_on

LENIENT = {"det_nms_thresh": 0.0, "hotstart_unmatch_thresh": 15, "hotstart_dup_thresh": 15}
"""Objects are judged, and most stay."""
ASKED = VideoPrompts(CONCEPTS, threshold=THRESHOLD)


def _session(
    network: Network, options: SessionOptions, state: bytes | None = None
) -> FollowingSession:
    return FollowingSession(network, "tiny", ASKED, options, state)


def _in_pieces(
    network: Network, frames: Sequence[object], piece: int, options: SessionOptions
) -> tuple[list[FrameResult], bytes]:
    """The results where each piece is followed by a session made from the last one's state."""
    results: list[FrameResult] = []
    state: bytes | None = None
    for first in range(0, len(frames), piece):
        session = _session(network, options, state)
        results += session.step(film(len(frames))[first : first + piece], never)
        state = session.state()
    assert state is not None
    return results + _session(network, options, state).flush(), state


@pytest.mark.parametrize("every", [1, 6])
def test_pieces_of_any_size_are_bit_identical_to_one(make_network: MakeNetwork, every: int) -> None:
    frames, options = film(34), SessionOptions(every)
    network = settle(make_network(batch=4), LENIENT)
    whole, state = _in_pieces(network, frames, len(frames), options)
    assert [one.index for one in whole] == list(range(34))
    assert sum(len(one.instances) for one in whole) > 34
    for piece in (7, 30):
        results, last = _in_pieces(network, frames, piece, options)
        assert results == whole
        assert last == state


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_long_film_in_pieces_is_bit_identical_to_one(make_network: MakeNetwork) -> None:
    frames, options = film(200), SessionOptions(30)
    network = settle(make_network(batch=8), LENIENT)
    whole, state = _in_pieces(network, frames, len(frames), options)
    for piece in (7, 30, 64):
        assert _in_pieces(network, frames, piece, options) == (whole, state)


def test_results_wait_until_they_are_confirmed(make_network: MakeNetwork) -> None:
    network = settle(make_network(), LENIENT)
    session = _session(network, SessionOptions(1))
    delay = network.model.hotstart_delay
    assert session.step(film(delay - 1), never) == []
    assert [one.index for one in session.step(film(delay + 1)[-2:], never)] == [0, 1]
    rest = session.flush()
    assert [one.index for one in rest] == list(range(2, delay + 1))
    assert session.flush() == []


def test_an_object_that_is_dropped_is_on_no_frame(make_network: MakeNetwork) -> None:
    network = settle(make_network(), {"det_nms_thresh": 0.0})
    _, results, session = follow(network, film(20), CONCEPTS)
    dropped = {one for frame in session.watched for one in frame.removed}
    told = {one.object_id for result in results for one in result.instances}
    assert dropped
    assert not dropped & told


def test_the_detector_looks_at_the_first_frame_after_new_objects_and_at_each_nth(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, looked = settle(make_network(), CALM), list[int]()
    session = _session(network, SessionOptions(20))
    detect = network.detect

    def counted(*given: object) -> object:
        looked.append(session._now.index)
        return detect(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(network, "detect", counted)
    session.step(film(24), never)
    assert sorted(set(looked)) == [*range(LOOKS_AFTER_NEW + 1), 20]


def test_the_threshold_of_a_new_object_is_over_that_of_one_followed(
    make_network: MakeNetwork,
) -> None:
    network = make_network()
    for threshold, new in ((0.5, 0.7), (0.9, 0.95), (0.99, 0.99)):
        prompts = VideoPrompts(CONCEPTS, threshold=threshold)
        FollowingSession(network, "tiny", prompts, SessionOptions(1), None).step(film(1), never)
        assert network.model.score_threshold_detection == threshold
        assert network.model.new_det_thresh == pytest.approx(new)


@pytest.mark.parametrize(("every", "refresh"), [(1, 16), (6, 18), (30, 30)])
def test_objects_are_refreshed_on_frames_that_the_detector_looks_at(
    make_network: MakeNetwork, every: int, refresh: int
) -> None:
    network = make_network()
    _session(network, SessionOptions(every)).step(film(1), never)
    assert network.model.recondition_every_nth_frame == refresh


def test_too_many_objects_are_left_out_with_a_warning(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "MOST_OBJECTS", 2)
    network = settle(make_network(), CALM, most=1000)
    _, results, _ = follow(network, film(2), ("person",))
    assert [len(one.instances) <= 2 for one in results] == [True, True]
    assert results[0].warnings == (TOO_MANY,)
    assert str(MOST_OBJECTS) in TOO_MANY


def test_objects_shown_are_followed_under_their_own_ids_and_told_at_once(
    segmenter: Sam3Segmenter,
) -> None:
    frames = film(6)
    prompts = VideoPrompts(
        points=(FramePoint(2, 9, Point(30, 20)), FramePoint(4, 9, Point(60, 40, positive=False))),
        boxes=(FrameBox(0, 5, Box(5, 5, 40, 40)),),
    )
    session = segmenter.open_session(prompts, SessionOptions(1))
    results = session.step(frames, never)
    assert [one.index for one in results] == list(range(6))
    ids = [{one.object_id for one in result.instances} for result in results]
    assert ids[0] == {5}
    assert all(found <= {5, 9} for found in ids)
    assert {one.label for result in results for one in result.instances} == {"object"}


def test_a_click_corrects_an_object_that_is_followed(segmenter: Sam3Segmenter) -> None:
    frames = film(4)
    boxes = (FrameBox(0, 5, Box(5, 5, 40, 40)),)
    masks = []
    for points in ((), (FramePoint(3, 5, Point(70, 45)),)):
        session = segmenter.open_session(
            VideoPrompts(points=points, boxes=boxes), SessionOptions(1)
        )
        results = session.step(frames, never)
        masks.append([[one.mask for one in result.instances] for result in results])
    assert masks[0][:3] == masks[1][:3]
    assert masks[0][3] != masks[1][3]


def test_of_several_boxes_for_one_object_the_last_box_counts() -> None:
    boxes = (FrameBox(0, 5, Box(5, 5, 40, 40)), FrameBox(0, 5, Box(1, 2, 30, 20)))
    assert marks_on(VideoPrompts(boxes=boxes), 0, (54, 96))[5].box == Box(1, 2, 30, 20)


def test_new_objects_have_ids_after_those_shown(make_network: MakeNetwork) -> None:
    network = settle(make_network(), {**CALM, "assoc_iou_thresh": 2.0})  # nothing is one object
    boxes = (FrameBox(0, 7, Box(5, 5, 10, 10)),)
    prompts = VideoPrompts(CONCEPTS, boxes=boxes, threshold=THRESHOLD)
    session = Watched(network, "tiny", prompts, SessionOptions(1), None)
    session.step(film(1), never)
    assert 7 in session.watched[0].logits
    assert min(set(session.watched[0].logits) - {7}) == 8


def test_a_detection_of_an_object_shown_is_no_second_object(make_network: MakeNetwork) -> None:
    network = settle(make_network(), CALM, most=1000)
    seen, _, _ = follow(network, film(1), ("person",))
    biggest = max(seen[0].logits.values(), key=lambda one: int((one > 0).sum()))
    frame = tracking.Frame(0, [], [], None, {1: biggest})
    network.model._frame = frame
    masks = torch.stack(list(seen[0].logits.values()))
    overlapping = [
        row for row, one in enumerate(masks) if int(((one > 0) & (biggest > 0)).sum()) > 0
    ]
    new, *_ = network.model._associate_det_trk(
        det_masks=masks,
        det_scores=torch.ones(len(masks)),
        trk_masks=torch.zeros(0, *masks.shape[1:]),
        trk_obj_ids=[],
        det_prompt_ids=torch.zeros(len(masks), dtype=torch.long),
        trk_prompt_ids=torch.zeros(0, dtype=torch.long),
    )
    assert overlapping
    assert len(new) < len(masks)


def test_frames_apart_are_what_pictures_are(make_network: MakeNetwork) -> None:
    segmenter = Sam3Segmenter(make_network(batch=2), "tiny")
    session = segmenter.open_session(ASKED, SessionOptions(propagate=False))
    results = session.step(film(3), never)
    assert [one.index for one in results] == [0, 1, 2]
    assert all({one.object_id for one in result.instances} for result in results)
    later = segmenter.open_session(ASKED, SessionOptions(propagate=False), session.state())
    assert [one.index for one in later.step(film(1), never)] == [3]


def test_a_foreign_state_is_refused(make_network: MakeNetwork) -> None:
    network = make_network()
    state = _session(network, SessionOptions(1)).state()
    with pytest.raises(ValueError, match="other"):
        FollowingSession(network, "other", ASKED, SessionOptions(1), state)
    for broken in (b"", b"not a state", state[:-3]):
        with pytest.raises(ValueError, match="facebook/sam3"):
            FollowingSession(network, "tiny", ASKED, SessionOptions(1), broken)


def test_a_stop_is_heard_and_a_mark_outside_is_refused(segmenter: Sam3Segmenter) -> None:
    session = segmenter.open_session(ASKED, SessionOptions(1))
    with pytest.raises(Stopped):
        session.step(film(1), lambda: True)
    session.close()
    outside = VideoPrompts(points=(FramePoint(0, 1, Point(999, 1)),))
    with pytest.raises(Refusal):
        segmenter.open_session(outside, SessionOptions(1)).step(film(1), never)


def test_masks_of_one_concept_share_no_pixel(make_network: MakeNetwork) -> None:
    _, results, _ = follow(settle(make_network(), CALM), film(3), ("person",))
    for result in results:
        layers = sum(decode(one.mask).astype(int) for one in result.instances)
        assert int(torch.as_tensor(layers).max()) <= 1


def test_frames_without_detection_are_no_evidence_against_an_object(
    make_network: MakeNetwork,
) -> None:
    """Else eight of them drop every object: `hotstart_unmatch_thresh`."""
    network = settle(make_network(), {"det_nms_thresh": 0.0, "hotstart_delay": 60})
    session = Watched(network, "tiny", ASKED, SessionOptions(30), None)
    session.step(film(1), never)
    began = set(session.watched[0].logits)
    session._now.looks_until = 0
    session.step(film(14)[1:], never)
    assert began
    assert set(session.watched[-1].logits) == began


def test_an_object_shown_needs_no_detection_to_stay(make_network: MakeNetwork) -> None:
    boxes = (FrameBox(0, 5, Box(5, 5, 40, 40)),)
    prompts = VideoPrompts(("person",), boxes=boxes, threshold=0.9)
    session = Watched(make_network(), "tiny", prompts, SessionOptions(1), None)
    session.step(film(14), never)
    assert all(set(frame.logits) == {5} for frame in session.watched)


def test_what_speaks_against_an_object_does_not_pile_up(make_network: MakeNetwork) -> None:
    session = _session(settle(make_network(), CALM), SessionOptions(1))
    session.step(film(1), never)
    remembered = session._now.session
    remembered.unmatched_frame_inds[1] = list(range(20))
    remembered.unmatched_frame_inds[999] = [1]
    remembered.overlap_pair_to_frame_inds[1, 2] = list(range(20))
    remembered.forget(0, 8, Differences())
    assert dict(remembered.unmatched_frame_inds) == {1: list(range(8))}
    assert dict(remembered.overlap_pair_to_frame_inds) == {(1, 2): list(range(8))}
