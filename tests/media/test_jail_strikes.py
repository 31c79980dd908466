"""Children killed and frozen at any moment: the worker lives, and what it read is right."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.crews import until
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.decode import Wanted
from workers.media.jail import parents
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import read_frames, read_timeline, warm_up

Clip = Callable[[str], Path]
LIMITS = Limits(stall_s=20)


def children() -> list[int]:
    """The children of this process's nursery."""
    nursery = parents.parent().nursery_id()
    return [
        int(pid) for pid in Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()
    ]


@contextmanager
def strikes(signals: tuple[signal.Signals, ...], pause_s: float) -> Iterator[list[int]]:
    """Sends these to the first child that is there, after a pause; tells which it struck."""
    struck: list[int] = []

    def strike() -> None:
        until(lambda: over.is_set() or children())
        for number in signals:
            over.wait(pause_s)
            with suppress(ProcessLookupError, IndexError):
                struck.append(children()[0])
                os.kill(struck[-1], number)

    over = threading.Event()
    thread = threading.Thread(target=strike)
    warm_up(LIMITS.jail)
    thread.start()
    try:
        yield struck
    finally:
        over.set()
        thread.join()


def pictures(path: Path, limits: Limits = LIMITS) -> list[bytes]:
    plan, missing = select_frames(read_timeline(path, limits)), list[int]()
    wanted = Wanted(plan, range(len(plan)), Form.RGB)
    read = [frame.pixels.tobytes() for frame in read_frames(path, wanted, limits, missing)]
    assert not missing
    return read


@pytest.fixture(scope="module")
def pauses() -> list[float]:
    deal = random.Random(7)
    return [deal.uniform(0, 0.1) for _ in range(25)]


def test_a_child_killed_at_any_moment_may_be_tried_again(clip: Clip, pauses: list[float]) -> None:
    path = clip("cfr.mp4")
    whole, outcomes = pictures(path), set[str]()
    for pause_s in pauses:
        with strikes((signal.SIGKILL,), pause_s):
            try:
                outcomes.add("whole" if pictures(path) == whole else "less")
            except Refusal as refusal:
                outcomes.add(refusal.code)
    assert ErrorCode.OUT_OF_MEMORY in outcomes  # which is tried again
    assert outcomes <= {ErrorCode.OUT_OF_MEMORY, "whole"}
    assert pictures(path) == whole
    until(lambda: not children())


def test_a_child_frozen_for_a_while_goes_on_as_if_nothing_were(
    clip: Clip, pauses: list[float]
) -> None:
    path = clip("cfr.mp4")
    whole = pictures(path)
    for pause_s in pauses[:10]:
        with strikes((signal.SIGSTOP, signal.SIGCONT), pause_s):
            assert pictures(path) == whole


def test_a_child_frozen_for_good_is_timed_out_and_gone(clip: Clip) -> None:
    path, limits = clip("cfr.mp4"), replace(LIMITS, stall_s=1)
    plan = select_frames(read_timeline(path, LIMITS))
    frames = read_frames(path, Wanted(plan, range(100), Form.RGB), limits, [])
    first = next(frames).pixels
    (child,) = children()
    os.kill(child, signal.SIGSTOP)
    with pytest.raises(Refusal) as caught:
        list(frames)
    assert caught.value.code is ErrorCode.DECODE_TIMEOUT
    until(lambda: not children())
    np.testing.assert_array_equal(np.frombuffer(pictures(path)[0], np.uint8), first.reshape(-1))
