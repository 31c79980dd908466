"""What a jailed child can be asked to do with a client's file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from workers.media.audio import NoSound, cut_audio
from workers.media.decode import Wanted, read_frames
from workers.media.images import open_image
from workers.media.jail.desk import Desk
from workers.media.pixels import Form
from workers.media.plan import read_plan
from workers.media.timeline import read_timeline

Result = Mapping[str, Any]


def image(desk: Desk) -> Result:
    """Sends the picture's pixels; tells its size."""
    pixels = open_image(desk.source, desk.limits)
    desk.room(pixels.shape)[:] = pixels
    desk.send(pixels.size, 0)
    height, width, _ = pixels.shape
    return {"height": height, "width": width}


def timeline(desk: Desk) -> Result:
    """Sends the timestamps as 64-bit integers; tells all else."""
    read = read_timeline(desk.source, desk.limits, desk.alive)
    desk.send_bytes(read.pts.view(np.uint8))
    picture = read.picture
    return {
        "time_base": _pair(read.time_base),
        "rate": _pair(read.rate),
        "pixel_aspect": _pair(picture.pixel_aspect),
        "width": picture.width,
        "height": picture.height,
        "rotation": picture.rotation,
        "matrix": picture.matrix,
        "primaries": picture.primaries,
        "transfer": picture.transfer,
        "tone_mapped": picture.tone_mapped,
        "mirrored": picture.mirrored,
        "seekable": read.seekable,
        "has_audio": read.has_audio,
        "codec": read.codec,
        "container": read.container,
        "cautions": read.cautions,
    }


def frames(desk: Desk) -> Result:
    """Sends the frames of the plan in `data` that can be decoded, numbered as in the plan."""
    plan = read_plan(io.BytesIO(desk.data))
    wanted = Wanted(plan, range(len(plan)), Form(desk.arguments["form"]))
    shape = wanted.form.shape(plan.picture)
    found = read_frames(
        desk.source, wanted, desk.limits, [], desk.alive, room=lambda: desk.room(shape)
    )
    for frame in found:
        desk.send(frame.pixels.size, frame.index)
    return {}


def sound(desk: Desk) -> Result:
    """Writes the sound of the plan in `data` to the target; tells why not, if not."""
    if desk.target is None:
        raise ValueError("there is no file to write to")
    plan = read_plan(io.BytesIO(desk.data))
    try:
        cut_audio(desk.source, desk.target, plan, desk.limits, desk.alive)
        desk.target.flush()
    except NoSound as silence:
        return {"silence": str(silence)}
    return {"silence": None}


def _pair(fraction: Fraction) -> tuple[int, int]:
    return fraction.numerator, fraction.denominator
