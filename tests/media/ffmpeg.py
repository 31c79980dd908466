"""What the ffmpeg program makes and tells: the independent witness of the media tests."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

_BASE = re.compile(r"config in time_base: (\d+)/(\d+)")
_SHOWN = re.compile(r"\] n: *\d+ pts: *(-?\d+|NOPTS)")


def ffmpeg(arguments: Sequence[str | Path], folder: Path | None = None) -> bool:
    """Runs the program silently; whether it ended well."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-nostdin", "-y", *arguments]
    return subprocess.run(command, check=False, cwd=folder).returncode == 0


def shown_times(path: Path) -> list[Fraction]:
    """When each decoded frame of the first video stream is shown, in seconds, by `showinfo`.

    The program drops and doubles nothing here: what a filter sees is what was decoded.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-copyts", "-i", path]
    output = ["-map", "0:v:0", "-vf", "showinfo=checksum=0", "-f", "null", "-"]
    done = subprocess.run([*command, *output], check=False, capture_output=True, text=True)
    base = _BASE.search(done.stderr)
    return (
        [Fraction(*map(int, base.groups())) * int(pts) for pts in _SHOWN.findall(done.stderr)]
        if base
        else []
    )


def pictures(path: Path, *, pixels: str, frames: int = 1) -> npt.NDArray[np.uint8]:
    """The bytes of the first frames as the program shows them, which turns them by itself."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-i", path]
    output = ["-frames:v", str(frames), "-f", "rawvideo", "-pix_fmt", pixels, "-"]
    done = subprocess.run([*command, *output], check=True, capture_output=True)
    return np.frombuffer(done.stdout, np.uint8)
