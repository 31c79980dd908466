"""Loading all that a decoder loads late, since a jailed one can open nothing."""

from __future__ import annotations

import io
import pkgutil
from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Literal

import av
import numpy as np
from PIL import Image

from workers.media.audio import cut_audio
from workers.media.decode import Wanted, read_frames
from workers.media.images import open_image
from workers.media.jail import tasks as _tasks  # noqa: F401 - is loaded for the children
from workers.media.jail.confine import offered_walls
from workers.media.limits import Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.timeline import read_timeline


@dataclass(frozen=True, slots=True)
class _Memory:
    data: bytes

    def open(self, mode: Literal["rb"], /) -> BinaryIO:  # noqa: ARG002 - as `Path.open` takes it
        return io.BytesIO(self.data)


def warm_up() -> None:
    """Reads a picture and a film of our own making in every way that there is."""
    offered_walls()
    Image.init()
    _import_all_of_av()
    limits = Limits()
    still = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(still, "PNG")
    open_image(_Memory(still.getvalue()), limits)
    film = _Memory(_film())
    plan = select_frames(read_timeline(film, limits))
    for form in Form:
        list(read_frames(film, Wanted(plan, range(len(plan)), form), limits, []))
    cut_audio(film, io.BytesIO(), plan, limits)


def _import_all_of_av() -> None:
    """PyAV imports what subtitles and side data need when it meets the first of them."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def _film() -> bytes:
    """Two frames with sound that has to be coded anew."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        for _ in range(2):
            picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        silence = np.zeros((1, 2 * 48_000 // 10), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="stereo")
        frame.rate = 48_000
        container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode(None))
    return file.getvalue()
