"""The quick segmenter as a worker program loads it; some nouns make it misbehave.

One noun is for the embedded model itself, which is loaded when first asked for.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Protocol

import structlog

from tests.fakes.segmenters import BrightSegmenter, BrightSession
from visionseg.config import Models
from visionseg.contract.models import LITE
from workers.segmenters.base import (
    FrameResult,
    ImagePrompts,
    Instance,
    Rgb,
    Segmenter,
    Session,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.lite import loading as lite

FATAL_FRAME = 12
FRAME_S = 0.06
PICTURE_S = 2.0
OUT_OF_REACH = "out_of_reach"
LOADING = "fake_model_loading"
LOAD_VARIABLE = "VISIONSEG_TEST_LOAD_S"
TOGETHER_VARIABLE = "VISIONSEG_TEST_TOGETHER"


class Noun(StrEnum):
    """What to ask for. The embedded model's own nouns, since no others are let in."""

    ORDINARY = "person"
    SLOW = "elephant"
    FATAL = "scissors"
    DEAF = "clock"
    GRASPING = "stop sign"
    REAL = "cat"


class Misbehaviour(Protocol):
    """What a noun does to the process before the frame of that number."""

    def __call__(self, frame: int, seconds: float, should_stop: ShouldStop) -> None:
        """Returns at its time, or not at all."""


def _take_long(frame: int, seconds: float, should_stop: ShouldStop) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if should_stop():
            raise Stopped
        time.sleep(0.01)


def _die(frame: int, seconds: float, should_stop: ShouldStop) -> None:
    if frame == FATAL_FRAME:
        os.kill(os.getpid(), signal.SIGKILL)


def _tell_of_the_end() -> None:
    structlog.get_logger().info(OUT_OF_REACH, pid=os.getpid())


def _ignore_stops(frame: int, seconds: float, should_stop: ShouldStop) -> None:
    _tell_of_the_end()
    while True:
        pass


def _hold_the_interpreter(frame: int, seconds: float, should_stop: ShouldStop) -> None:
    _tell_of_the_end()
    ctypes.PyDLL(None).sleep(600)  # unlike CDLL, a PyDLL call keeps the interpreter's lock


MISBEHAVIOURS: Mapping[str, Misbehaviour] = {
    Noun.SLOW: _take_long,
    Noun.FATAL: _die,
    Noun.DEAF: _ignore_stops,
    Noun.GRASPING: _hold_the_interpreter,
}


def _misbehave(label: str, frame: int, seconds: float, should_stop: ShouldStop) -> None:
    if label in MISBEHAVIOURS:
        MISBEHAVIOURS[label](frame, seconds, should_stop)


class MoodySession(BrightSession):
    """Follows the bright object, as its noun lets it."""

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        for number in range(self.seen, self.seen + len(frames)):
            _misbehave(self.label, number, FRAME_S, should_stop)
        return super().step(frames, should_stop)


class MoodySegmenter(BrightSegmenter):
    """Finds what is bright, as its noun lets it; what is real, the embedded model finds."""

    def __init__(self, settings: Models) -> None:
        self._settings = settings
        self.pictures_at_once = int(os.environ.get(TOGETHER_VARIABLE) or 1)

    @cached_property
    def _real(self) -> Segmenter:
        return lite.load(self._settings, LITE)

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        return [
            self._find(image, asked, should_stop)
            for image, asked in zip(images, prompts, strict=True)
        ]

    def _find(self, image: Rgb, asked: ImagePrompts, should_stop: ShouldStop) -> list[Instance]:
        if asked.concepts == (Noun.REAL,):
            return self._real.segment([image], [asked], should_stop)[0]
        _misbehave(", ".join(asked.concepts), FATAL_FRAME, PICTURE_S, should_stop)
        return super().segment([image], [asked], should_stop)[0]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        if prompts.concepts == (Noun.REAL,):
            return self._real.open_session(prompts, options, state)
        calm = super().open_session(prompts, options, state)
        assert isinstance(calm, BrightSession)
        return MoodySession(calm.label, calm.delay, calm.seen)


def load(settings: Models, _name: str) -> MoodySegmenter:
    """What stands in the registry of engines instead of the real model's `load`.

    It takes as many seconds as `LOAD_VARIABLE` says.
    """
    structlog.get_logger().info(LOADING, pid=os.getpid())
    time.sleep(float(os.environ.get(LOAD_VARIABLE) or 0))
    return MoodySegmenter(settings)
