"""How much a client's file may ask of a worker."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound on what is read from a client's file; a file beyond one is refused."""

    image_pixels: int = 40_000_000
    frame_pixels: int = 8_900_000
    decoded_frames: int = 1_000_000
    duration_s: float = 12 * 3600.0
    open_s: float = 10.0
    stall_s: float = 60.0
