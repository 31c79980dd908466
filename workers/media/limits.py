"""How much a client's file may ask of a worker, and where it is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JailMode(StrEnum):
    """Whether a file is read in a jailed process: `prefer` takes the walls that the system has."""

    REQUIRE = "require"
    PREFER = "prefer"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Limits:
    """Every bound on what is read from a client's file; a file beyond one is refused.

    `memory_bytes` is the address space of the process that reads it. It may be silent for
    `stall_s`, and work on one file for `decode_s`.
    """

    image_pixels: int = 40_000_000
    frame_pixels: int = 8_900_000
    decoded_frames: int = 1_000_000
    duration_s: float = 12 * 3600.0
    open_s: float = 10.0
    stall_s: float = 60.0
    decode_s: float = 6 * 3600.0
    memory_bytes: int = 4 * 1024**3
    jail: JailMode = JailMode.PREFER
