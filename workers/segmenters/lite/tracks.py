"""The objects being followed: which detection is which object, who stays and who goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workers.masks import Mask
from workers.segmenters.base import Box
from workers.segmenters.lite.motion import Flow, Soft, carried
from workers.segmenters.lite.regions import box_area, box_overlap, main_parts, mask_box

MOST_OBJECTS = 8
"""Followed at once; objects that the client showed are followed beyond that."""
SURE_MARGIN = 0.1
"""A first detection scoring this much over the threshold needs no second one."""

_SAME_OBJECT = 0.2  # box overlap of a track and the detection it may go on with
_PART_OF = 0.8  # of a new box inside a followed one's: it is a part of that object
_MOST_MISSES = 2
_FEWEST_PIXELS = 15


@dataclass(frozen=True, slots=True)
class Track:
    """One object being followed.

    `noun` is none for an object that the client showed: it stays until nothing is left of it. The
    score is the best that the object reached so far.
    """

    object_id: int
    label: str
    noun: str | None
    score: float
    soft: Soft
    misses: int = 0
    confirmed: bool = True

    @property
    def mask(self) -> Mask:
        """Where the object is on this frame, without specks."""
        return main_parts(self.soft >= 128)

    @property
    def box(self) -> Box:
        """The tight box of the mask, without area where nothing is left of the object."""
        return mask_box(self.soft >= 128) or Box(0, 0, 0, 0)

    def moved(self, flow: Flow) -> Track:
        """The object on the next frame."""
        return replace(self, soft=carried(self.soft, flow))

    def seen(self, mask: Mask, score: float) -> Track:
        """The object as a detection shows it anew: it is confirmed."""
        return replace(
            self, soft=soft_of(mask), score=max(self.score, score), misses=0, confirmed=True
        )

    def missed(self) -> Track:
        """The object after the detector looked and did not see it."""
        return replace(self, misses=self.misses + 1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detection of something asked for."""

    label: str
    noun: str
    score: float
    box: Box


def soft_of(mask: Mask) -> Soft:
    """A mask as a soft one."""
    return mask.astype(np.uint8) * np.uint8(255)


def matches(tracks: Sequence[Track], candidates: Sequence[Candidate]) -> dict[int, int]:
    """For each track, by position, the candidate that it goes on with: most overlap first.

    A shown object goes on with any label, so that it is not found a second time.
    """
    pairs = [
        (box_overlap(track.box, candidate.box), -row, -column)
        for row, track in enumerate(tracks)
        for column, candidate in enumerate(candidates)
        if track.noun is None or track.label == candidate.label
    ]
    found: dict[int, int] = {}
    for overlap, row, column in sorted(pairs, reverse=True):
        if overlap < _SAME_OBJECT:
            break
        if -row not in found and -column not in found.values():
            found[-row] = -column
    return found


def is_new(candidate: Candidate, tracks: Iterable[Track]) -> bool:
    """Whether a candidate is no part of an object of its label, or of one shown."""
    return not any(
        _share_inside(candidate.box, track.box) > _PART_OF
        for track in tracks
        if track.noun is None or track.label == candidate.label
    )


def remaining(tracks: Iterable[Track]) -> list[Track]:
    """The tracks without those lost from sight, missed twice, or missed before they were sure."""
    return [track for track in tracks if _is_there(track) and not _is_lost(track)]


def _is_there(track: Track) -> bool:
    return bool(np.count_nonzero(track.soft >= 128) >= _FEWEST_PIXELS)


def _is_lost(track: Track) -> bool:
    most = _MOST_MISSES if track.confirmed else 1
    return track.noun is not None and track.misses >= most


def _share_inside(box: Box, other: Box) -> float:
    across = min(box.x_max, other.x_max) - max(box.x_min, other.x_min)
    down = min(box.y_max, other.y_max) - max(box.y_min, other.y_min)
    return max(0.0, across) * max(0.0, down) / max(1.0, box_area(box))
