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
    """A true timeline, and its first timestamp once more."""
    told = tasks.timeline(desk)
    desk.send_bytes(np.zeros(1, np.int64).view(np.uint8))
    return told


def frames(desk: Desk) -> Result:
    """The first frame again and again."""
    while True:
        desk.send(desk.room((1,)).size, 0)


def sound(desk: Desk) -> Result:
    """No sound, for a very long reason."""
    return {"silence": "because " * 100}
