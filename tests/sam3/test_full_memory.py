"""What is done where the GPU's memory is full. Here it is said to be, at chosen calls of the model.

A shortage that passes changes nothing; one that stays is met by smaller steps, which are told.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, THRESHOLD, Watched, never, settle
from workers.segmenters.base import FrameResult, ImagePrompts, SessionOptions, VideoPrompts
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.relief import (
    FEWER_OBJECTS,
    MOST_OBJECTS,
    SMALLER_STEPS,
    in_batches,
)
from workers.segmenters.sam3.segmenter import Sam3Segmenter

FILM = film(10)
ASKED = VideoPrompts(CONCEPTS, threshold=THRESHOLD)


@dataclass(frozen=True)
class Part:
    """A part of the model, and how many frames or objects go through it in one call."""

    of: Callable[[Any], torch.nn.Module]
    count: Callable[[tuple[Any, ...], dict[str, Any]], int]


PARTS = {
    "the vision encoder": Part(
        lambda model: model.detector_model.vision_encoder, lambda given, _: len(given[0])
    ),
    "the detector": Part(
        lambda model: model.detector_model, lambda _, named: len(named["attention_mask"])
    ),
    "the tracker": Part(
        lambda model: model.tracker_model.memory_attention,
        lambda _, named: int(named["memory"].shape[1]),
    ),
    "the memory encoder": Part(
        lambda model: model.tracker_model.memory_encoder, lambda given, _: len(given[0])
    ),
}


@contextmanager
def _shortage(
    network: Network, part: str, is_full: Callable[[int, int], bool]
) -> Iterator[list[int]]:
    """Says at calls of a part that memory is full; yields the numbers of the refused calls.

    `is_full` is asked with the call's number, from 1, and with how many go in at once.
    """
    refused: list[int] = []
    numbers = itertools.count(1)

    def before(_: object, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        number = next(numbers)
        if is_full(number, PARTS[part].count(given, named)):
            refused.append(number)
            raise torch.OutOfMemoryError("no memory is left")

    hook = PARTS[part].of(network.model).register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield refused
    finally:
        hook.remove()


def _follow(network: Network, asked: VideoPrompts = ASKED) -> tuple[list[FrameResult], Watched]:
    session = Watched(network, "tiny", asked, SessionOptions(1), None)
    return session.step(FILM, never) + session.flush(), session


def _told(results: Iterable[FrameResult]) -> list[str]:
    return [warning for result in results for warning in result.warnings]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("call", [1, 2, 5])
def test_a_shortage_that_passes_changes_no_bit(
    make_network: MakeNetwork, part: str, call: int
) -> None:
    network = settle(make_network(batch=2), CALM)
    undisturbed, _ = _follow(network)
    network.keep_pictures(1)
    with network.computing():
        network.look_at(FILM[:1], ["film"])  # what is kept of pictures is let go of first
    with _shortage(network, part, lambda number, _: number == call) as refused:
        disturbed, _ = _follow(network)
    assert refused == [call]
    assert disturbed == undisturbed


@pytest.mark.parametrize("part", PARTS)
def test_a_shortage_that_stays_is_met_by_smaller_steps_and_told(
    make_network: MakeNetwork, part: str
) -> None:
    """Memory is enough for one frame and one object at a time."""
    network = settle(make_network(batch=4), CALM)
    undisturbed, _ = _follow(network)

    with _shortage(network, part, lambda _, count: count > 1) as refused:
        results, session = _follow(network)
    assert refused
    assert _told(results) == [SMALLER_STEPS] * len(_told(results)) != []
    assert session._relief.ahead == 1
    assert (session._relief.at_once == 1) == (part in {"the tracker", "the memory encoder"})
    assert session._relief.most == MOST_OBJECTS
    assert _ids(results) == _ids(undisturbed)


def _ids(results: Iterable[FrameResult]) -> list[list[int]]:
    return [[one.object_id for one in result.instances] for result in results]


def test_where_no_smaller_step_is_enough_the_surest_objects_are_followed(
    make_network: MakeNetwork,
) -> None:
    """Memory is enough for two objects of all four."""
    network = settle(make_network(), CALM)
    undisturbed, whole = _follow(network)

    def is_full(number: int, _: int) -> bool:
        return number > 4 and len(session._now.session.obj_ids) > 2

    session = Watched(network, "tiny", ASKED, SessionOptions(1), None)
    with _shortage(network, "the tracker", is_full) as refused:
        results = session.step(FILM, never) + session.flush()
    assert refused
    assert results[:5] == undisturbed[:5]
    assert results[5].warnings == (SMALLER_STEPS,) * 4 + (FEWER_OBJECTS,)
    assert _told(results[6:]) == []
    assert all(len(frame.logits) == 4 for frame in session.watched[:5])
    kept = set(session.watched[5].logits)
    scores = whole._now.session.obj_id_to_score
    concepts = whole._now.session.obj_id_to_prompt_id
    assert len(kept) == 2
    for one in kept:
        rivals = [other for other in concepts if concepts[other] == concepts[one]]
        assert scores[one] >= max(
            (scores[other] for other in rivals if other not in kept), default=0
        )
    assert all(set(frame.logits) == kept for frame in session.watched[5:])


def test_a_gpu_without_room_for_one_frame_is_told_as_full_memory(make_network: MakeNetwork) -> None:
    network = settle(make_network(batch=4), CALM)
    session = Watched(network, "tiny", ASKED, SessionOptions(1), None)
    with (
        _shortage(network, "the vision encoder", lambda *_: True) as refused,
        pytest.raises(MemoryError),
    ):
        session.step(FILM, never)
    assert 3 < len(refused) < 20


def test_memory_maps_beside_the_gpu_give_the_same_masks(make_network: MakeNetwork) -> None:
    network = settle(make_network(), CALM)
    undisturbed, _ = _follow(network)
    session = Watched(network, "tiny", ASKED, SessionOptions(1), None)
    session._now.session.to_host()
    assert session.step(FILM, never) + session.flush() == undisturbed


@pytest.mark.parametrize("part", ["the vision encoder", "the detector"])
@pytest.mark.parametrize("room", [2, 1])
def test_pictures_go_in_smaller_batches_where_memory_is_full(
    make_network: MakeNetwork, part: str, room: int
) -> None:
    segmenter = Sam3Segmenter(make_network(batch=4), "tiny")
    asked = ImagePrompts(("person",), threshold=THRESHOLD)
    pictures = FILM[:5]
    undisturbed = segmenter.segment(pictures, [asked] * 5, never)
    segmenter.network.let_go()
    with _shortage(segmenter.network, part, lambda _, count: count > room) as refused:
        found = segmenter.segment(pictures, [asked] * 5, never)
    assert len(refused) == 4 // room // 2
    for one, other in zip(found, undisturbed, strict=True):
        assert [round(a.score, 2) for a in one] == [round(a.score, 2) for a in other]


@pytest.mark.parametrize("part", ["the vision encoder", "the detector"])
def test_a_picture_for_which_memory_is_not_enough_alone_is_told(
    make_network: MakeNetwork, part: str
) -> None:
    segmenter = Sam3Segmenter(make_network(batch=4), "tiny")
    asked = ImagePrompts(("person",), threshold=THRESHOLD)
    with (
        _shortage(segmenter.network, part, lambda *_: True),
        pytest.raises(MemoryError, match="no memory is left"),
    ):
        segmenter.segment(FILM[:5], [asked] * 5, never)


@pytest.mark.parametrize("part", ["the vision encoder", "the detector"])
def test_frames_apart_go_in_smaller_batches_and_say_so(
    make_network: MakeNetwork, part: str
) -> None:
    segmenter = Sam3Segmenter(make_network(batch=4), "tiny")
    session = segmenter.open_session(ASKED, SessionOptions(propagate=False))
    assert _told(session.step(FILM[:4], never)) == []
    with _shortage(segmenter.network, part, lambda _, count: count > 1):
        results = session.step(FILM[4:8], never)
    assert [one.index for one in results] == [4, 5, 6, 7]
    assert _told(results) == [SMALLER_STEPS] * 4
    assert _told(session.step(FILM[8:], never)) == []


def test_values_go_in_halves_until_they_fit() -> None:
    tried: list[int] = []

    def run(part: Sequence[int]) -> int:
        tried.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return sum(part)

    parts = list(in_batches(range(7), 5, run))
    assert tried == [5, 2, 2, 2, 1]
    assert [list(one.values) for one in parts] == [[0, 1], [2, 3], [4, 5], [6]]
    assert [one.result for one in parts] == [1, 5, 9, 6]
    assert all(one.narrowed for one in parts)
