"""Tasks whose answers look right one by one and are wrong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from workers.media.jail import tasks
from workers.media.jail.desk import Desk

Result = Mapping[str, Any]


def image(desk: Desk) -> Result:
    """A picture with a row less than it is told to have."""
    told = tasks.image(desk)
    return {**told, "height": told["height"] + 1}


def timeline(desk: Desk) -> Result:
    """Five frames of a megapixel, a second apart, whatever the limits."""
    desk.send_bytes(np.arange(5).view(np.uint8))
    ones = dict.fromkeys(("time_base", "rate", "pixel_aspect"), (1, 1))
    colours = dict.fromkeys(("matrix", "primaries", "transfer"), 1)
    marks = dict.fromkeys(("tone_mapped", "mirrored", "seekable", "has_audio"), False)
    size = {"width": 1000, "height": 1000, "rotation": 0}
    words = {"codec": "h264", "container": "mov,mp4", "cautions": []}
    return {**ones, **colours, **marks, **size, **words}


def falling_timestamps(desk: Desk) -> Result:
    desk.send_bytes(np.arange(5)[::-1].copy().view(np.uint8))
    return {}


def half_a_timestamp(desk: Desk) -> Result:
    desk.send_bytes(np.zeros(12, np.uint8))
    return {}


def no_timestamps(desk: Desk) -> Result:
    return {}


def far_timestamps(desk: Desk) -> Result:
    desk.send_bytes(np.array([-(1 << 63), 5 - (1 << 63)]).view(np.uint8))
    return {}


def late_timestamps(desk: Desk) -> Result:
    desk.send_bytes(np.array([0, 1 << 62]).view(np.uint8))
    return {}


def frames(desk: Desk) -> Result:
    """The first frame again and again."""
    while True:
        desk.send(desk.room((desk._slot_bytes,)).size, 0)


def sound(desk: Desk) -> Result:
    """No sound, for a very long reason."""
    return {"silence": "because " * 100}
