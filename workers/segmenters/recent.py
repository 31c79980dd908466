"""What was computed lately, kept for whoever asks for the same again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from workers.segmenters.base import Rgb

V = TypeVar("V")


class Kept(Generic[V]):
    """The values used last, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, key: str) -> V | None:
        """The value, if it is kept."""
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: str, value: V) -> V:
        """Keeps a value in place of the one used longest ago."""
        self._values[key] = value
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return value

    def clear(self) -> bool:
        """Lets go of all; false where there was none."""
        had_some = bool(self._values)
        self._values.clear()
        return had_some


def seen_once(
    pictures: Sequence[Rgb],
    names: Sequence[str],
    kept: Kept[V],
    batch: int,
    look: Callable[[Sequence[Rgb]], Sequence[V]],
) -> list[V]:
    """What `look` makes of each picture, at most `batch` of them at once.

    One whose name is kept, or stands in the list before, is not looked at again; one without a
    name always is.
    """
    keys = [name or str(place) for place, name in enumerate(names)]
    known = {key: found for key in keys if (found := kept.get(key)) is not None}
    unseen = {key: one for key, one in zip(keys, pictures, strict=True) if key not in known}
    for part in parts(list(unseen), batch):
        seen = look([unseen[key] for key in part])
        for key, found in zip(part, seen, strict=True):
            known[key] = found if key.isdecimal() else kept.put(key, found)
    return [known[key] for key in keys]


def parts(values: Sequence[V], size: int) -> Iterator[list[V]]:
    """The values in lists of at most `size`."""
    for first in range(0, len(values), size):
        yield list(values[first : first + size])
