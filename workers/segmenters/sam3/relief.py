"""What is done where the device's memory is full: less at a time, until the work fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import torch

V = TypeVar("V")
R = TypeVar("R")

MOST_OBJECTS = 64
"""Followed at once for one concept."""
MOST_AT_ONCE = 64
"""Objects that go through the tracker in one batch."""
SMALLER_STEPS = (
    "The GPU's memory was full, so the video went on in smaller steps: its masks may differ in "
    "single pixels from those of a run with more memory."
)
FEWER_OBJECTS = "The GPU's memory was full, so only the surest objects were followed further."


def attempt(run: Callable[[], R]) -> R | None:
    """What `run` returns; none where memory was full, after all that the call held is freed."""
    try:
        return run()
    except torch.OutOfMemoryError:
        pass  # its traceback holds the tensors of the call, and goes with this line
    torch.cuda.empty_cache()
    return None


@dataclass(frozen=True, slots=True)
class Batch(Generic[V, R]):
    """Values that went in together, what came of them, and whether they are fewer than asked."""

    values: Sequence[V]
    result: R
    narrowed: bool


def in_batches(
    values: Sequence[V], size: int, run: Callable[[Sequence[V]], R]
) -> Iterator[Batch[V, R]]:
    """Runs the values, `size` at a time, and half as many from where memory is full.

    Raises `torch.OutOfMemoryError` where there is none for a single one.
    """
    first, most = 0, size
    while first < len(values):
        part = values[first : first + most]
        done = run(part) if len(part) == 1 else attempt(partial(run, part))
        if done is None:
            most = len(part) // 2
            continue
        yield Batch(part, done, narrowed=most < size)
        first += len(part)


@dataclass(slots=True)
class Relief:
    """How much of a video is computed at once; each `lower` is a step down.

    `ahead` frames are looked up together, `at_once` objects tracked together; `on_host` the
    tracker's memory lies beside the device; `most` objects of a concept are followed.
    """

    ahead: int
    most: int = MOST_OBJECTS
    at_once: int = MOST_AT_ONCE
    on_host: bool = False

    def lower(self, followed: int) -> str | None:
        """Takes the next step and returns what to tell of it; none where there is none left.

        `followed` are the objects of the concept that has most. First comes what changes no more
        than the last bits of a mask.
        """
        if self.ahead > 1:
            self.ahead //= 2
        elif self.at_once > 1:
            self.at_once //= 4
        elif not self.on_host:
            self.on_host = True
        elif self.most > 1:
            self.most = min(self.most, followed or self.most) // 2 or 1
            return FEWER_OBJECTS
        else:
            return None
        return SMALLER_STEPS
