"""A video followed by SAM 2.1: what the client shows, until its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workers.segmenters.base import (
    FrameResult,
    Instance,
    Rgb,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import UNNAMED
from workers.segmenters.sam2.memory import TrackerSession
from workers.segmenters.sam2.network import Seen, TrackerNetwork
from workers.segmenters.sam2.state import Following, load_state, save_state
from workers.segmenters.sam2.tracking import Tracked, show, track
from workers.segmenters.sam3.drawing import draw, draw_never_empty
from workers.segmenters.sam3.finder import tight_box
from workers.segmenters.sam3.pictures import in_place
from workers.segmenters.sam3.shown import check_prompts, marks_on


class MarksSession:
    """One video; each result comes with its frame. Words find nothing here.

    Without propagation an object is on the frames only on which it is shown.
    """

    def __init__(
        self,
        network: TrackerNetwork,
        version: str,
        prompts: VideoPrompts,
        options: SessionOptions,
        state: bytes | None,
    ) -> None:
        self._network = network
        self._version = version
        self._prompts = prompts
        self._propagates = options.propagate
        self._now = Following(self._new_session())
        if state is not None:
            self._now = load_state(state, version, network.device)

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """The results of all frames given.

        After `Stopped` the session has taken in the frames before; go on from an earlier state.
        """
        results: list[FrameResult] = []
        with self._network.computing():
            for block in self._blocks(frames):
                if should_stop():
                    raise Stopped
                seen, first = self._look_ahead(block), self._now.index % self._network.batch
                for number, frame in enumerate(block):
                    if number and should_stop():
                        raise Stopped
                    size = (frame.shape[0], frame.shape[1])
                    results.append(self._follow(seen.at(first + number), size))
        return results

    def flush(self) -> list[FrameResult]:
        """Nothing: no result is held back."""
        return []

    def state(self) -> bytes:
        """The tracker's memory and how many frames were taken in."""
        return save_state(self._now, self._version)

    def close(self) -> None:
        """Drops the tracker's memory."""
        self._now = Following(self._new_session())

    def _new_session(self) -> TrackerSession:
        return TrackerSession(self._network.device)

    def _blocks(self, frames: Sequence[Rgb]) -> Iterator[Sequence[Rgb]]:
        """Frames that go through the encoder together: those of one multiple of the batch."""
        taken = 0
        while taken < len(frames):
            room = self._network.batch - self._now.index % self._network.batch
            yield frames[taken : taken + room]
            taken += room

    def _look_ahead(self, block: Sequence[Rgb]) -> Seen:
        network = self._network
        place = self._now.index % network.batch
        return network.look(in_place(network.pixels(block), place, network.batch))

    def _follow(self, seen: Seen, size: tuple[int, int]) -> FrameResult:
        now, model = self._now, self._network.model
        if now.index == 0:
            check_prompts(self._prompts, size)
        now.session.show(now.index, seen)
        found = track(model, now.session, now.index)
        marks = {
            object_id: given
            for object_id, given in marks_on(self._prompts, now.index, size).items()
            if object_id in found or given.begin
        }
        shown = show(model, now.session, now.index, marks, size) if marks else {}
        result = FrameResult(now.index, _instances(found, shown, size))
        now.session.forget(now.index)
        if not self._propagates:
            now.session = self._new_session()
        now.index += 1
        return result


def _instances(
    found: dict[int, Tracked], shown: dict[int, Tracked], size: tuple[int, int]
) -> tuple[Instance, ...]:
    """The objects on a frame by id; one that is only followed may be out of sight."""
    told = []
    for object_id, one in sorted({**found, **shown}.items()):
        if object_id in shown:
            mask = draw_never_empty(one.logits, size)
        else:
            (mask,) = draw(one.logits[None], size)
        if mask.area:
            told.append(Instance(mask, tight_box(mask), round(one.score, 4), UNNAMED, object_id))
    return tuple(told)
