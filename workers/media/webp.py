"""WebP as a film. libav's decoder reads no moving WebP, so Pillow does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from PIL import Image

from visionseg.artifacts.sniff import HEAD_BYTES, sniff
from visionseg.contract.errors import ErrorCode, Refusal
from workers.media.container import refuse_large
from workers.media.images import to_rgb
from workers.media.limits import Limits
from workers.media.source import Source

TIME_BASE = Fraction(1, 1000)
"""WebP tells times in milliseconds."""


def is_webp(source: Source) -> bool:
    """Whether the first bytes are those of a WebP."""
    with source.open("rb") as file:
        return sniff(file.read(HEAD_BYTES)) == "image/webp"


def webp_frames(source: Source, limits: Limits) -> Iterator[av.VideoFrame]:
    """Every frame that can be decoded, as RGB on white; a damaged file ends at its damage.

    Raises `Refusal`: not_a_video, or input_too_large before any pixel is decoded.
    """
    with source.open("rb") as file, _open(file) as image:
        refuse_large(image.width, image.height, limits)
        for number in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(number)
                image.load()
            except (OSError, EOFError, ValueError, SyntaxError):
                return
            frame = av.VideoFrame.from_ndarray(np.asarray(to_rgb(image)), format="rgb24")
            frame.pts, frame.time_base = int(image.info.get("timestamp", 0)), TIME_BASE
            yield frame


def _open(file: BinaryIO) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is looked at next
            return Image.open(file, formats=("WEBP",))
    except Image.DecompressionBombError as error:
        raise Refusal(ErrorCode.INPUT_TOO_LARGE) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise Refusal(ErrorCode.NOT_A_VIDEO) from error
