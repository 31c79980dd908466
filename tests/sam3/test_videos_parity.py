"""Videos: the same as transformers' own iterator where the differences are off.

The weights are random; what is compared is the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import (
    CALM,
    CONCEPTS,
    Seen,
    biggest,
    differing,
    follow,
    follow_plain,
    settle,
)
from workers.segmenters.sam3.differences import NONE, Differences

FRAMES = 60
HALF = 30
ROUNDING = 1e-5  # of the largest logit


@pytest.fixture(scope="module")
def calm(tiny_folder: Path) -> list[Seen]:
    """The film as transformers follows it, dropping nothing."""
    return follow_plain(tiny_folder, film(FRAMES), CONCEPTS, CALM)


def test_no_frame_differs_from_transformers(make_network: MakeNetwork, calm: list[Seen]) -> None:
    ours, _, _ = follow(settle(make_network(NONE), CALM), film(FRAMES), CONCEPTS)
    assert {len(frame.logits) for frame in calm} == {4}
    assert differing(ours, calm) == []
    assert [frame.scores for frame in ours] == [frame.scores for frame in calm]


def test_no_frame_differs_where_objects_are_judged_and_dropped(
    make_network: MakeNetwork, tiny_folder: Path
) -> None:
    judged: Mapping[str, Any] = {"det_nms_thresh": 0.0}
    plain = follow_plain(tiny_folder, film(HALF), CONCEPTS, judged)
    ours, _, session = follow(settle(make_network(NONE), judged), film(HALF), CONCEPTS)
    assert any(one.removed for one in session.watched)
    assert differing(ours, plain) == []


def test_objects_tracked_together_on_frames_looked_up_ahead_differ_by_rounding_only(
    make_network: MakeNetwork, calm: list[Seen]
) -> None:
    network = settle(make_network(Differences(choose_memory=False), batch=8), CALM)
    ours, _, _ = follow(network, film(HALF), CONCEPTS)
    assert differing(ours, calm[:HALF], ROUNDING * biggest(calm)) == []


def test_each_frame_has_the_trackers_score_of_that_frame(
    make_network: MakeNetwork, calm: list[Seen]
) -> None:
    network = settle(make_network(replace(NONE, frame_scores=True)), CALM)
    ours, _, _ = follow(network, film(HALF), CONCEPTS)
    told = [[frame.scores[1] for frame in seen[1:HALF]] for seen in (ours, calm)]
    assert len(set(told[0])) > 1
    assert len(set(told[1])) == 1
