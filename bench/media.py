"""What our media path costs beside the `ffmpeg` program, which is its limit.

Run with `python -m bench.media`; `--help` tells how to make it short. Every figure is processor
time of a whole process tree: each way runs in a program of its own (`bench.media_ways`), less what
starting that program costs, and the ways take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import imageio_ffmpeg
from PIL import Image

from bench.media_ways import PICTURES, WAYS
from workers.media.limits import JailMode

SIZES = {"1280x720": 3000, "1920x1080": 1000, "3840x2160": 250}
"""Sizes of the films, and their frames."""

X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "23")
FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y")
LIMITS: Mapping[str, Sequence[str]] = {"null": ("-f", "null", "-"), "x264": X264}
"""What `ffmpeg` does with the film: decodes it, and codes it again."""

LIMIT_OF = {"rgb": "null", "planes": "null", "coco_rle": "null", "masks": "null"}
"""The limit of each way, where it is not `x264`."""

JAILS = {"here": JailMode.OFF, "jailed": JailMode.PREFER}
PAINTED = ("mp4", "coco_rle", "masks")


@dataclass(frozen=True, slots=True)
class Column:
    """One way to measure: its name, its program, and the program that only starts."""

    name: str
    command: Sequence[str]
    start: Sequence[str] | None = None

    def spent_s(self) -> float:
        """Processor seconds of the work."""
        started = processor_s(self.start) if self.start else 0.0
        return processor_s(self.command) - started


def make_film(path: Path, size: str, frames: int) -> None:
    """A moving pattern with a little noise, as H.264: at 720p 2.4 Mbit/s, as real films have."""
    pattern = f"testsrc2=size={size}:rate=25,noise=alls=3:allf=t"
    command = [*FFMPEG, "-f", "lavfi", "-i", pattern, "-frames:v", str(frames)]
    coded = [*X264[:4], "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([*command, *coded], check=True)


def processor_s(command: Sequence[str]) -> float:
    """Processor seconds of a program and of all that it started and waited for."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def ours(way: str, path: Path, jail: JailMode, masks: int, chunk: int) -> Column:
    """One of our ways."""
    name = f"{way} {'here' if jail is JailMode.OFF else 'jailed'}"
    options = ["--jail", jail, "--masks", str(masks), "--chunk", str(chunk)]
    command = [sys.executable, "-m", "bench.media_ways", way, str(path), *options]
    return Column(name, command, [*command, "--only-start"])


def columns(asked: argparse.Namespace, film: Path, masks: int) -> list[Column]:
    """The limits, and all ways that were asked for."""
    written = {"null": [], "x264": [str(film.with_name("limit.mp4"))]}
    made = [
        Column(name, [*FFMPEG, "-i", str(film), *options, *written[name]])
        for name, options in LIMITS.items()
    ]
    for way in asked.ways:
        jails = [JailMode.OFF] if way == "textbook" else [JAILS[name] for name in asked.jails]
        made += [ours(way, film, jail, masks, asked.chunk) for jail in jails]
    return made


def measured(made: Sequence[Column], rounds: int) -> dict[str, float]:
    """The median of each column; the columns take turns."""
    taken = [[column.spent_s() for column in made] for _ in range(rounds)]
    seconds = map(median, zip(*taken, strict=True))
    return {column.name: spent for column, spent in zip(made, seconds, strict=True)}


def measure_film(asked: argparse.Namespace, film: Path, masks: int) -> None:
    """Prints what every way costs, and which part of it the limit would be."""
    spent = measured(columns(asked, film, masks), asked.rounds)
    for name, seconds in spent.items():
        way = name.split()[0]
        limit = way if way in LIMITS else LIMIT_OF.get(way, "x264")
        part = f"{spent[limit] / seconds:.2f} of {limit}"
        print(f"  {name:<16} {seconds:7.2f} s   {part}", flush=True)


def measure_pictures(asked: argparse.Namespace, folder: Path) -> None:
    """Prints what one picture costs."""
    still = folder / "still.jpg"
    Image.effect_noise((1920, 1080), 40).convert("RGB").save(still, quality=90)
    made = [ours("pictures", still, JAILS[name], 0, 0) for name in asked.jails]
    for name, seconds in measured(made, asked.rounds).items():
        print(f"a JPEG of 1920x1080, {name}: {seconds / PICTURES * 1000:.1f} ms")


def parsed() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    films = [way for way in WAYS if way != "pictures"]
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--frames", type=int, help="of each film; default: by its size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--masks", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--chunk", type=int, default=0, help="frames; 0: one chunk")
    parser.add_argument("--ways", nargs="*", default=films, choices=films)
    parser.add_argument("--jails", nargs="+", default=list(JAILS), choices=JAILS)
    parser.add_argument("--pictures", action="store_true", help="pictures too")
    return parser.parse_args()


def main() -> None:
    """Prints the tables."""
    asked = parsed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in asked.sizes:
            film, frames = folder / f"{size}.mp4", asked.frames or SIZES[size]
            make_film(film, size, frames)
            for masks in asked.masks:
                print(f"{size}, {frames} frames, {masks} masks, chunks of {asked.chunk or frames}")
                measure_film(asked, film, masks)
            film.unlink()
        if asked.pictures:
            measure_pictures(asked, folder)


if __name__ == "__main__":
    main()
