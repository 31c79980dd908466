"""What a session knows between two frames, and how it travels to another worker."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from workers.segmenters.lite.motion import Grey
from workers.segmenters.lite.tracks import Track

VERSION = "1"
"""Changes whenever the same frames may give other masks."""


@dataclass(frozen=True, slots=True)
class Following:
    """Everything the next frame depends on: the frame before in grey, the tracks, the counters."""

    next_id: int
    index: int = 0
    grey: Grey | None = None
    tracks: tuple[Track, ...] = ()


def save_state(now: Following) -> bytes:
    """The state as an npz archive: a JSON header, the grey frame, one soft mask per track."""
    header = {
        "version": VERSION,
        "next_id": now.next_id,
        "index": now.index,
        "tracks": [_facts(track) for track in now.tracks],
    }
    arrays: dict[str, Any] = {f"soft_{row}": track.soft for row, track in enumerate(now.tracks)}
    if now.grey is not None:
        arrays["grey"] = now.grey
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    archive = BytesIO()
    np.savez_compressed(archive, allow_pickle=False, **arrays)
    return archive.getvalue()


def load_state(state: bytes) -> Following:
    """The state saved by `save_state`; raises `ValueError` where it is none of this version."""
    try:
        with np.load(BytesIO(state), allow_pickle=False) as archive:
            arrays = dict(archive)
        header = json.loads(arrays["header"].tobytes())
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError("this is not a state of embedded/lite") from error
    if header.get("version") != VERSION:
        raise ValueError(f"this is not a state of embedded/lite version {VERSION}")
    tracks = tuple(
        Track(soft=arrays[f"soft_{row}"], **facts) for row, facts in enumerate(header["tracks"])
    )
    return Following(header["next_id"], header["index"], arrays.get("grey"), tracks)


def _facts(track: Track) -> dict[str, Any]:
    names = ("object_id", "label", "noun", "score", "misses", "confirmed")
    return {name: getattr(track, name) for name in names}
