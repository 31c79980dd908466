"""Segmenters that are quick and exact, and one for each way to misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from workers.masks import encode
from workers.segmenters.base import (
    FrameResult,
    ImagePrompts,
    Instance,
    Origin,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)

BRIGHT = 128


def bright(image: Rgb, label: str, object_id: int = 0) -> list[Instance]:
    """One object: whatever is bright, if anything is."""
    mask = image.min(axis=2) >= BRIGHT
    if not mask.any():
        return []
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    sides = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    return [Instance(encode(mask), sides, 0.9, label, object_id)]


@dataclass
class BrightSession:
    """Follows the bright object; each result comes `delay` frames late.

    The score counts the frames the session has seen, so a session that lost its state shows.
    """

    label: str
    delay: int
    seen: int = 0
    held: list[FrameResult] = field(default_factory=list)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        for frame in frames:
            if should_stop():
                raise Stopped
            found = [
                Instance(one.mask, one.box, round(self.seen / 1000, 3), one.label, 1)
                for one in bright(frame, self.label)
            ]
            self.held.append(FrameResult(self.seen, tuple(found)))
            self.seen += 1
        ready = self.held[: len(self.held) - self.delay] if self.delay else self.held
        self.held = self.held[len(ready) :]
        return ready

    def flush(self) -> list[FrameResult]:
        ready, self.held = self.held, []
        return ready

    def state(self) -> bytes:
        return json.dumps({"seen": self.seen, "held": len(self.held)}).encode()

    def close(self) -> None:
        self.held = []


class BrightSegmenter:
    """Finds what is bright, at once."""

    name = "embedded/lite"
    version = "fake"
    origin = Origin("cpu", {"fake.bin": "00"})
    delay = 0
    pictures_at_once = 1

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        self.before_each(should_stop)
        return [
            bright(image, ", ".join(asked.concepts))
            for image, asked in zip(images, prompts, strict=True)
        ]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        session = BrightSession(", ".join(prompts.concepts), self.delay)
        if state is not None:
            session.seen = json.loads(state)["seen"]
        return session

    def cautions(self, concepts: Sequence[str]) -> list[str]:
        return []

    def before_each(self, should_stop: ShouldStop) -> None:
        """What a misbehaving one does first."""


class OutOfMemory(BrightSegmenter):
    """Has no memory left."""

    def before_each(self, should_stop: ShouldStop) -> None:
        raise MemoryError


class Broken(BrightSegmenter):
    """Has a bug."""

    def before_each(self, should_stop: ShouldStop) -> None:
        raise RuntimeError("a bug")


class Patient(BrightSegmenter):
    """Computes until it is told to stop, after calling `started`."""

    def __init__(self, started: Callable[[], None]) -> None:
        self._started = started

    def before_each(self, should_stop: ShouldStop) -> None:
        self._started()
        while not should_stop():
            pass
        raise Stopped


class ForgetfulSession(BrightSession):
    """Never tells what was on the last frame."""

    def flush(self) -> list[FrameResult]:
        super().flush()
        return []


class Forgetful(BrightSegmenter):
    """Swallows frames."""

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        return ForgetfulSession(", ".join(prompts.concepts), delay=1)


class SeesNothing(BrightSegmenter):
    """Finds nothing, ever."""

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        return [[] for _ in images]
