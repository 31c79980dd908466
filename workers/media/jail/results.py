"""The results that children tell, each field within what a file can truly hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from workers.media.cautions import Caution
from workers.media.jail.wire import Told

_Size = Annotated[int, Field(ge=1, le=1 << 16)]
_Code = Annotated[int, Field(ge=0, le=255)]
_Name = Annotated[str, Field(pattern=r"^[\w.,-]{1,100}$")]
_Part = Annotated[int, Field(ge=1, lt=1 << 31)]
_Pair = Annotated[tuple[_Part, _Part], Field(strict=False)]


class Nothing(Told):
    """The bytes were all."""


class ImageTold(Told):
    """The size of the picture whose pixels were sent."""

    height: _Size
    width: _Size


class SoundTold(Told):
    """Why no sound was written, or None where it was."""

    silence: Annotated[str, Field(max_length=200)] | None


class TimelineTold(Told):
    """A timeline without its timestamps; fractions are numerator and denominator."""

    time_base: _Pair
    rate: _Pair
    pixel_aspect: _Pair
    width: _Size
    height: _Size
    rotation: Literal[0, 90, 180, 270]
    matrix: _Code
    primaries: _Code
    transfer: _Code
    tone_mapped: bool
    mirrored: bool
    seekable: bool
    has_audio: bool
    codec: _Name
    container: _Name
    cautions: Annotated[list[Caution], Field(max_length=len(Caution))]


def fraction(pair: tuple[int, int]) -> Fraction:
    """The number that a pair stands for."""
    return Fraction(*pair)
