"""From a box to a mask: several candidates, and the one that the others and the box bear out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from workers.masks import Mask
from workers.segmenters.base import Box
from workers.segmenters.lite.cutting import cut_box
from workers.segmenters.lite.regions import (
    Confidence,
    Window,
    box_area,
    box_mask,
    main_parts,
    mask_box,
    mask_overlap,
    moved,
    widened,
)
from workers.segmenters.lite.saliency import FINE_SIDE, QUICK_SIDE
from workers.segmenters.lite.scene import Scene


@dataclass(frozen=True, slots=True)
class Effort:
    """How many candidates to weigh: crops by margin around the box, their side, and GrabCut."""

    margins: tuple[float, ...]
    side: int
    by_colour: bool


FINE = Effort((0.1, 0.3, 0.5, 0.9), FINE_SIDE, by_colour=True)
"""For a picture."""
QUICK = Effort((0.15, 0.5), QUICK_SIDE, by_colour=False)
"""For a frame of a video, and for objects that only may be the one clicked."""

_WIDEST = 0.9  # margin of the window that all candidates are compared in
_DETECTOR_SLACK = 0.05  # of the box, on each side
_SEMANTIC_SHARE = 0.03  # of the picture: the semantic model sees nothing in smaller boxes
_LEAST_FILL = 0.04  # of the box: less is a speck, not the object
_USUAL_FILL = (0.25, 0.9)  # of the box: objects seldom fill less or more


@dataclass(frozen=True, slots=True)
class Outline:
    """A mask of the scene's size, and how far the candidates agree on it, 0-1."""

    mask: Mask
    trust: float


class _Kind(Enum):
    """Where a candidate comes from. Candidates of one kind tend to err together."""

    SALIENCY = "saliency"
    CLASS = "class"
    COLOUR = "colour"
    BEFORE = "before"


# How fine the outlines of each kind are: the semantic model draws on a coarse grid, and colour
# alone misses whatever is dyed like its surroundings.
_FINENESS = {_Kind.SALIENCY: 1.0, _Kind.CLASS: 0.85, _Kind.COLOUR: 0.9, _Kind.BEFORE: 0.95}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A mask cut off at the box, and the share of it that was cut off."""

    kind: _Kind
    mask: Mask
    spilt: float


def outline(
    scene: Scene, box: Box, noun: str | None, effort: Effort, prior: Mask | None = None
) -> Outline:
    """The best mask of the object in a box; the box itself where no candidate will do.

    With a `noun` the box is a detector's, which may be a little tight. `prior` is a mask of the
    same object that is known to be about right.
    """
    window = widened(box, _WIDEST, scene.shape)
    reach = widened(box, 0 if noun is None else _DETECTOR_SLACK, scene.shape).box()
    within = box_mask(moved(reach, window), window.shape)
    candidates = [
        *_by_saliency(scene, box, window, within, effort),
        *_by_class(scene, box, window, within, noun),
    ]
    if effort.by_colour:
        cut = cut_box(scene.picture, box, window) & within
        candidates.append(_Candidate(_Kind.COLOUR, cut, 0.0))
    if prior is not None:
        candidates.append(_candidate(_Kind.BEFORE, window.cut(prior), within))
    best, trust = _most_agreed(candidates, moved(box, window))
    mask = best.mask if trust > 0 else within
    return Outline(window.put(mask, scene.shape), trust)


def _by_saliency(
    scene: Scene, box: Box, window: Window, within: Mask, effort: Effort
) -> Iterator[_Candidate]:
    """What fills crops round the box, and their mean."""
    crops = [widened(box, margin, scene.shape) for margin in effort.margins]
    maps = [_in(window, crop, scene.foreground(crop, effort.side)) for crop in crops]
    for confidence in (*maps, np.mean(maps, axis=0)):
        yield _candidate(_Kind.SALIENCY, confidence > 0.5, within)


def _by_class(
    scene: Scene, box: Box, window: Window, within: Mask, noun: str | None
) -> Iterator[_Candidate]:
    """Where the noun is, seen from afar and from near by."""
    if noun is None or box_area(box) < _SEMANTIC_SHARE * scene.shape[0] * scene.shape[1]:
        return
    crop = widened(box, 0.5, scene.shape)
    afar, near = scene.class_in(noun, window), scene.class_near(noun, crop)
    if afar is not None and near is not None:
        yield _candidate(_Kind.CLASS, afar > 0.5, within)
        yield _candidate(_Kind.CLASS, _in(window, crop, near) > 0.5, within)


def _in(window: Window, crop: Window, confidence: Confidence) -> Confidence:
    """A crop's map in the coordinates of a window that holds the crop."""
    x, y = crop.x_min - window.x_min, crop.y_min - window.y_min
    height, width = crop.shape
    return Window(x, y, x + width, y + height).put(confidence, window.shape)


def _candidate(kind: _Kind, mask: Mask, within: Mask) -> _Candidate:
    total = max(1, int(np.count_nonzero(mask)))
    spilt = float(np.count_nonzero(mask & ~within) / total)
    return _Candidate(kind, main_parts(mask & within), spilt)


def _most_agreed(candidates: Sequence[_Candidate], box: Box) -> tuple[_Candidate, float]:
    """The candidate that fits the box and the other candidates best, and how well it does."""
    heard = [one for one in candidates if one.mask.any()] or candidates
    fits = [
        _FINENESS[one.kind] * _fit(one, box) * (0.35 + 0.65 * _agreement(one, heard))
        for one in candidates
    ]
    best = int(np.argmax(fits))
    return candidates[best], float(fits[best])


def _agreement(candidate: _Candidate, others: Sequence[_Candidate]) -> float:
    """The mean overlap with the other candidates, each kind having one vote."""
    votes: dict[_Kind, list[float]] = {}
    for one in others:
        if one is not candidate:
            votes.setdefault(one.kind, []).append(mask_overlap(one.mask, candidate.mask))
    return float(np.mean([np.mean(kind) for kind in votes.values()])) if votes else 1.0


def _fit(candidate: _Candidate, box: Box) -> float:
    """How well a mask fits its box: reaching its sides, filling it, and not spilling over; 0-1."""
    fill = np.count_nonzero(candidate.mask) / box_area(box)
    reached = mask_box(candidate.mask)
    if reached is None or fill < _LEAST_FILL:
        return 0.0
    across = (reached.x_max - reached.x_min) / (box.x_max - box.x_min)
    down = (reached.y_max - reached.y_min) / (box.y_max - box.y_min)
    return min(1, across) * min(1, down) * (1 - 0.5 * candidate.spilt) * _usual(fill)


def _usual(fill: float) -> float:
    least, most = _USUAL_FILL
    if fill < least:
        return fill / least
    return 1.0 if fill <= most else max(0.4, 1 - 6 * (fill - most))
