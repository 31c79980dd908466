"""What the files of a result are called."""

from __future__ import annotations

INDEX_NAME = "index.json"


def frame_name(source_index: int) -> str:
    """The name of a painted frame, by its number in the source."""
    return f"frame_{source_index:06d}.png"


def mask_name(source_index: int, object_id: int) -> str:
    """The name of one object's mask, by the frame's number in the source."""
    return f"mask_{source_index:06d}_{object_id:04d}.png"
