"""Pictures' share of a process's time."""

from __future__ import annotations

from workers.balance import Balance


def test_pictures_go_first_until_they_owe_a_second_and_again_once_it_is_paid() -> None:
    balance = Balance(0.8)
    due = []
    for step, seconds in (
        (balance.add_pictures, 3.9),
        (balance.add_pictures, 0.2),
        (balance.add_others, 0.1),
    ):
        step(seconds)
        due.append(balance.is_due)
    assert due == [False, True, False]


def test_a_debt_is_forgiven_when_nothing_else_waits() -> None:
    balance = Balance(0.5)
    balance.add_pictures(100)
    balance.forgive()
    balance.add_pictures(0.9)
    assert not balance.is_due


def test_work_in_advance_buys_nothing() -> None:
    balance = Balance(0.5)
    balance.add_others(100)
    balance.add_pictures(1)
    assert balance.is_due


def test_a_share_of_one_lets_pictures_take_all() -> None:
    balance = Balance(1)
    balance.add_pictures(1000)
    assert not balance.is_due
