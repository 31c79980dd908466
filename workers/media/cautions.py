"""What a client should know about a video that is read otherwise than it was perhaps meant."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Caution(StrEnum):
    """One thing about a video's frames or clock that no result shows by itself."""

    HIGH_DYNAMIC_RANGE = "high_dynamic_range"
    INTERLACED = "interlaced"
    TRANSPARENT = "transparent"
    SIZE_CHANGES = "size_changes"
    BROKEN_CLOCK = "broken_clock"


SENTENCES: Mapping[Caution, str] = {
    Caution.HIGH_DYNAMIC_RANGE: "The video is HDR; it was mapped to standard range.",
    Caution.INTERLACED: (
        "The video is interlaced; each frame shows both of its fields, not deinterlaced."
    ),
    Caution.TRANSPARENT: "The video has transparent pixels; they show the colour stored there.",
    Caution.SIZE_CHANGES: (
        "The size of the frames changes; all were scaled to the size of the first."
    ),
    Caution.BROKEN_CLOCK: (
        "Timestamps of the video are missing or go back; frames there follow one another evenly."
    ),
}
"""The sentence of each for a record's `warnings`."""
