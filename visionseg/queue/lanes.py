"""The lanes of work. A lane is a queue of the broker, and a column of the turns.

Only `delivery` has no turns: webhooks are claimed from their own table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Lane(StrEnum):
    """Where a unit of work or a webhook waits."""

    IMAGES = "images"
    VIDEOS = "videos"
    MEDIA = "media"
    FETCH = "fetch"
    DELIVERY = "delivery"
    PREVIEW = "preview"


GPU_LANES = (Lane.IMAGES, Lane.VIDEOS)
CPU_LANES = (Lane.MEDIA, Lane.FETCH, Lane.PREVIEW)
"""In the order in which a worker should serve them: a preview holds up nothing else."""
OPTIONAL_LANES = (Lane.PREVIEW,)
"""Predictions end without what waits here."""


class UnitKind(StrEnum):
    """What a unit of work does; `plan` is all that a dry run does with its input.

    A picture's masks are written anew by `repaint`, a video's by `render` and `assemble`. A
    prediction ends as it would without its previews.
    """

    FETCH = "fetch"
    INGEST = "ingest"
    IMAGE = "image"
    CHUNK = "chunk"
    RENDER = "render"
    ASSEMBLE = "assemble"
    REPAINT = "repaint"
    PLAN = "plan"
    PREVIEW = "preview"


LANE_OF: Mapping[UnitKind, Lane] = {
    UnitKind.FETCH: Lane.FETCH,
    UnitKind.INGEST: Lane.MEDIA,
    UnitKind.IMAGE: Lane.IMAGES,
    UnitKind.CHUNK: Lane.VIDEOS,
    UnitKind.RENDER: Lane.MEDIA,
    UnitKind.ASSEMBLE: Lane.MEDIA,
    UnitKind.PLAN: Lane.MEDIA,
    UnitKind.REPAINT: Lane.MEDIA,
    UnitKind.PREVIEW: Lane.PREVIEW,
}
