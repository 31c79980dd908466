"""Pictures of several jobs segmented together.

Each job runs in a thread of its own and waits there; one thread computes for all. So each keeps its
own lease, stop and failure, and nothing of the job knows of the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import structlog

from workers.segmenters.base import (
    ImagePrompts,
    Instance,
    Rgb,
    Segmenter,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)

log = structlog.get_logger(__name__)
LOOK_EVERY_S = 0.05
"""How often a job that waits for its picture asks whether it is still wanted."""


@dataclass(slots=True, eq=False)
class _Asked:
    """What one job asks for; at last `found`, or the `error` that it gets instead."""

    image: Rgb
    prompts: ImagePrompts
    should_stop: ShouldStop
    found: list[Instance] | None = None
    error: Exception | None = None

    def is_answered(self) -> bool:
        """Whether the job can go on."""
        return self.found is not None or self.error is not None


class Gathering:
    """The jobs whose pictures go through a model together. Each of them has a `Seat`."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.computing = threading.Lock()
        self.seats = 0
        self._coming = 0
        self._waiting: list[_Asked] = []
        self._batch: list[_Asked] = []
        self._changed = threading.Condition()

    def sit_down(self) -> Seat:
        """A place for one more job, which must `ask` or `leave`."""
        with self._changed:
            self.seats += 1
            self._coming += 1
        return Seat(self)

    def serve(self) -> None:
        """Computes for all jobs together once each of them has asked or left."""
        with self._changed:
            self._changed.wait_for(lambda: not self._coming)
            self._batch, self._waiting = self._waiting, []
        if not self._batch:
            return
        try:
            self._answer(self._batch)
        except BaseException:  # the process is told to end: nobody may wait for an answer
            self._tell([(one, Stopped()) for one in list(self._batch)])
            raise

    def leave(self) -> None:
        """A job that will not ask is waited for no more."""
        with self._changed:
            self._coming -= 1
            self._changed.notify_all()

    def ask(self, asked: _Asked) -> list[Instance]:
        """Waits for the answer. Raises what the model raised, or `Stopped`.

        The last job of a batch that is computed stays although it is to stop: it is the one whose
        watch notices a computation that does not end.
        """
        with self._changed:
            self._coming -= 1
            self._waiting.append(asked)
            self._changed.notify_all()
            while not self._changed.wait_for(asked.is_answered, LOOK_EVERY_S):
                if asked.should_stop() and self._withdraw(asked):
                    raise Stopped
        if asked.error is not None:
            raise asked.error
        return asked.found or []

    def _withdraw(self, asked: _Asked) -> bool:
        if asked in self._waiting:
            self._waiting.remove(asked)
            return True
        if len(self._batch) > 1:
            self._batch.remove(asked)
            return True
        return False

    def _answer(self, batch: Sequence[_Asked]) -> None:
        """Answers all; where they fail together, each is tried by itself."""
        together = list(batch)
        try:
            found = self._segment(together, self._is_unwanted)
        except Stopped:
            self._tell([(one, Stopped()) for one in together])
        except Exception as error:  # noqa: BLE001 - whatever it is, it may be one picture's fault
            if len(together) == 1:
                self._tell([(together[0], error)])
                return
            log.warning("pictures_tried_apart", pictures=len(together), error=str(error))
            for one in together:
                self._answer_alone(one)
        else:
            self._tell(list(zip(together, found, strict=True)))

    def _answer_alone(self, one: _Asked) -> None:
        try:
            (found,) = self._segment([one], one.should_stop)
        except Exception as error:  # noqa: BLE001 - the job that asked raises it
            self._tell([(one, error)])
        else:
            self._tell([(one, found)])

    def _segment(
        self, batch: Sequence[_Asked], should_stop: Callable[[], bool]
    ) -> list[list[Instance]]:
        images, prompts = [one.image for one in batch], [one.prompts for one in batch]
        with self.computing:
            return self.segmenter.segment(images, prompts, should_stop)

    def _is_unwanted(self) -> bool:
        """Whether nobody who is left wants the batch."""
        with self._changed:
            return all(one.should_stop() for one in self._batch)

    def _tell(self, answers: Sequence[tuple[_Asked, list[Instance] | Exception]]) -> None:
        with self._changed:
            for one, answer in answers:
                if isinstance(answer, Exception):
                    one.error = answer
                else:
                    one.found = answer
                if one in self._batch:
                    self._batch.remove(one)
            self._changed.notify_all()


class Seat:
    """The model as one job of a gathering sees it."""

    def __init__(self, gathering: Gathering) -> None:
        self._gathering = gathering
        self._came = False
        self.name = gathering.segmenter.name
        self.version = gathering.segmenter.version
        self.origin = gathering.segmenter.origin
        self.pictures_at_once = 1

    def __enter__(self) -> Seat:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._came:
            self._gathering.leave()

    def share(self, seconds: float) -> float:
        """The job's own part of time that all jobs of the gathering spent together."""
        return seconds / self._gathering.seats

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """The instances of the job's one picture, found together with those of the others."""
        (image,), (asked,) = images, prompts
        self._came = True
        return [self._gathering.ask(_Asked(image, asked, should_stop))]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> NoReturn:
        """Raises `NotImplementedError`: videos are followed one at a time."""
        raise NotImplementedError("a video in a gathering of pictures")

    def cautions(self, concepts: Sequence[str]) -> list[str]:
        """What the model cautions against; it is not asked while it computes."""
        with self._gathering.computing:
            return self._gathering.segmenter.cautions(concepts)
