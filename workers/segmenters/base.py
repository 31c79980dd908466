"""What every segmenter offers. No model framework is imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from visionseg.contract.models import MODELS
from workers.masks import Rle

Rgb = npt.NDArray[np.uint8]
"""One picture, height x width x 3, 8-bit RGB, upright."""

ShouldStop = Callable[[], bool]
"""Asked between model calls; true means: leave at once by raising `Stopped`."""


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The work was asked to stop: canceled, overdue, lost its lease, or the worker shuts down.

    Where a session raises it, `taken` tells how many of the frames went in before: it goes on from
    there, and its state holds them. None where it cannot.
    """

    def __init__(self, taken: int | None = None) -> None:
        super().__init__()
        self.taken = taken


@dataclass(frozen=True, slots=True)
class Point:
    """A click, in pixels of the upright picture."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels of the upright picture; the maxima are exclusive."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class ImagePrompts:
    """What to find in one picture. `threshold` filters concept instances only.

    Pictures `known_as` the same are the same, and a model may keep what it made of one for the
    next; of a picture without a name nothing is kept.
    """

    concepts: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    threshold: float = 0.5
    known_as: str = ""


def probe(model: str) -> ImagePrompts:
    """Prompts that the model takes, to try it with on any picture."""
    if MODELS[model].text:
        return ImagePrompts(concepts=("object",))
    return ImagePrompts(points=(Point(1, 1),))


@dataclass(frozen=True, slots=True)
class FramePoint:
    """A click on one processed frame, counted from 0, for one object."""

    frame_index: int
    object_id: int
    point: Point


@dataclass(frozen=True, slots=True)
class FrameBox:
    """A rectangle on one processed frame, counted from 0, for one object."""

    frame_index: int
    object_id: int
    box: Box


@dataclass(frozen=True, slots=True)
class VideoPrompts:
    """What to find and follow in a video. `threshold` filters concept instances only."""

    concepts: tuple[str, ...] = ()
    points: tuple[FramePoint, ...] = ()
    boxes: tuple[FrameBox, ...] = ()
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How to follow: new objects are looked for on processed frames divisible by `re_detect_every`.

    `propagate` false means that every frame stands by itself.
    """

    re_detect_every: int = 30
    propagate: bool = True


@dataclass(frozen=True, slots=True)
class Instance:
    """One object found: its mask, box (x_min, y_min, x_max, y_max in pixels), score 0-1 and label.

    `object_id` is 0 in pictures; in videos it is stable along the video and begins at 1.
    """

    mask: Rle
    box: tuple[float, float, float, float]
    score: float
    label: str
    object_id: int = 0


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The objects on one processed frame; `index` counts processed frames of the video from 0.

    `warnings` are for the client, such as that objects were left out.
    """

    index: int
    instances: tuple[Instance, ...]
    warnings: tuple[str, ...] = ()


class Session(Protocol):
    """One video being followed. Frames go in in order; results come out in order, maybe later."""

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        """Takes the next frames and returns the results that are final by now."""
        ...

    def flush(self) -> list[FrameResult]:
        """Returns what is still held back; the video has ended."""
        ...

    def state(self) -> bytes:
        """Everything another worker needs to go on exactly as this session would."""
        ...

    def close(self) -> None:
        """Frees what the session holds."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What a loaded model is made of: where it computes, the SHA-256 of each of its files, and the
    packages (distributions) whose versions its masks depend on.
    """

    device: str = "cpu"
    weights: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()


class Segmenter(Protocol):
    """A loaded model."""

    name: str
    version: str
    origin: Origin
    pictures_at_once: int
    """So many pictures given together cost less than one by one."""

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """The instances of each picture, best score first.

        Raises `Refusal` (visionseg.contract.errors) where a prompt lies outside its picture.
        """
        ...

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        """A new session, or one that goes on from `state`.

        Raises `ValueError` where `state` is not a state of this model's version.
        """
        ...

    def cautions(self, concepts: Sequence[str]) -> list[str]:
        """What a client should be warned of about these concepts."""
        ...
