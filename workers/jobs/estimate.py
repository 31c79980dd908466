"""About how many bytes a video's result will have, before anything of it is made."""

from __future__ import annotations

from visionseg.config import GIB, Limits
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.inputs import OutputFormat, VideoInput
from workers.media.plan import FramePlan

OBJECTS = 4
"""On a frame, for want of better knowledge."""
MP4_PIXELS_A_BYTE = 64  # x264 at crf 23: an eighth of a bit a pixel
PNG_BYTES_A_PIXEL = 1.5  # photographs; noise needs 3
MASK_PIXELS_A_BYTE, MASK_BYTES = 200, 300  # a large ellipse, and an entry in zip and index
RLE_BYTES_A_COLUMN, RLE_BYTES = 1.0, 400  # likewise, and its keys in COCO and index


def output_bytes(asked: VideoInput, plan: FramePlan) -> int:
    """The estimate for the asked-for format, by frames and pixels alone."""
    width, height = plan.picture.size
    a_frame = {
        OutputFormat.MP4: width * height / MP4_PIXELS_A_BYTE,
        OutputFormat.FRAMES: width * height * PNG_BYTES_A_PIXEL,
        OutputFormat.MASKS: OBJECTS * (width * height / MASK_PIXELS_A_BYTE + MASK_BYTES),
        OutputFormat.COCO_RLE: OBJECTS * (width * RLE_BYTES_A_COLUMN + RLE_BYTES),
    }
    return round(len(plan) * a_frame[asked.output_format])


def refuse_too_large(estimated: int, asked: VideoInput, limits: Limits) -> None:
    """Raises `Refusal` (output_too_large) for an estimate beyond the limit, and tells both."""
    if estimated <= limits.output_bytes:
        return
    about, most = f"{estimated / GIB:.1f} GiB", f"{limits.output_bytes / GIB:.1f} GiB"
    raise Refusal(
        ErrorCode.OUTPUT_TOO_LARGE,
        f"The result as {asked.output_format} would have about {about}; the limit is {most}.",
        detail_zh=f"{asked.output_format} 格式的结果预计约 {about}，上限为 {most}。",
    )
