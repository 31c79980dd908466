"""SAM 2.1: clicks and boxes on pictures, followed along videos."""

from __future__ import annotations

from collections.abc import Sequence

from workers.segmenters.base import (
    Box,
    ImagePrompts,
    Instance,
    Origin,
    Point,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    Stopped,
    VideoPrompts,
)
from workers.segmenters.combine import UNNAMED, combine, inside
from workers.segmenters.sam2.following import MarksSession
from workers.segmenters.sam2.network import Seen, TrackerNetwork
from workers.segmenters.sam3.drawing import draw_never_empty
from workers.segmenters.sam3.finder import Sighting, tight_box


class Sam2Segmenter:
    """SAM 2.1 on one device; not for several threads at once.

    `version` tells the weights' source and how numbers are held: masks may differ between two.
    """

    def __init__(
        self, name: str, network: TrackerNetwork, version: str, origin: Origin | None = None
    ) -> None:
        self.name = name
        self.network = network
        self.version = version
        self.origin = origin or Origin()
        self.pictures_at_once = network.batch

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        """The instances of each picture, best score first, masks at the picture's size.

        All pictures go through the vision encoder in batches. Raises `Refusal` for a prompt outside
        its picture.
        """
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        asked = [inside(one, *size) for one, size in zip(prompts, sizes, strict=True)]
        if should_stop():
            raise Stopped
        with self.network.computing():
            seen = self.network.look_at(images, [one.known_as for one in asked])
            finders = [
                MarksFinder(self.network, one, size) for one, size in zip(seen, sizes, strict=True)
            ]
            found = [combine(finder, one) for finder, one in zip(finders, asked, strict=True)]
        return [
            [one.instance() for one in sorted(sightings, key=lambda one: -one.score)]
            for sightings in found
        ]

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        """A session that follows what the marks show. Raises `ValueError` for a foreign `state`."""
        return MarksSession(self.network, f"{self.name} {self.version}", prompts, options, state)

    def cautions(self, concepts: Sequence[str]) -> list[str]:  # noqa: ARG002 - it takes no words
        """Nothing: there are no words to misunderstand."""
        return []


class MarksFinder:
    """Answers marks on one picture of `size` (height, width)."""

    def __init__(self, network: TrackerNetwork, seen: Seen, size: tuple[int, int]) -> None:
        self._network = network
        self._seen = seen
        self._size = size

    def by_concepts(
        self,
        concepts: Sequence[str],  # noqa: ARG002 - the API lets no words come here
        exemplars: Sequence[Box],  # noqa: ARG002 - likewise
        threshold: float,  # noqa: ARG002 - likewise
    ) -> list[Sighting]:
        """Nothing: this model takes no words."""
        return []

    def by_box(self, box: Box, points: Sequence[Point]) -> Sighting:
        """The mask of what fills the box, as the clicks in it refine it."""
        return self._marked(points, box)

    def by_points(self, points: Sequence[Point]) -> Sighting:
        """The mask of the object at the clicks."""
        return self._marked(points, None)

    def _marked(self, points: Sequence[Point], box: Box | None) -> Sighting:
        best = self._network.mark(self._seen, self._size, points, box)
        mask = draw_never_empty(best.logits, self._size)
        return Sighting(mask, tight_box(mask), best.score, UNNAMED)
