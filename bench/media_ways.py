"""The programs that `bench.media` measures: each does one thing with one film and says nothing.

`python -m bench.media_ways WAY FILM [--jail MODE] [--masks N] [--chunk N]`. A model of no cost
stands where a model would be: what it finds was drawn before. With `--only-start` everything is
made ready, and nothing done.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import ffmpeg
import imageio_ffmpeg
import numpy as np

from workers.masks import Mask, encode, union
from workers.media.archive import join_zips, write_index, write_zip
from workers.media.clock import source_clock
from workers.media.coco import write_coco
from workers.media.decode import VideoFrame, Wanted
from workers.media.encode import PieceWriter
from workers.media.limits import JailMode, Limits
from workers.media.names import mask_name
from workers.media.overlay import COLORS, Overlay
from workers.media.pixels import Form
from workers.media.plan import FramePlan, Picture, select_frames
from workers.media.reading import open_image, read_frames, read_timeline, warm_up
from workers.media.shards import ShardFrame, ShardInstance, ShardWriter, read_shard, read_shards
from workers.media.stitch import Piece, stitch
from workers.media.sums import FileSum
from workers.media.verify import Mp4, check_mp4, check_zip

PICTURES = 40
PHASES = 25
COLOR, OPACITY = "green", 0.5


@dataclass(frozen=True)
class Film:
    """A film, how it is read, and what the model of no cost finds on it."""

    path: Path
    limits: Limits
    masks: int
    chunk: int

    @cached_property
    def plan(self) -> FramePlan:
        """All its frames."""
        return select_frames(read_timeline(self.path, self.limits))

    @cached_property
    def found(self) -> Sequence[tuple[ShardInstance, ...]]:
        """The objects of some frames, which come again and again."""
        picture = self.plan.picture
        return [
            tuple(_object(picture, number, self.masks, phase) for number in range(self.masks))
            for phase in range(PHASES)
        ]

    def spans(self) -> Iterator[range]:
        """The frames of each chunk."""
        size = self.chunk or len(self.plan)
        for first in range(0, len(self.plan), size):
            yield range(first, min(first + size, len(self.plan)))

    def frames(self, span: range, form: Form) -> Iterator[VideoFrame]:
        """The frames of a span. Ends the program where one is missing."""
        missing: list[int] = []
        yield from read_frames(self.path, Wanted(self.plan, span, form), self.limits, missing)
        if missing:
            raise SystemExit(f"{len(missing)} frames are missing")

    def seen(self, span: range) -> Iterator[int]:
        """The indexes of the frames of a span, each decoded for a model that takes planes."""
        return (frame.index for frame in self.frames(span, Form.PLANES))

    def at(self, index: int) -> ShardFrame:
        """What the model finds on a frame."""
        source_index, pts = int(self.plan.source_index[index]), int(self.plan.pts[index])
        return ShardFrame(index, source_index, pts, self.found[index % PHASES])


def write_shards(folder: Path, film: Film, seen: Callable[[range], Iterable[int]]) -> list[Path]:
    """The shard of each span; `seen` gives the frames that the model looked at."""
    shards, picture = [], film.plan.picture
    for span in film.spans():
        shards.append(folder / f"{span.start}.shard")
        with ShardWriter(shards[-1], picture.height, picture.width) as shard:
            for index in seen(span):
                shard.write(film.at(index))
    return shards


def _object(picture: Picture, number: int, count: int, phase: int) -> ShardInstance:
    """An ellipse, a sixth of the width and two fifths of the height, swaying a little.

    Large movements would be work for the encoder that its limit does not have.
    """
    height, width = picture.height, picture.width
    canvas = np.zeros((height, width), np.uint8)
    x = int(width * (number + 0.5) / count)
    y = int(height * (0.5 + 0.02 * math.sin(math.tau * phase / PHASES + number)))
    cv2.ellipse(canvas, (x, y), (width // 12, height // 5), 20, 0, 360, (1,), -1)
    mask: Mask = canvas.view(np.bool_)
    rle = encode(mask)
    left, top, columns, rows = rle.bbox
    box = (float(left), float(top), float(left + columns), float(top + rows))
    return ShardInstance(rle, box, 0.9, "object", number + 1)


def read_rgb(film: Film, _folder: Path) -> None:
    """Decodes to RGB, as models want it."""
    _read(film, Form.RGB)


def read_planes(film: Film, _folder: Path) -> None:
    """Decodes to planes, as encoders want it."""
    _read(film, Form.PLANES)


def _read(film: Film, form: Form) -> None:
    for span in film.spans():
        for _ in film.frames(span, form):
            pass


def render_mp4(film: Film, folder: Path) -> None:
    """What `render` and `assemble` do: shards and film to pieces, pieces to one mp4."""
    overlay = Overlay(COLOR, OPACITY, film.plan.picture.matrix)
    pieces = []
    for span in film.spans():
        path = folder / f"{span.start}.mp4"
        shard = read_shard(folder / f"{span.start}.shard")
        with PieceWriter(path, film.plan) as writer:
            for frame, found in zip(film.frames(span, Form.PLANES), shard, strict=True):
                overlay.paint_planes(frame.pixels, [one.mask for one in found.instances])
                writer.write(frame.pixels, frame.pts)
        clock = source_clock(film.plan, span)
        check_mp4(path, Mp4(film.plan.picture, clock, {"video": writer.sum}))
        pieces.append(Piece(path, span, writer.sum))
    target = folder / "video.mp4"
    clock = source_clock(film.plan, range(len(film.plan)))
    check_mp4(target, Mp4(film.plan.picture, clock, stitch(pieces, clock, target)))


def write_coco_rle(film: Film, folder: Path) -> None:
    """What `chunk` and `assemble` do for run lengths; the model takes planes."""
    frames = read_shards(write_shards(folder, film, film.seen))
    path, index, sums = folder / "coco.json", folder / "index.json", list[FileSum]()

    def take(passing: Iterator[ShardFrame]) -> None:
        sums.append(write_coco(path, film.plan, ["object"], passing))

    write_index(index, film.plan, frames, take).check(index)
    sums[0].check(path)


def write_masks(film: Film, folder: Path) -> None:
    """What `chunk`, `render` and `assemble` do for pictures of masks; the model takes planes."""
    shards = write_shards(folder, film, film.seen)
    zips, size = [shard.with_suffix(".zip") for shard in shards], film.plan.picture.size
    for shard, path in zip(shards, zips, strict=True):
        names = list[str]()
        with write_zip(path) as archive:
            for found in read_shard(shard):
                archive.add_masks(found)
                names += [mask_name(found.source_index, one.object_id) for one in found.instances]
        check_zip(path, names, size)
    whole, index = folder / "masks.zip", folder / "index.json"
    write_index(index, film.plan, read_shards(shards)).check(index)
    check_zip(whole, join_zips(zips, whole, index), size)


def paint_by_the_textbook(film: Film, folder: Path) -> None:
    """ffmpeg-python, raw RGB through two pipes, numpy on whole frames between them."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    picture = film.plan.picture
    shape = picture.height, picture.width, 3
    masks = [union((one.mask for one in each), *shape[:2]) for each in film.found]
    raw = {"format": "rawvideo", "pix_fmt": "rgb24"}
    source = ffmpeg.input(str(film.path)).output("pipe:", **raw, loglevel="error")
    read = source.run_async(cmd=program, pipe_stdout=True)
    size = f"{picture.width}x{picture.height}"
    piped = ffmpeg.input("pipe:", **raw, s=size, r=float(film.plan.rate))
    coded = {"vcodec": "libx264", "preset": "veryfast", "crf": 23, "pix_fmt": "yuv420p"}
    target = piped.output(str(folder / "video.mp4"), **coded, loglevel="error")
    written = target.overwrite_output().run_async(cmd=program, pipe_stdin=True)
    color = np.array(COLORS[COLOR])
    for number in range(len(film.plan)):
        data = read.stdout.read(math.prod(shape))
        image = np.frombuffer(data, np.uint8).reshape(shape).copy()
        mask = masks[number % PHASES]
        image[mask] = image[mask] * (1 - OPACITY) + color * OPACITY
        written.stdin.write(image.tobytes())
    written.stdin.close()
    if read.wait() or written.wait():
        raise SystemExit("ffmpeg failed")


def open_pictures(film: Film, _folder: Path) -> None:
    """Opens the picture, again and again."""
    for _ in range(PICTURES):
        open_image(film.path, film.limits)


WAYS: Mapping[str, Callable[[Film, Path], None]] = {
    "rgb": read_rgb,
    "planes": read_planes,
    "mp4": render_mp4,
    "coco_rle": write_coco_rle,
    "masks": write_masks,
    "textbook": paint_by_the_textbook,
    "pictures": open_pictures,
}


def main() -> None:
    """Does one thing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("film", type=Path)
    parser.add_argument("--jail", type=JailMode, default=JailMode.OFF)
    parser.add_argument("--masks", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=0)
    parser.add_argument("--only-start", action="store_true")
    asked = parser.parse_args()
    film = Film(asked.film, Limits(jail=asked.jail), asked.masks, asked.chunk)
    warm_up(asked.jail)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.way == "mp4":
            write_shards(folder, film, iter)
        elif asked.masks:
            film.at(0)
        if not asked.only_start:
            WAYS[asked.way](film, folder)


if __name__ == "__main__":
    main()
