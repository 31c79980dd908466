"""A store that damages each file once, between its writing and its check, or always."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from visionseg.artifacts.store import LocalStore, Stored

Damage = Callable[[Path], object]


def flip(place: float) -> Damage:
    """Turns one bit of the byte at that part of the file."""

    def damage(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(len(data) * place)] ^= 4
        path.write_bytes(data)

    return damage


def cut(path: Path) -> None:
    """Takes the end away."""
    path.write_bytes(path.read_bytes()[:-50])


def empty(path: Path) -> None:
    """Takes everything away."""
    path.write_bytes(b"")


DAMAGES: dict[str, Damage] = {
    "bit near the end": flip(0.97),
    "bit in the middle": flip(0.6),
    "cut off": cut,
    "empty": empty,
}


class Damaging(LocalStore):
    """Damages the first file of each name before or after it is summed; those named `always`, ever.

    With `always` no other is damaged.
    """

    def __init__(
        self, root: Path, damage: Damage, *, summed: bool, always: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(root)
        self._damage = damage
        self._summed = summed
        self._always = always
        self.damaged: set[str] = set()

    def put(self, key: str, source: Path) -> Stored:
        name = Path(key).name
        whole = name not in self._always if self._always else name in self.damaged
        self.damaged.add(name)
        if not whole and not self._summed:
            self._damage(source)
        stored = super().put(key, source)
        if not whole and self._summed:
            self._damage(self.path(key))
        return stored
