"""Pieces of an mp4, encoded apart with the same settings, so that they can be joined untouched."""

from __future__ import annotations

import queue
import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workers.media.atomic import replacing
from workers.media.pixels import Planes
from workers.media.plan import FramePlan
from workers.media.sums import PacketSum

_WAITING_FRAMES = 4
_THREADS = 4  # a fixed number, since it changes the bytes that x264 writes
_X264 = {
    "preset": "veryfast",
    "crf": "23",
    "g": "250",
    "bf": "3",
    "x264-params": "open-gop=0:stitchable=1:annexb=0",  # packets as mp4 holds them
}
_TREE_COLUMNS = 8 * 16
"""x264's macroblock tree reads eight macroblocks at once, in other widths beyond the end of a row,
where memory holds anything: equal frames would come out in unequal bytes."""
_LIMITED = 1  # AVColorRange


class PieceWriter:
    """Encodes frames of one video, in order, in a thread of its own.

    A context manager: the file at `path` is there, whole, once the block has ended without an
    exception, and not at all otherwise. An error of the encoder is raised by `write` or at the end.
    `sum` is that of its packets by then.
    """

    def __init__(self, path: Path, plan: FramePlan) -> None:
        self._path = path
        self._plan = plan
        self.sum = PacketSum()
        self._frames: queue.Queue[VideoFrame | None] = queue.Queue(_WAITING_FRAMES)
        self._error: BaseException | None = None
        self._first_pts: int | None = None
        self._given_up = threading.Event()
        self._ended = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        part = self._stack.enter_context(replacing(self._path))
        self._thread = threading.Thread(target=self._run, args=(part,), name="encoder", daemon=True)
        self._thread.start()
        return self

    def write(self, planes: Planes, pts: int) -> None:
        """Takes the next frame, whose planes must not change any more; waits for a slow encoder.

        `pts` is in the source's time base.
        """
        if self._error:
            raise self._error
        if self._first_pts is None:
            self._first_pts = pts
        # from_numpy_buffer saves a copy, but cuts heights down to multiples of 4.
        whole = planes.shape[0] % 6 == 0
        make = VideoFrame.from_numpy_buffer if whole else VideoFrame.from_ndarray
        frame = make(planes, format="yuv420p")
        frame.pts = (pts - self._first_pts) * self._plan.time_base.numerator
        frame.time_base = Fraction(1, self._plan.time_base.denominator)
        self._frames.put(frame)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._given_up.set()
        self._frames.put(None)
        self._thread.join()
        failed = error or self._error
        self._stack.__exit__(type(failed) if failed else None, failed, trace)
        if self._error and not error:
            raise self._error

    def _run(self, part: Path) -> None:
        try:
            self._encode(part)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the writer's owner
            self._error = error
            while not self._ended:  # nobody may wait for room in the queue for ever
                self._next()

    def _encode(self, part: Path) -> None:
        with av.open(str(part), "w", format="mp4", options=_timescale(self._plan)) as container:
            stream = _add_stream(container, self._plan)
            while (frame := self._next()) is not None:
                if not self._given_up.is_set():
                    self._mux(container, stream.encode(frame))
            self._mux(container, stream.encode(None))

    def _mux(self, container: OutputContainer, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            self.sum.add(packet)
            container.mux(packet)

    def _next(self) -> VideoFrame | None:
        frame = self._frames.get()
        self._ended = frame is None
        return frame


def _timescale(plan: FramePlan) -> dict[str, str]:
    return {"video_track_timescale": str(plan.time_base.denominator)}


def _options(width: int) -> dict[str, str]:
    fits = -(-width // 16) * 16 % _TREE_COLUMNS == 0
    return {**_X264, "x264-params": f"{_X264['x264-params']}:mbtree={int(fits)}"}


def _add_stream(container: OutputContainer, plan: FramePlan) -> VideoStream:
    picture = plan.picture
    rate = plan.rate.limit_denominator(100_000)
    stream = container.add_stream("libx264", rate=rate, options=_options(picture.width))
    stream.width = picture.width + picture.width % 2
    stream.height = picture.height + picture.height % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, plan.time_base.denominator)
    context.thread_count = _THREADS
    context.sample_aspect_ratio = picture.pixel_aspect
    context.colorspace = picture.matrix
    context.color_primaries = picture.primaries
    context.color_trc = picture.transfer
    context.color_range = _LIMITED
    return stream
