"""How much of a process pictures may take while other work waits: most of it, but never all."""

from __future__ import annotations

BURST_S = 1.0
"""Pictures may owe so many seconds before what else waits goes first."""


class Balance:
    """Seconds that pictures owe the rest: they may take `share` (above 0, at most 1) of the time.

    Each second of pictures owes `1 / share - 1` seconds of anything else.
    """

    def __init__(self, share: float) -> None:
        self._owed_a_second = 1 / share - 1
        self._owed_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether other work that waits goes before pictures now."""
        return self._owed_s >= BURST_S

    def add_pictures(self, seconds: float) -> None:
        """Pictures were worked on for so long."""
        self._owed_s += seconds * self._owed_a_second

    def add_others(self, seconds: float) -> None:
        """Something else was worked on for so long."""
        self._owed_s = max(0.0, self._owed_s - seconds)

    def forgive(self) -> None:
        """Nothing else waits, so nothing is owed."""
        self._owed_s = 0.0
