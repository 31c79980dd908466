"""Which frames of a video are processed, and how each is addressed ever after."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.atomic import replacing
from workers.media.cautions import Caution

Ticks = npt.NDArray[np.int64]
"""Timestamps in units of a time base, or frame numbers."""

_FASTEST_FPS, _SLOWEST_FPS = 240, 1


@dataclass(frozen=True, slots=True)
class Picture:
    """How the frames of a video look: upright size in pixels, and what turns them upright.

    A `mirrored` picture is first turned left to right; `rotation` is in degrees, counterclockwise:
    0, 90, 180 or 270. `pixel_aspect` is that of the upright picture. The colour fields are
    ISO/IEC 23091-2 code points of the frames that are handed out, 2 where unknown; `matrix` is
    always known. `tone_mapped` tells that the source is HDR (PQ or HLG).
    """

    width: int
    height: int
    rotation: int
    pixel_aspect: Fraction
    matrix: int
    primaries: int
    transfer: int
    tone_mapped: bool
    mirrored: bool = False

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height before turning."""
        turned = self.rotation % 180 != 0
        return (self.height, self.width) if turned else (self.width, self.height)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Every frame that the source shows, in order.

    `pts` strictly rises, in units of `time_base`; a frame's time counts from the first frame.
    `seekable` false: frames do not tell these times, so they are found by counting from the start.
    """

    pts: Ticks
    time_base: Fraction
    rate: Fraction
    picture: Picture
    seekable: bool
    has_audio: bool
    codec: str
    container: str
    cautions: tuple[Caution, ...] = ()

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""
        return float(int(self.pts[-1] - self.pts[0]) * self.time_base + 1 / self.rate)


@dataclass(frozen=True, slots=True, eq=False)
class FramePlan:
    """The processed frames: frame `n` is source frame `source_index[n]`, shown at `pts[n]`.

    `origin` is the pts of source frame 0; `rate` is the mean rate of the processed frames.
    """

    pts: Ticks
    source_index: Ticks
    origin: int
    time_base: Fraction
    rate: Fraction
    picture: Picture
    seekable: bool
    has_audio: bool

    def __len__(self) -> int:
        return int(self.pts.size)

    def time_s(self, index: int) -> float:
        """When the processed frame is shown, in seconds from source frame 0."""
        return float((int(self.pts[index]) - self.origin) * self.time_base)

    def span_s(self) -> tuple[Fraction, Fraction]:
        """From the first processed frame to the end of the last, in seconds from source frame 0."""
        first, last = int(self.pts[0]) - self.origin, int(self.pts[-1]) - self.origin
        return first * self.time_base, last * self.time_base + 1 / self.rate

    def part(self, span: range) -> FramePlan:
        """The plan of those processed frames alone, counted from 0."""
        frames = slice(span.start, span.stop)
        return replace(self, pts=self.pts[frames], source_index=self.source_index[frames])

    def save(self, path: Path) -> None:
        """Writes the plan to a file, whole or not at all."""
        with replacing(path) as part, part.open("wb") as file:
            self.write(file)

    def write(self, file: BinaryIO) -> None:
        """Writes the plan; equal plans give equal bytes."""
        header = json.dumps(self._header(), sort_keys=True).encode()
        np.save(file, np.frombuffer(header, np.uint8))
        np.save(file, self.pts)
        np.save(file, self.source_index)

    def _header(self) -> dict[str, object]:
        picture = {**asdict(self.picture), "pixel_aspect": str(self.picture.pixel_aspect)}
        if not self.picture.mirrored:
            del picture["mirrored"]  # workers of the release before know no such key
        return {
            "origin": self.origin,
            "time_base": str(self.time_base),
            "rate": str(self.rate),
            "picture": picture,
            "seekable": self.seekable,
            "has_audio": self.has_audio,
        }


def load_plan(path: Path) -> FramePlan:
    """The plan that `FramePlan.save` wrote; raises `ValueError` for anything else."""
    with path.open("rb") as file:
        return read_plan(file)


def read_plan(file: BinaryIO) -> FramePlan:
    """The plan that `FramePlan.write` wrote; raises `ValueError` for anything else."""
    header = json.loads(_load(file).tobytes())
    pts, source_index = _load(file), _load(file)
    picture = header["picture"]
    return FramePlan(
        pts=pts,
        source_index=source_index,
        origin=header["origin"],
        time_base=Fraction(header["time_base"]),
        rate=Fraction(header["rate"]),
        picture=Picture(**{**picture, "pixel_aspect": Fraction(picture["pixel_aspect"])}),
        seekable=header["seekable"],
        has_audio=header["has_audio"],
    )


def select_frames(
    timeline: Timeline,
    start_s: float = 0.0,
    end_s: float | None = None,
    stride: int = 1,
    max_frames: int | None = None,
) -> FramePlan:
    """Every `stride`-th frame with start <= time < end, at most `max_frames` of them.

    Times count from the first frame. Raises `Refusal` (no_frames_in_range) where none is left.
    """
    times = timeline.pts - timeline.pts[0]
    first = _ticks(start_s, timeline.time_base, times)
    last = times.size if end_s is None else _ticks(end_s, timeline.time_base, times)
    source_index = np.arange(first, last, stride, dtype=np.int64)[:max_frames]
    if not source_index.size:
        raise Refusal(ErrorCode.NO_FRAMES_IN_RANGE)
    return FramePlan(
        pts=timeline.pts[source_index],
        source_index=source_index,
        origin=int(timeline.pts[0]),
        time_base=timeline.time_base,
        rate=timeline.rate / stride,
        picture=timeline.picture,
        seekable=timeline.seekable,
        has_audio=timeline.has_audio,
    )


def mean_rate(pts: Ticks, base: Fraction, told: Fraction | None) -> Fraction:
    """Frames a second: what the container tells where the frames agree within 1 %, else counted.

    Held within 1-240; 25 for a single frame of unknown rate.
    """
    span = int(pts[-1] - pts[0]) * base
    counted = (pts.size - 1) / span if span else told or Fraction(25)
    rate = told if told and abs(told - counted) * 100 <= counted else counted
    return min(max(rate, Fraction(_SLOWEST_FPS)), Fraction(_FASTEST_FPS)).limit_denominator(100_000)


def _ticks(time_s: float, base: Fraction, times: Ticks) -> int:
    """How many frames lie before a time, taken as the decimal number that the client wrote."""
    ticks = Fraction(str(time_s)) / base
    return int(np.searchsorted(times, -(-ticks.numerator // ticks.denominator), side="left"))


def _load(file: BinaryIO) -> npt.NDArray[np.int64]:
    loaded: npt.NDArray[np.int64] = np.load(file, allow_pickle=False)
    return loaded
