"""The five statuses of a prediction and the only moves between them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Status(StrEnum):
    """Where a prediction stands. `starting` means accepted, with no unit of work claimed yet."""

    STARTING = "starting"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


MOVES: Mapping[Status, frozenset[Status]] = {
    Status.STARTING: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELED}),
    Status.PROCESSING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}
OPEN = tuple(status for status, targets in MOVES.items() if targets)
FINAL = tuple(status for status, targets in MOVES.items() if not targets)


def sources(target: Status) -> tuple[Status, ...]:
    """The statuses from which `target` may be reached, in the order of a life."""
    return tuple(status for status, targets in MOVES.items() if target in targets)
