"""Which frames an object remembers: those on which it was seen well, as Meta's code chooses them.

`theirs` tells the rule over a whole history that forgets nothing.
"""

from __future__ import annotations

import random
from collections.abc import Container, Sequence
from dataclasses import replace

import pytest
import torch

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, THRESHOLD, Watched, never, settle
from workers.segmenters.base import FrameResult, SessionOptions, VideoPrompts
from workers.segmenters.sam3 import together
from workers.segmenters.sam3.differences import NONE
from workers.segmenters.sam3.memory import (
    LEAST_WORTH,
    MAPS_KEPT,
    POINTERS_KEPT,
    WORTH,
    FlatSession,
    Output,
)
from workers.segmenters.sam3.network import Network

CHOOSING = replace(NONE, together=True, choose_memory=True)
RECENT = replace(NONE, together=True)
ASKED = VideoPrompts(CONCEPTS, threshold=THRESHOLD)
POOR = range(4, 14)
"""Frames on which no object is seen well."""


def _theirs(worth: Sequence[float], frame: int) -> tuple[dict[int, int], dict[int, int]]:
    """The frames read on `frame`, by rank: of memory maps, and of pointers."""
    good = [one for one in range(1, frame) if worth[one] > LEAST_WORTH][1 - POINTERS_KEPT :]
    valid = good if frame - 1 in good else [*good, frame - 1]
    maps = {rank: valid[-rank] for rank in range(1, MAPS_KEPT + 1) if rank <= len(valid)}
    return maps, {rank: valid[-rank] for rank in range(1, POINTERS_KEPT) if rank < len(valid)}


def _output(worth: float) -> Output:
    names = ("object_pointer", "maskmem_features", "maskmem_pos_enc")
    return {WORTH: torch.tensor(worth), **{name: torch.zeros(1) for name in names}}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_the_frames_that_are_kept_are_those_that_a_full_history_would_give(share: float) -> None:
    chance = random.Random(7)
    worth = [0.5 if chance.random() < share else LEAST_WORTH / 2 for _ in range(120)]
    session = FlatSession(torch.device("cpu"))
    session.obj_id_to_idx(1)
    tracked: dict[int, Output] = session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    for frame in range(1, len(worth)):
        if frame > 1:
            maps, pointers = _theirs(worth, frame)
            read = together._chosen(tracked, frame)
            assert {rank: read.maps[rank] is tracked[one] for rank, one in maps.items()} == (
                dict.fromkeys(maps, True)
            )
            assert read.maps.keys() == maps.keys()
            assert all("maskmem_features" in output for output in read.maps.values())
            assert read.pointers.keys() == pointers.keys()
            assert all(read.pointers[rank] is tracked[one] for rank, one in pointers.items())
        tracked[frame] = _output(worth[frame])
        session.forget(frame, 8, CHOOSING)
        assert len(tracked) <= POINTERS_KEPT
        assert sum("maskmem_features" in output for output in tracked.values()) <= MAPS_KEPT


def _spoil(monkeypatch: pytest.MonkeyPatch, poor: Container[int]) -> None:
    """Makes every object badly seen on the poor frames and well seen on all others."""
    track = together.track

    def tracked(*given: object, chosen: bool) -> object:
        found = track(*given, chosen=chosen)  # type: ignore[arg-type]
        session, frame = given[1], given[2]
        assert isinstance(session, FlatSession)
        for outputs in session.output_dict_per_obj.values():
            output = outputs["non_cond_frame_outputs"][frame]
            assert (WORTH in output) == chosen
            if chosen:
                output[WORTH] = torch.tensor(0.0 if frame in poor else 0.9)
        return found

    monkeypatch.setattr(together, "track", tracked)


def _remembered(network: Network) -> tuple[list[FrameResult], list[int]]:
    session = Watched(network, "tiny", ASKED, SessionOptions(1), None)
    results = session.step(film(16), never) + session.flush()
    outputs = session._now.session.output_dict_per_obj[0]["non_cond_frame_outputs"]
    return results, sorted(outputs)


def test_frames_on_which_an_object_was_hardly_seen_are_not_remembered(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for differences, poor in ((CHOOSING, POOR), (CHOOSING, ()), (RECENT, POOR)):
        with monkeypatch.context() as patch:
            _spoil(patch, poor)
            found.append(_remembered(settle(make_network(differences), CALM)))
    (chosen, kept), (unspoilt, _), (recent, all_frames) = found
    assert kept == [1, 2, 3, 14, 15]
    assert all_frames == list(range(1, 16))
    assert chosen[:6] == unspoilt[:6]  # frame 5 reads the frame before, whatever it is worth
    assert chosen[6:] != unspoilt[6:]
    assert chosen != recent


@pytest.mark.parametrize(
    ("chosen", "maps", "pointers"),
    [(True, (0, 4, 3, 2, 1), (15, 1, 2, 3)), (False, (0, 1), (15, 1, 12, 13, 14))],
)
def test_chosen_frames_are_read_by_their_rank_and_recent_ones_by_their_age(
    chosen: bool, maps: tuple[int, ...], pointers: tuple[int, ...]
) -> None:
    outputs = {
        "cond_frame_outputs": {0: _output(1.0)},
        "non_cond_frame_outputs": {frame: _output(1.0) for frame in (1, 2, 3, 14)},
    }
    reading = together._reading(0, outputs, 15, chosen=chosen)
    assert (reading.ages, reading.pointer_ages) == (maps, pointers)


def test_what_a_frame_is_worth_is_how_sure_the_object_is_times_how_well_its_mask_fits() -> None:
    scores = torch.tensor([-2.0, 0.0, 2.0, 8.0])
    fits = torch.tensor([0.9, 0.9, 0.5, 0.8])
    tracked = together.Tracked(torch.zeros(4, 1, 1), scores, torch.zeros(4, 1), fits)
    sure = 2 * torch.sigmoid(torch.tensor([2.0, 8.0])) - 1
    assert tracked.worth.tolist() == pytest.approx([0, 0, *(sure * fits[2:]).tolist()])


def test_pieces_with_chosen_memory_are_bit_identical_to_one(
    make_network: MakeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = settle(make_network(CHOOSING), CALM)
    _spoil(monkeypatch, POOR)
    found: list[tuple[list[FrameResult], bytes]] = []
    for piece in (20, 5):
        results, state = list[FrameResult](), None
        for first in range(0, 20, piece):
            session = Watched(network, "tiny", ASKED, SessionOptions(1), state)
            results += session.step(film(20)[first : first + piece], never)
            state = session.state()
        assert state is not None
        found.append((results, state))
    assert found[0] == found[1]
