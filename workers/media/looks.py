"""How a video's frames look, read off the first of them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from workers.media.plan import Picture

_BT709, _BT470BG, _UNKNOWN, _RGB, _RESERVED = 1, 5, 2, 0, 3
_HDR_TRANSFERS = frozenset({16, 18})  # PQ (SMPTE ST 2084) and HLG (ARIB STD-B67)
_HD_LINES = 720  # players read untagged video of fewer lines as BT.601, else as BT.709


def look(frame: VideoFrame, pixel_aspect: Fraction | None) -> Picture:
    """How frames like this one look once they are upright and in 8-bit 4:2:0."""
    mirrored = _is_mirrored(frame)
    rotation = (round(frame.rotation / 90) * 90 + 180 * mirrored) % 360
    turned = rotation % 180 != 0
    width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
    aspect = pixel_aspect or Fraction(1)
    hdr = int(frame.color_trc) in _HDR_TRANSFERS
    return Picture(
        width=width,
        height=height,
        rotation=rotation,
        pixel_aspect=1 / aspect if turned else aspect,
        matrix=_BT709 if hdr else _matrix(frame),
        primaries=_BT709 if hdr else int(frame.color_primaries),
        transfer=_BT709 if hdr else int(frame.color_trc),
        tone_mapped=hdr,
        mirrored=mirrored,
    )


def _is_mirrored(frame: VideoFrame) -> bool:
    """Whether the display matrix (a b u, c d v, x y w) turns the picture over: ad < bc."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return False
    a, b, _, c, d, *_ = np.frombuffer(memoryview(matrix), np.int32).tolist()
    return bool(a * d < b * c)


def is_transparent(frame: VideoFrame, stream: VideoStream) -> bool:
    """Whether there is alpha, in the frame or (VP8 and VP9) beside it; a GIF always says so."""
    if stream.codec_context.name == "gif":
        return False
    return frame.format.components[-1].is_alpha or stream.metadata.get("alpha_mode") == "1"


def _matrix(frame: VideoFrame) -> int:
    told = int(frame.colorspace)
    if told not in (_RGB, _UNKNOWN, _RESERVED):
        return told
    return _BT709 if frame.height >= _HD_LINES else _BT470BG
