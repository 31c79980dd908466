"""A long video takes no more memory than a short one, in the state or in the process."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from tests.fakes.tiny_sam3 import film
from tests.sam3.conftest import MakeNetwork
from tests.sam3.films import CALM, CONCEPTS, THRESHOLD, never, settle
from workers.segmenters.base import SessionOptions, VideoPrompts
from workers.segmenters.sam3.following import FollowingSession
from workers.segmenters.sam3.memory import outputs_of

OBJECTS = 6
ASKED = VideoPrompts(CONCEPTS, threshold=THRESHOLD)
MOST_GROWTH_BYTES = 20_000_000
"""Noise of the allocator over 1,400 frames; one object's memory maps alone would be 60 MB."""


def _tensors(session: FollowingSession) -> int:
    """Bytes of the state, without the decimal numbers in its metadata."""
    state = session.state()
    return len(state) - 8 - int.from_bytes(state[:8], "little")


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _sizes(session: FollowingSession, counts: list[int]) -> list[tuple[int, int]]:
    """Bytes of the state and of the process after so many frames."""
    made, sizes = itertools.cycle(film(96)), list[tuple[int, int]]()
    for number in range(1, counts[-1] + 1):
        session.step([next(made)], never)
        if number in counts:
            sizes.append((_tensors(session), _resident()))
    return sizes


def _session(make_network: MakeNetwork) -> FollowingSession:
    network = settle(make_network(), CALM, most=OBJECTS)
    return FollowingSession(network, "tiny", ASKED, SessionOptions(30), None)


def test_the_state_of_six_objects_is_as_large_after_70_frames_as_after_35(
    make_network: MakeNetwork,
) -> None:
    session = _session(make_network)
    (early, _), (late, _) = _sizes(session, [35, 70])
    assert early == late
    assert len({place for place, *_ in outputs_of(session._now.session)}) == OBJECTS


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells the size so")
def test_neither_state_nor_process_grows_between_frame_100_and_frame_1500(
    make_network: MakeNetwork,
) -> None:
    session = _session(make_network)
    (early, begun), (late, ended) = _sizes(session, [100, 1500])
    assert early == late
    assert ended - begun < MOST_GROWTH_BYTES
