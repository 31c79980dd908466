"""A video whose frames stand each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from workers.segmenters.base import (
    FrameResult,
    Instance,
    Rgb,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import UNNAMED
from workers.segmenters.sam3.drawing import draw_never_empty
from workers.segmenters.sam3.features import Features
from workers.segmenters.sam3.finder import PictureFinder, tight_box
from workers.segmenters.sam3.network import Network
from workers.segmenters.sam3.relief import SMALLER_STEPS, in_batches
from workers.segmenters.sam3.shown import begun_by, check_prompts, marks_on


class ApartSession:
    """Every frame by itself: objects shown keep their ids, the others count up from the first free.

    A click or a box tells about its own frame only.
    """

    def __init__(self, network: Network, prompts: VideoPrompts, state: bytes | None) -> None:
        self._network = network
        self._prompts = prompts
        self._concepts = tuple(dict.fromkeys(prompts.concepts))
        self._index = 0 if state is None else _index_of(state)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """The results of all frames given: none is held back.

        Where the GPU's memory is full, fewer frames go in at once, and their `warnings` say so.
        """
        results: list[FrameResult] = []
        with self._network.computing():
            for block in in_batches(frames, self._network.batch, partial(self._take, should_stop)):
                narrowed = block.narrowed or self._network.narrowed
                results += [
                    replace(one, warnings=(SMALLER_STEPS,)) if narrowed else one
                    for one in block.result
                ]
                self._index += len(block.values)
        return results

    def flush(self) -> list[FrameResult]:
        """Nothing: no result is held back."""
        return []

    def state(self) -> bytes:
        """How many frames were taken in."""
        return str(self._index).encode()

    def close(self) -> None:
        """Nothing is held."""

    def _take(self, should_stop: ShouldStop, block: Sequence[Rgb]) -> list[FrameResult]:
        if should_stop():
            raise Stopped
        self._network.narrowed = False
        seen = self._network.look(self._network.pixels(block))
        rows = [seen.row(place) for place in range(len(block))]
        asked = [(row, concept, None) for row in rows for concept in self._concepts]
        detected = self._network.detect_all(asked)
        results = []
        for index, (row, frame) in enumerate(zip(rows, block, strict=True), self._index):
            size = (frame.shape[0], frame.shape[1])
            found = {concept: next(detected) for concept in self._concepts}
            finder = PictureFinder(self._network, row, size, found)
            results.append(FrameResult(index, self._instances(row, finder, index)))
        return results

    def _instances(self, row: Features, finder: PictureFinder, index: int) -> tuple[Instance, ...]:
        if index == 0:
            check_prompts(self._prompts, finder.size)
        told = self._shown(row, finder.size, index)
        free = (number for number in count(1) if number not in told)
        found = finder.by_concepts(self._concepts, (), self._prompts.threshold)
        named = [one.instance(number) for one, number in zip(found, free, strict=False)]
        return (*told.values(), *named)

    def _shown(self, row: Features, size: tuple[int, int], index: int) -> dict[int, Instance]:
        marks = marks_on(self._prompts, index, size)
        if not marks:
            return {}
        maps, _ = self._network.model.tracker_view(row)
        told = {}
        for object_id, one in begun_by(self._network, maps, size, marks).items():
            mask = draw_never_empty(one.logits, size)
            told[object_id] = Instance(
                mask, tight_box(mask), round(one.score, 4), UNNAMED, object_id
            )
        return told


def _index_of(state: bytes) -> int:
    try:
        return int(state)
    except ValueError as error:
        raise ValueError("this is not a state of facebook/sam3 without propagation") from error
