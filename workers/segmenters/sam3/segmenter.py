"""SAM3: any concept in words, boxes and clicks, on pictures and along videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from workers.segmenters.base import (
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
from workers.segmenters.combine import combine, inside
from workers.segmenters.sam3.apart import ApartSession
from workers.segmenters.sam3.features import Detections
from workers.segmenters.sam3.finder import PictureFinder, exemplar_boxes
from workers.segmenters.sam3.following import FollowingSession
from workers.segmenters.sam3.network import MOST_TOKENS, Network


class Sam3Segmenter:
    """SAM3 on one device; not for several threads at once.

    `version` tells the weights' source and how numbers are held: masks may differ between two.
    """

    name = "facebook/sam3"

    def __init__(self, network: Network, version: str, origin: Origin | None = None) -> None:
        self.network = network
        self.version = version
        self.origin = origin or Origin()
        self.pictures_at_once = network.batch

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """The instances of each picture, best score first, masks at the picture's size.

        All pictures go through the vision encoder in batches, and so do all their concepts through
        the detector. Raises `Refusal` for a prompt outside its picture.
        """
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        asked = [inside(one, *size) for one, size in zip(prompts, sizes, strict=True)]
        if should_stop():
            raise Stopped
        with self.network.computing():
            return [
                _instances(finder, one)
                for finder, one in zip(self._finders(images, asked), asked, strict=True)
            ]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        """A session of `FollowingSession` or, without propagation, of `ApartSession`.

        Raises `ValueError` for a foreign `state`.
        """
        if options.propagate:
            return FollowingSession(self.network, self.version, prompts, options, state)
        return ApartSession(self.network, prompts, state)

    def cautions(self, concepts: Sequence[str]) -> list[str]:
        """What a client should know about these concepts: where only their beginning is read."""
        return [
            f"Only the first {MOST_TOKENS} tokens of '{concept[:40]}…' were read."
            for concept in concepts
            if self.network.is_truncated(concept)
        ]

    def _finders(
        self, images: Sequence[Rgb], asked: Sequence[ImagePrompts]
    ) -> Iterator[PictureFinder]:
        seen = self.network.look_at(images, [one.known_as for one in asked])
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        pairs = [(place, word) for place, one in enumerate(asked) for word in one.concepts]
        device = self.network.device
        shown = [exemplar_boxes(one.boxes, size) for one, size in zip(asked, sizes, strict=True)]
        shown = [boxes if boxes is None else boxes.to(device) for boxes in shown]
        found: list[dict[str, Detections]] = [{} for _ in images]
        detected = self.network.detect_all(
            [(seen[place], word, shown[place]) for place, word in pairs]
        )
        for (place, word), detections in zip(pairs, detected, strict=True):
            found[place][word] = detections
        for place, size in enumerate(sizes):
            yield PictureFinder(self.network, seen[place], size, found[place])


def _instances(finder: PictureFinder, asked: ImagePrompts) -> list[Instance]:
    found = combine(finder, replace(asked, concepts=tuple(dict.fromkeys(asked.concepts))))
    return [one.instance() for one in sorted(found, key=lambda one: -one.score)]
