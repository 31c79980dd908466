from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from visionseg.contract.errors import ErrorCode, Refusal
from workers.masks import Mask, decode
from workers.media.clips import SCRIPTS, compose
from workers.segmenters.base import (
    Box,
    FrameBox,
    FramePoint,
    FrameResult,
    Point,
    Rgb,
    SessionOptions,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.lite.following import FollowingSession
from workers.segmenters.lite.regions import mask_box, mask_overlap
from workers.segmenters.lite.segmenter import LiteSegmenter

Film = tuple[list[Rgb], list[list[Mask]]]
BOTH = VideoPrompts(("person", "cat"))
FRAMES = 12
CAT = Point(500, 260)


@pytest.fixture(scope="module")
def film(stills: dict[str, Rgb]) -> Film:
    """A person and a cat drawing near to each other: frames, and masks in the order cat, person."""
    pairs = list(compose(stills, SCRIPTS["astronaut and cat"], FRAMES))
    return [picture for picture, _ in pairs], [masks for _, masks in pairs]


@pytest.fixture(scope="module")
def whole(lite: LiteSegmenter, film: Film) -> list[FrameResult]:
    """The film followed in one go."""
    return follow(lite, film[0], BOTH)


def follow(
    lite: LiteSegmenter,
    frames: Sequence[Rgb],
    prompts: VideoPrompts,
    options: SessionOptions | None = None,
) -> list[FrameResult]:
    session = lite.open_session(prompts, options or SessionOptions())
    results = session.step(frames, lambda: False) + session.flush()
    session.close()
    return results


def ids_of(results: Sequence[FrameResult]) -> list[list[int]]:
    return [[one.object_id for one in result.instances] for result in results]


def overlaps(results: Sequence[FrameResult], label: str, truth: Sequence[Mask]) -> list[float]:
    return [
        max(
            (mask_overlap(decode(one.mask), mask) for one in got.instances if one.label == label),
            default=0.0,
        )
        for got, mask in zip(results, truth, strict=True)
    ]


def test_objects_are_found_on_the_first_frame_and_keep_their_ids(whole: list[FrameResult]) -> None:
    assert [result.index for result in whole] == list(range(FRAMES))
    assert ids_of(whole) == [[1, 2]] * FRAMES


def test_masks_stay_on_their_objects(whole: list[FrameResult], film: Film) -> None:
    for column, label in enumerate(("cat", "person")):
        found = overlaps(whole, label, [masks[column] for masks in film[1]])
        assert np.mean(found) > 0.85
        assert min(found) > 0.7


@pytest.mark.parametrize("cuts", [(1, 5), (7, 8)])
def test_a_session_goes_on_from_its_state_exactly_as_if_never_interrupted(
    lite: LiteSegmenter, film: Film, whole: list[FrameResult], cuts: tuple[int, ...]
) -> None:
    results: list[FrameResult] = []
    state = None
    for first, last in zip((0, *cuts), (*cuts, FRAMES), strict=True):
        session = lite.open_session(BOTH, SessionOptions(), state)
        results += session.step(film[0][first:last], lambda: False)
        state = session.state()
        session.close()
    assert results == whole


def test_following_without_detection_between_splits_exactly_too(
    lite: LiteSegmenter, film: Film
) -> None:
    box = mask_box(film[1][0][0])
    assert box is not None
    prompts = VideoPrompts(boxes=(FrameBox(0, 7, box),))
    at_once = follow(lite, film[0][:9], prompts)
    first = lite.open_session(prompts, SessionOptions())
    split = first.step(film[0][:4], lambda: False)
    second = lite.open_session(prompts, SessionOptions(), first.state())
    assert split + second.step(film[0][4:9], lambda: False) == at_once
    assert ids_of(at_once) == [[7]] * 9


@pytest.mark.parametrize("state", [b"", b"nonsense", b"PK\x03\x04 not an archive"])
def test_a_foreign_state_is_refused(lite: LiteSegmenter, state: bytes) -> None:
    with pytest.raises(ValueError, match="embedded/lite"):
        lite.open_session(BOTH, SessionOptions(), state)


def test_a_scene_cut_ends_every_object_and_new_ones_begin(
    lite: LiteSegmenter, film: Film, stills: dict[str, Rgb]
) -> None:
    other = [picture for picture, _ in compose(stills, SCRIPTS["cat"], 2)]
    results = follow(lite, [film[0][0], *other], BOTH)
    assert ids_of(results) == [[1, 2], [3], [3]]


def test_a_shown_object_keeps_the_id_given_and_found_ones_take_others(
    lite: LiteSegmenter, film: Film
) -> None:
    prompts = VideoPrompts(("person",), points=(FramePoint(2, 4, CAT),))
    results = follow(lite, film[0][:4], prompts)
    assert ids_of(results) == [[5]] * 2 + [[4, 5]] * 2
    cat = [masks[0] for masks in film[1]][2:4]
    assert min(overlaps(results[2:], "object", cat)) > 0.8


def test_an_object_shown_and_named_is_found_once(lite: LiteSegmenter, film: Film) -> None:
    prompts = VideoPrompts(("cat",), points=(FramePoint(0, 1, CAT),))
    assert ids_of(follow(lite, film[0][:6], prompts)) == [[1]] * 6


def test_a_later_click_corrects_the_mask_of_its_object(lite: LiteSegmenter, film: Film) -> None:
    clicks = (
        FramePoint(0, 1, CAT),
        FramePoint(2, 1, Point(300, 40)),
        FramePoint(2, 1, Point(450, 220, positive=False)),
    )
    results = follow(lite, film[0][:3], VideoPrompts(points=clicks))
    corrected = decode(results[2].instances[0].mask)
    assert corrected[40, 300]
    assert not corrected[220, 450]


def test_a_negative_click_on_nothing_shows_nothing(lite: LiteSegmenter, film: Film) -> None:
    clicks = (FramePoint(0, 1, Point(CAT.x, CAT.y, positive=False)),)
    assert ids_of(follow(lite, film[0][:2], VideoPrompts(points=clicks))) == [[], []]


def test_without_propagation_every_frame_counts_its_objects_from_one(
    lite: LiteSegmenter, film: Film
) -> None:
    options = SessionOptions(propagate=False)
    results = follow(lite, film[0][:3], BOTH, options)
    assert ids_of(results) == [[1, 2]] * 3
    session = lite.open_session(BOTH, options)
    first = session.step(film[0][:1], lambda: False)
    rest = lite.open_session(BOTH, options, session.state()).step(film[0][1:3], lambda: False)
    assert first + rest == results


def test_without_propagation_a_click_tells_about_its_frame_only(
    lite: LiteSegmenter, film: Film
) -> None:
    prompts = VideoPrompts(("person",), points=(FramePoint(1, 1, CAT),))
    results = follow(lite, film[0][:3], prompts, SessionOptions(propagate=False))
    assert ids_of(results) == [[1], [1, 2], [1]]
    assert [one.label for one in results[1].instances] == ["object", "person"]


@pytest.mark.parametrize("propagate", [True, False])
def test_a_prompt_outside_the_frames_is_refused_on_the_first(
    lite: LiteSegmenter,
    film: Film,
    propagate: bool,
) -> None:
    prompts = VideoPrompts(boxes=(FrameBox(9, 1, Box(700, 0, 800, 50)),))
    with pytest.raises(Refusal) as refused:
        follow(lite, film[0][:1], prompts, SessionOptions(propagate=propagate))
    assert refused.value.code is ErrorCode.PROMPT_OUTSIDE


def test_an_unknown_word_is_refused_before_any_frame(lite: LiteSegmenter) -> None:
    with pytest.raises(Refusal) as refused:
        lite.open_session(VideoPrompts(("unicorn",)), SessionOptions())
    assert refused.value.code is ErrorCode.UNSUPPORTED_PROMPT


def test_a_session_stops_between_frames(lite: LiteSegmenter, film: Film) -> None:
    session = lite.open_session(BOTH, SessionOptions())
    with pytest.raises(Stopped):
        session.step(film[0][:2], lambda: True)


def test_what_a_session_holds_does_not_grow_with_the_frames(
    lite: LiteSegmenter, film: Film
) -> None:
    session = lite.open_session(BOTH, SessionOptions())
    assert isinstance(session, FollowingSession)
    sizes = []
    for frame in film[0][:6]:
        session.step([frame], lambda: False)
        sizes.append(sum(track.soft.nbytes for track in session._now.tracks))
    assert set(sizes) == {2 * 360 * 640}


def test_tiny_frames_are_followed(lite: LiteSegmenter) -> None:
    blank = np.full((4, 4, 3), 127, np.uint8)
    prompts = VideoPrompts(("dog",), points=(FramePoint(0, 1, Point(1, 1)),))
    assert len(follow(lite, [blank] * 3, prompts)) == 3
