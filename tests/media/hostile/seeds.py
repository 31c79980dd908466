"""Small sound files of every kind, which hostile ones are made from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from tests.media.ffmpeg import ffmpeg

PICTURE = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25"]
SOUND = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=0.48"]
X264 = ["-c:v", "libx264", "-g", "6", "-pix_fmt", "yuv420p"]
FILMS = {
    "film.mp4": [*SOUND, *X264, "-c:a", "aac"],
    "fragments.mp4": [*X264, "-movflags", "frag_keyframe+empty_moov+default_base_moof"],
    "film.mkv": [*SOUND, *X264, "-c:a", "libmp3lame"],
    "film.webm": ["-c:v", "libvpx-vp9", "-g", "6"],
    "film.avi": [*SOUND, "-c:v", "mpeg4", "-c:a", "mp2"],
    "film.ts": [*SOUND, *X264, "-c:a", "aac"],
    "film.mpg": ["-c:v", "mpeg2video"],
    "film.flv": [*SOUND, "-c:v", "flv", "-c:a", "libmp3lame"],
    "film.asf": ["-c:v", "wmv2"],
    "film.ogv": ["-c:v", "libvpx"],
    "film.gif": [],
    "film.mov": ["-c:v", "prores_ks"],
}
SOLE = {
    "tiny.mp4": ["color=red:size=16x16:rate=25", *X264, "-frames:v", "1"],
    "pixel.mkv": ["color=red:size=1x1:rate=25", "-c:v", "ffv1", "-frames:v", "3"],
    "sound.m4a": ["sine=duration=0.2", "-c:a", "aac"],
    "slow.mkv": ["color=red:size=16x16:rate=1/1000", "-c:v", "mpeg4", "-frames:v", "3"],
    "rapid.mp4": [
        *["color=red:size=16x16:rate=25", *X264, "-frames:v", "3"],
        *["-video_track_timescale", "1000000000"],
    ],
}
STILLS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")


def make_seeds(folder: Path) -> Mapping[str, bytes]:
    """The bytes of each by name; stills are named after their format."""
    for name, coded in FILMS.items():
        assert ffmpeg([*PICTURE, *coded, "-frames:v", "12", name], folder), name
    for name, (source, *coded) in SOLE.items():
        assert ffmpeg(["-f", "lavfi", "-i", source, *coded, name], folder), name
    films = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {**films, **{kind: still(kind) for kind in STILLS}}


def still(kind: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    """A coloured picture in that format."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([columns * 6, rows * 8, rows + columns], -1).astype(np.uint8)
    data = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(data, quality=90)
    else:
        Image.fromarray(pixels).save(data, kind, **options)
    return data.getvalue()
