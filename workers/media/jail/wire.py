"""What parent and decoding child tell each other: length-prefixed JSON, believed once checked.

The child may be in the hands of whoever made the file. So its messages are short, hold no code and
no address, and each field is checked against a closed model; pixels come beside them, in memory
whose layout the parent alone decides.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from visionseg.contract.errors import ErrorCode

MOST_BYTES = 16 * 1024
"""The length of the longest message from a child."""

LENGTH = struct.Struct("<I")

Detail = Annotated[str, Field(max_length=500)]


class Told(BaseModel):
    """A checked message: exact types, no unknown field."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Alive(Told):
    """The child works."""

    kind: Literal["alive"]


class Filled(Told):
    """`size` bytes stand at the start of a slot; `number` says which they are."""

    kind: Literal["filled"]
    slot: int = Field(ge=0)
    size: int = Field(ge=0)
    number: int = Field(ge=0)


class Done(Told):
    """The task's result; each task has a model for it."""

    kind: Literal["done"]
    result: Mapping[str, Any]


class Refused(Told):
    """The file cannot be taken, for a reason of the file; or what is made of it finds no room."""

    kind: Literal["refused"]
    code: Literal[
        ErrorCode.NOT_AN_IMAGE,
        ErrorCode.NOT_A_VIDEO,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.VIDEO_TOO_LONG,
        ErrorCode.STORAGE_FULL,
    ]
    detail: Detail
    detail_zh: Detail


class Broken(Told):
    """A fault of ours."""

    kind: Literal["broken"]
    error: Annotated[str, Field(max_length=4000)]


Message = Annotated[Alive | Filled | Done | Refused | Broken, Field(discriminator="kind")]
_MESSAGE: TypeAdapter[Alive | Filled | Done | Refused | Broken] = TypeAdapter(Message)


def parse(data: bytes) -> Alive | Filled | Done | Refused | Broken:
    """The message in these bytes; raises `ValueError` for anything else."""
    return _MESSAGE.validate_json(data)
