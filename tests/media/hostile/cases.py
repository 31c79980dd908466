"""What a hostile file is to the tests: how it is made, and what may become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from visionseg.contract.errors import ErrorCode

READ = "read"
NOT_A_VIDEO, NOT_AN_IMAGE = ErrorCode.NOT_A_VIDEO, ErrorCode.NOT_AN_IMAGE
TOO_LARGE, TOO_LONG = ErrorCode.INPUT_TOO_LARGE, ErrorCode.VIDEO_TOO_LONG


@dataclass(frozen=True, slots=True)
class Around:
    """What a hostile file may point at: sound files, a secret one beside it, an open port."""

    seeds: Mapping[str, bytes]
    secret: Path
    port: int


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and the outcomes that are right for it: `READ`, or the codes of its refusal."""

    make: Callable[[Around], bytes]
    outcomes: frozenset[str]


def case(make: Callable[[Around], bytes] | bytes, *outcomes: str) -> Case:
    """A case of these outcomes, from its bytes or what makes them."""
    if isinstance(make, bytes):
        data = make
        return Case(lambda _: data, frozenset(outcomes))
    return Case(make, frozenset(outcomes))
