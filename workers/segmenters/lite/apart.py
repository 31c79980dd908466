"""A video whose frames stand each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from workers.segmenters.base import (
    FrameResult,
    ImagePrompts,
    Instance,
    Rgb,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import combine
from workers.segmenters.lite.finder import LiteFinder, instance_of, shrunk
from workers.segmenters.lite.outlines import QUICK
from workers.segmenters.lite.regions import resized
from workers.segmenters.lite.scene import Models, Scene
from workers.segmenters.lite.shown import check_prompts, shown_on
from workers.segmenters.lite.state import Following, load_state, save_state

_LONGEST_SIDE = 640  # pixels: as when following, so that both modes see the same


class ApartSession:
    """Every frame by itself: objects shown keep their ids, the others count up from the first free.

    A click or a box tells about its own frame only.
    """

    def __init__(self, models: Models, prompts: VideoPrompts, state: bytes | None) -> None:
        self._models = models
        self._prompts = prompts
        self._now = Following(next_id=1) if state is None else load_state(state)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """The results of all frames given: none is held back."""
        return [self._result(frame, should_stop) for frame in frames]

    def flush(self) -> list[FrameResult]:
        """Nothing: no result is held back."""
        return []

    def state(self) -> bytes:
        """How many frames were taken in."""
        return save_state(self._now)

    def close(self) -> None:
        """Nothing is held."""

    def _result(self, frame: Rgb, should_stop: ShouldStop) -> FrameResult:
        if should_stop():
            raise Stopped
        shape = (frame.shape[0], frame.shape[1])
        if self._now.index == 0:
            check_prompts(self._prompts, shape)
        scene = Scene(self._models, shrunk(frame, _LONGEST_SIDE), should_stop)
        result = FrameResult(self._now.index, self._instances(scene, shape))
        self._now = replace(self._now, index=self._now.index + 1)
        return result

    def _instances(self, scene: Scene, shape: tuple[int, int]) -> tuple[Instance, ...]:
        shown = shown_on(scene, self._prompts, self._now.index, shape, {})
        drawn = [
            instance_of(resized(seen.mask, shape), max(0.01, seen.trust), label, object_id)
            for object_id, (label, seen) in sorted(shown.items())
        ]
        free = (number for number in count(1) if number not in shown)
        asked = ImagePrompts(self._prompts.concepts, threshold=self._prompts.threshold)
        found = combine(LiteFinder(scene, shape, QUICK), asked) if asked.concepts else []
        drawn += [one.instance(shape, number) for one, number in zip(found, free, strict=False)]
        return tuple(instance for instance in drawn if instance.mask.area)
