"""The table of moves; lives.py tries them in any order."""

from __future__ import annotations

from visionseg.contract.status import MOVES, Status, sources


def test_every_status_is_reached_only_from_where_the_table_says() -> None:
    assert sources(Status.PROCESSING) == (Status.STARTING,)
    assert sources(Status.SUCCEEDED) == (Status.PROCESSING,)
    assert sources(Status.CANCELED) == (Status.STARTING, Status.PROCESSING)
    assert sources(Status.STARTING) == ()
    assert set(MOVES) == set(Status)
