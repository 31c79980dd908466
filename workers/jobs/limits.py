"""The settings' limits in the media path's own words."""

from __future__ import annotations

from visionseg.config import Limits
from workers.media.limits import JailMode
from workers.media.limits import Limits as MediaLimits


def media_limits(limits: Limits) -> MediaLimits:
    """What the media path refuses."""
    return MediaLimits(
        image_pixels=limits.image_pixels,
        frame_pixels=limits.frame_pixels,
        decoded_frames=limits.video_frames,
        duration_s=limits.video_s,
        open_s=limits.decode_open_s,
        stall_s=limits.decode_stall_s,
        decode_s=limits.decode_s,
        memory_bytes=limits.decode_memory_bytes,
        jail=JailMode(limits.jail),
    )
