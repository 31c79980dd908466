"""Several workers, clients and sweepers in any order: no history that must not be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.lifecycle.lives import Lives
from visionseg.access import keys
from visionseg.access.keys import Bounds, authenticate
from visionseg.contract.status import Status
from visionseg.predictions import finish
from visionseg.predictions.installation import Installation
from visionseg.records import predictions, shares, turns, units
from visionseg.records.tables import units as rows
from visionseg.records.units import Claim

CAP = 1
RUNS = settings(
    max_examples=20,
    stateful_step_count=50,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
SEARCH = settings(RUNS, max_examples=300, report_multiple_bugs=False)
"""For a fault that must be found; the search ends with the first one."""


@pytest.fixture
def machine(installation: Installation) -> type[Lives]:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    made = [
        keys.create(installation.database, pepper, "test", bounds=bounds).secret
        for bounds in (Bounds(), Bounds(max_running=CAP))
    ]

    class Bound(Lives):
        parts = installation
        callers = tuple(
            authenticate(installation.database, pepper, f"Bearer {secret}") for secret in made
        )
        cap = CAP

    return Bound


def test_whatever_workers_do_no_history_is_forbidden(machine: type[Lives]) -> None:
    run_state_machine_as_test(machine, settings=RUNS)


def _unfenced(claim: Claim) -> tuple[Any, ...]:
    return rows.c.id == claim.unit_id, rows.c.state == "leased"


def _without_attempt(claim: Claim) -> tuple[Any, ...]:
    return *_unfenced(claim), rows.c.owner == claim.owner


def _nothing(*_: object) -> None:
    return None


def _no(*_: object) -> bool:
    return False


FAULTS = {
    "no fence": (units, "held", _unfenced),
    "no attempt in the fence": (units, "held", _without_attempt),
    "no guard of the moves": (predictions, "sources", lambda _: tuple(Status)),
    "no guard at the end of a unit": (finish, "OPEN", tuple(Status)),
    "turns that are not refreshed": (turns, "refresh", _nothing),
    "open units stay": (units, "drop_open", _nothing),
    "nobody says that it let go": (predictions, "release", _no),
    "a done unit is not known as done": (units, "is_done", _no),
    "work costs nothing": (shares, "charge", _nothing),
}


IN_EVERY_RUN = ("no fence", "no guard of the moves", "turns that are not refreshed")
CASES = [
    fault if fault in IN_EVERY_RUN else pytest.param(fault, marks=pytest.mark.long)
    for fault in FAULTS
]


@pytest.mark.parametrize("fault", CASES)
def test_each_guard_taken_away_is_missed(
    machine: type[Lives], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=SEARCH)
