"""What the jail costs: decoding in this process, in jailed ones, and by the `ffmpeg` program.

Run with `python -m bench.media`. Every figure is processor time of a whole process tree: each way
runs in a program of its own, and the ways take turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import imageio_ffmpeg
from PIL import Image

from workers.media.decode import Wanted
from workers.media.limits import JailMode, Limits
from workers.media.pixels import Form
from workers.media.plan import select_frames
from workers.media.reading import open_image, read_frames, read_timeline, warm_up

ROUNDS = 7
PICTURES = 40
SIZES = {"1280x720": 500, "1920x1080": 250}
"""Sizes of the films, and their frames."""

WAYS = (JailMode.OFF, JailMode.PREFER)


def make_film(path: Path, size: str, frames: int) -> None:
    """A moving pattern with noise, as H.264."""
    pattern = f"testsrc2=size={size}:rate=25,noise=alls=12:allf=t"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", pattern]
    coded = ["-frames:v", str(frames), "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt"]
    subprocess.run([*command, *coded, "yuv420p", str(path)], check=True)


def processor_s(command: Sequence[str]) -> float:
    """Processor seconds of a program and of all that it started and waited for."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def ours(way: JailMode, work: str, *more: str) -> float:
    """Processor seconds of this program doing one thing in one way."""
    return processor_s([sys.executable, "-m", "bench.media", work, way, *more])


def film_round(path: Path) -> tuple[float, ...]:
    """The program `ffmpeg`, then each way, less what starting costs it."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "null", "-"]
    spent = [processor_s(ffmpeg)]
    for way in WAYS:
        started = ours(way, "start")
        spent += [ours(way, form, str(path)) - started for form in Form]
    return tuple(spent)


def picture_round(path: Path) -> tuple[float, ...]:
    """Milliseconds of processor time for one picture, each way."""
    return tuple(
        (ours(way, "pictures", str(path)) - ours(way, "start")) / PICTURES * 1000 for way in WAYS
    )


def columns(rounds: Sequence[tuple[float, ...]]) -> list[float]:
    """The median of each column."""
    return [median(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    """Prints the tables."""
    with tempfile.TemporaryDirectory() as folder:
        for size, frames in SIZES.items():
            film = Path(folder) / f"{size}.mp4"
            make_film(film, size, frames)
            null, rgb, planes, jailed_rgb, jailed_planes = columns(
                [film_round(film) for _ in range(ROUNDS)]
            )
            print(f"{size}, {frames} frames: ffmpeg -f null {null:.2f} s")
            print(f"  RGB     here {rgb:.2f} s, jailed {jailed_rgb:.2f} s ({jailed_rgb / rgb:.2f})")
            print(
                f"  planes  here {planes:.2f} s, jailed {jailed_planes:.2f} s "
                f"({jailed_planes / planes:.2f}); ffmpeg/jailed {null / jailed_planes:.2f}"
            )
        still = Path(folder) / "still.jpg"
        Image.effect_noise((1920, 1080), 40).convert("RGB").save(still, quality=90)
        here, jailed = columns([picture_round(still) for _ in range(ROUNDS)])
        print(f"a JPEG of 1920x1080: here {here:.1f} ms, jailed {jailed:.1f} ms")
        started = [median(ours(way, "start") for _ in range(ROUNDS)) for way in WAYS]
        print(f"start: here {started[0]:.2f} s, with the nursery {started[1]:.2f} s")


def work(what: str, way: JailMode, path: Path) -> None:
    """Does one thing and says nothing."""
    limits = Limits(jail=way)
    warm_up(way)
    if what == "pictures":
        for _ in range(PICTURES):
            open_image(path, limits)
    elif what in tuple(Form):
        plan = select_frames(read_timeline(path, limits))
        missing: list[int] = []
        wanted = Wanted(plan, range(len(plan)), Form(what))
        for _ in read_frames(path, wanted, limits, missing):
            pass
        if missing:
            raise SystemExit(f"{len(missing)} frames are missing")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        work(sys.argv[1], JailMode(sys.argv[2]), Path(*sys.argv[3:]))
