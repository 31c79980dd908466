"""Reading what clients send, in a jailed child or, where that is switched off, in this process.

This is all that jobs use. Each function is that of the module which does the work, and says there
what it returns and refuses. In a child, a file that breaks its decoder is refused as unreadable,
one that needs too much memory as too large, and one that stalls as `decode_timeout`.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import structlog

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media import audio, decode, images, timeline
from workers.media.atomic import replacing
from workers.media.audio import NoSound
from workers.media.checkpoints import Checkpoint, no_checkpoint
from workers.media.decode import VideoFrame, Wanted
from workers.media.jail import parents
from workers.media.jail.confine import insist_on_walls, offered_walls
from workers.media.jail.decoding import Decoding, Task
from workers.media.jail.results import ImageTold, Nothing, SoundTold, TimelineTold, fraction
from workers.media.limits import JailMode, Limits
from workers.media.pixels import Rgb
from workers.media.plan import FramePlan, Picture, Ticks, Timeline

log = structlog.get_logger(__name__)
_TASKS = "workers.media.jail.tasks"
_FRAME_SLOTS = 4
_SOUND_BYTES = 2 * 1024**3
_PTS_BOUND = 1 << 62


def is_jailed(limits: Limits) -> bool:
    """Whether files are read in a child; only Linux has the means.

    Raises `Unconfined` where a wall is missing that the limits require.
    """
    if limits.jail is JailMode.OFF:
        return False
    if limits.jail is JailMode.REQUIRE:
        insist_on_walls()
    _tell_of_missing_walls()
    return sys.platform == "linux"


def warm_up(jail: JailMode) -> None:
    """Makes ready what reads files, so that the first one need not wait for it."""
    if is_jailed(Limits(jail=jail)):
        parents.parent().start()


@cache
def _tell_of_missing_walls() -> None:
    """Once a process."""
    if missing := offered_walls().missing:
        log.warning("jail_incomplete", missing=missing)


def open_image(path: Path, limits: Limits, checkpoint: Checkpoint = no_checkpoint) -> Rgb:
    """As `images.open_image`."""
    if not is_jailed(limits):
        return images.open_image(path, limits)
    task = Task(
        f"{_TASKS}:image", ErrorCode.NOT_AN_IMAGE, slots=1, slot_bytes=3 * limits.image_pixels
    )
    with Decoding(task, path, limits, checkpoint) as decoding:
        sent = [pixels for _, pixels in decoding.blocks()]
        told = decoding.result(ImageTold)
        if len(sent) != 1 or sent[0].size != told.height * told.width * 3:
            decoding.distrust("a picture of another size")
        return sent[0].reshape(told.height, told.width, 3)


def read_timeline(path: Path, limits: Limits, checkpoint: Checkpoint = no_checkpoint) -> Timeline:
    """As `timeline.read_timeline`."""
    if not is_jailed(limits):
        return timeline.read_timeline(path, limits, checkpoint)
    task = Task(f"{_TASKS}:timeline", ErrorCode.NOT_A_VIDEO, slots=2)
    with Decoding(task, path, limits, checkpoint) as decoding:
        pts = _timestamps(decoding, limits)
        told = decoding.result(TimelineTold)
        base = fraction(told.time_base)
        length_s = int(pts[-1] - pts[0]) * base
        if told.width * told.height > limits.frame_pixels or length_s > limits.duration_s:
            decoding.distrust("a video beyond the limits")
        return Timeline(
            pts=pts,
            time_base=base,
            rate=fraction(told.rate),
            picture=Picture(
                width=told.width,
                height=told.height,
                rotation=told.rotation,
                pixel_aspect=fraction(told.pixel_aspect),
                matrix=told.matrix,
                primaries=told.primaries,
                transfer=told.transfer,
                tone_mapped=told.tone_mapped,
                mirrored=told.mirrored,
            ),
            seekable=told.seekable,
            has_audio=told.has_audio,
            codec=told.codec,
            container=told.container,
            cautions=tuple(told.cautions),
        )


def _timestamps(decoding: Decoding, limits: Limits) -> Ticks:
    most = 8 * limits.decoded_frames
    sent = bytearray()
    for _, data in decoding.blocks():
        sent += data.tobytes()
        if len(sent) > most:
            decoding.distrust("more frames than the limit")
    if not sent or len(sent) % 8:
        decoding.distrust(f"timestamps of {len(sent)} bytes")
    pts = np.frombuffer(sent, np.int64)
    if not (np.diff(pts) > 0).all() or pts[0] <= -_PTS_BOUND or pts[-1] >= _PTS_BOUND:
        decoding.distrust("timestamps that do not rise")
    return pts


def read_frames(
    path: Path,
    wanted: Wanted,
    limits: Limits,
    missing: list[int],
    checkpoint: Checkpoint = no_checkpoint,
) -> Iterator[VideoFrame]:
    """As `decode.read_frames`."""
    if not is_jailed(limits):
        yield from decode.read_frames(path, wanted, limits, missing, checkpoint)
    elif wanted.span:
        task = _frames_task(wanted)
        with Decoding(task, path, limits, checkpoint) as decoding:
            yield from _received(decoding, wanted, missing)


def _frames_task(wanted: Wanted) -> Task:
    plan = io.BytesIO()
    wanted.plan.part(wanted.span).write(plan)
    return Task(
        f"{_TASKS}:frames",
        ErrorCode.NOT_A_VIDEO,
        slots=_FRAME_SLOTS,
        slot_bytes=math.prod(wanted.form.shape(wanted.plan.picture)),
        arguments={"form": wanted.form},
        data=plan.getvalue(),
    )


def _received(decoding: Decoding, wanted: Wanted, missing: list[int]) -> Iterator[VideoFrame]:
    """Frames as the plan knows them; the child tells no more than which of them it decoded."""
    shape = wanted.form.shape(wanted.plan.picture)
    size, due = math.prod(shape), 0
    for number, pixels in decoding.blocks():
        if not due <= number < len(wanted.span) or pixels.size != size:
            decoding.distrust(f"frame {number} of {pixels.size} bytes")
        missing.extend(wanted.span[due:number])
        due = number + 1
        yield wanted.frame(wanted.span[number], pixels.reshape(shape))
    decoding.result(Nothing)
    missing.extend(wanted.span[due:])


def cut_audio(
    path: Path,
    target: Path,
    plan: FramePlan,
    limits: Limits,
    checkpoint: Checkpoint = no_checkpoint,
) -> None:
    """As `audio.cut_audio`, into a file that is whole or not there.

    A file whose sound breaks its decoder has none; a `Refusal` tells of what may pass.
    """
    with replacing(target) as part:
        if not is_jailed(limits):
            with part.open("w+b") as file:
                audio.cut_audio(path, file, plan, limits, checkpoint)
            return
        try:
            silence = _cut_in_jail(path, part, plan, limits, checkpoint)
        except Refusal as refusal:
            if refusal.kind.retryable:
                raise
            silence = audio.UNREADABLE
        if silence is not None:
            raise NoSound(silence)


def _cut_in_jail(
    path: Path, part: Path, plan: FramePlan, limits: Limits, checkpoint: Checkpoint
) -> str | None:
    data = io.BytesIO()
    plan.write(data)
    task = Task(
        f"{_TASKS}:sound",
        ErrorCode.NOT_A_VIDEO,
        data=data.getvalue(),
        file_bytes=_SOUND_BYTES,
    )
    with Decoding(task, path, limits, checkpoint, target=part) as decoding:
        return decoding.result(SoundTold).silence
