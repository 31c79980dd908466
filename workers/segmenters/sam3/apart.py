"""A video whose frames stand each by itself."""

from __future__ import annotations

from collections.abc import Sequence
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
        """The results of all frames given: none is held back."""
        network, results = self._network, list[FrameResult]()
        with network.computing():
            for first in range(0, len(frames), network.batch):
                if should_stop():
                    raise Stopped
                block = frames[first : first + network.batch]
                seen = network.look(network.pixels(block))
                rows = [seen.row(place) for place in range(len(block))]
                results += self._results(rows, block)
        return results

    def flush(self) -> list[FrameResult]:
        """Nothing: no result is held back."""
        return []

    def state(self) -> bytes:
        """How many frames were taken in."""
        return str(self._index).encode()

    def close(self) -> None:
        """Nothing is held."""

    def _results(self, rows: Sequence[Features], block: Sequence[Rgb]) -> list[FrameResult]:
        asked = [(row, concept, None) for row in rows for concept in self._concepts]
        detected = self._network.detect_all(asked)
        results = []
        for row, frame in zip(rows, block, strict=True):
            size = (frame.shape[0], frame.shape[1])
            found = {concept: next(detected) for concept in self._concepts}
            finder = PictureFinder(self._network, row, size, found)
            results.append(FrameResult(self._index, self._instances(row, finder, size)))
            self._index += 1
        return results

    def _instances(
        self, row: Features, finder: PictureFinder, size: tuple[int, int]
    ) -> tuple[Instance, ...]:
        if self._index == 0:
            check_prompts(self._prompts, size)
        told = self._shown(row, size)
        free = (number for number in count(1) if number not in told)
        found = finder.by_concepts(self._concepts, (), self._prompts.threshold)
        named = [one.instance(number) for one, number in zip(found, free, strict=False)]
        return (*told.values(), *named)

    def _shown(self, row: Features, size: tuple[int, int]) -> dict[int, Instance]:
        marks = marks_on(self._prompts, self._index, size)
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
