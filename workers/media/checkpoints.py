"""Where long work on media shows that it lives, and may be stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Checkpoint = Callable[[], None]
"""Called at every packet, frame or file; whatever it raises ends the work."""


def no_checkpoint() -> None:
    """Lets all work run to its end."""


def checked(items: Iterable[Item], checkpoint: Checkpoint) -> Iterator[Item]:
    """The items, with a checkpoint before each."""
    for item in items:
        checkpoint()
        yield item
