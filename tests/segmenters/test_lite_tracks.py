from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
import pytest

from workers.segmenters.base import Box, Rgb
from workers.segmenters.lite.motion import Grey, carried, flow_between, grey_of, is_cut
from workers.segmenters.lite.tracks import Candidate, Track, is_new, matches, remaining, soft_of

SHAPE = (60, 80)


def track(box: Box, object_id: int = 1, label: str = "dog", noun: str | None = "dog") -> Track:
    mask = np.zeros(SHAPE, np.bool_)
    mask[int(box.y_min) : int(box.y_max), int(box.x_min) : int(box.x_max)] = True
    return Track(object_id, label, noun, 0.8, soft_of(mask))


def candidate(box: Box, label: str = "dog") -> Candidate:
    return Candidate(label, label, 0.7, box)


LEFT, RIGHT = Box(0, 10, 30, 50), Box(45, 10, 75, 50)


def test_a_track_goes_on_with_the_detection_that_overlaps_it_most() -> None:
    tracks = [track(LEFT, 1), track(RIGHT, 2)]
    nearer, further = Box(47, 10, 77, 50), Box(55, 10, 80, 50)
    found = matches(tracks, [candidate(further), candidate(nearer), candidate(LEFT)])
    assert found == {0: 2, 1: 1}


def test_a_track_does_not_go_on_with_another_label_unless_the_client_showed_it() -> None:
    assert matches([track(LEFT)], [candidate(LEFT, "cat")]) == {}
    assert matches([track(LEFT, noun=None)], [candidate(LEFT, "cat")]) == {0: 0}


def test_a_part_of_a_followed_object_is_no_new_object() -> None:
    part = candidate(Box(5, 15, 20, 30))
    assert not is_new(part, [track(LEFT)])
    assert is_new(part, [track(LEFT, label="cat")])
    assert is_new(candidate(RIGHT), [track(LEFT)])


def test_an_object_missed_twice_is_dropped_and_an_unsure_one_at_once() -> None:
    seen = track(LEFT)
    once = seen.missed()
    assert remaining([seen, once]) == [seen, once]
    assert remaining([once.missed()]) == []
    assert remaining([replace(seen, confirmed=False).missed()]) == []


def test_an_object_that_the_client_showed_stays_until_nothing_is_left_of_it() -> None:
    shown = track(LEFT, noun=None)
    missed = shown.missed().missed().missed()
    assert remaining([missed]) == [missed]
    assert remaining([replace(shown, soft=np.zeros_like(shown.soft))]) == []


def test_a_new_look_confirms_an_object_and_keeps_its_best_score() -> None:
    unsure = replace(track(LEFT), confirmed=False, misses=1)
    seen = unsure.seen(track(RIGHT).mask, 0.6)
    assert (seen.confirmed, seen.misses, seen.score, seen.box) == (True, 0, 0.8, RIGHT)


@pytest.fixture(scope="session")
def greys(stills: dict[str, Rgb]) -> list[Grey]:
    """Every still at one size."""
    return [
        grey_of(np.asarray(cv2.resize(still, (640, 360)), np.uint8)) for still in stills.values()
    ]


def test_motion_carries_a_mask_along(greys: list[Grey]) -> None:
    before, now = (np.ascontiguousarray(greys[2][:, at : at + 600]) for at in (0, 8))
    mask = np.zeros_like(before)
    mask[100:200, 200:300] = 255
    moved = carried(mask, flow_between(before, now)) >= 128
    assert moved[110:190, 202:282].all()
    assert not moved[110:190, 305:].any()


def test_a_cut_between_any_two_stills_is_seen(greys: list[Grey]) -> None:
    for before, now in combinations(greys, 2):
        assert is_cut(before, now, flow_between(before, now))


def test_neither_a_fast_pan_nor_a_flash_is_a_cut(greys: list[Grey]) -> None:
    for grey in greys:
        before, now = (np.ascontiguousarray(grey[:, at : at + 580]) for at in (0, 60))
        assert not is_cut(before, now, flow_between(before, now))
        flash = np.clip(grey * 1.5, 0, 255).astype(np.uint8)
        assert not is_cut(grey, flash, flow_between(grey, flash))
