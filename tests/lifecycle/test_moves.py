"""A stateful test of the moves: whatever order things happen in, a life goes one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from visionseg.access.keys import Caller, authenticate
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import VideoSubmission
from visionseg.contract.models import LITE
from visionseg.contract.status import FINAL, MOVES, Status, sources
from visionseg.predictions import finish
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit
from visionseg.predictions.sweep import free_expired_leases, release_held
from visionseg.queue.lanes import Lane, UnitKind
from visionseg.records import predictions
from visionseg.records.units import Claim

GIVEN = {"video": "https://example.com/clip.mp4", "prompt": "dog"}
SUBMISSION = VideoSubmission.model_validate({"input": GIVEN})
RUNS = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,
)
SEARCH = settings(RUNS, max_examples=400, report_multiple_bugs=False)
"""For a fault that must be found; the search ends with the first one."""


def test_every_status_is_reached_only_from_where_the_table_says() -> None:
    assert sources(Status.PROCESSING) == (Status.STARTING,)
    assert sources(Status.SUCCEEDED) == (Status.PROCESSING,)
    assert sources(Status.CANCELED) == (Status.STARTING, Status.PROCESSING)
    assert sources(Status.STARTING) == ()
    assert set(MOVES) == set(Status)


@dataclass
class Seen:
    """What was observed of one prediction."""

    status: Status = Status.STARTING
    done: dict[int, int] = field(default_factory=dict)
    """The attempt that finished a unit, by the unit's seq."""


@pytest.fixture
def machine(
    installation: Installation, make_key: Callable[..., str]
) -> type[RuleBasedStateMachine]:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    who = authenticate(installation.database, pepper, f"Bearer {make_key()}")

    class Bound(Lives):
        parts = installation
        caller = who

    return Bound


class Lives(RuleBasedStateMachine):
    """Clients, workers, zombies and the sweeper at several predictions, in any order."""

    parts: Installation
    caller: Caller
    few = 2
    made = Bundle("made")
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[PredictionId, Seen] = {}
        with self.parts.database.begin() as connection:
            connection.execute(text("TRUNCATE predictions, units, turns, files, events CASCADE"))

    @precondition(lambda self: len(self.seen) < self.few)
    @rule(target=made)
    def submits(self) -> PredictionId:
        new = submit(self.parts, self.caller, SUBMISSION, GIVEN, "http://test")
        self.seen[new] = Seen()
        return new

    @rule(target=claims)
    def claims_next(self) -> Claim | None:
        self._forget_back_off()
        return claim(self.parts.database, [Lane.MEDIA, Lane.FETCH], [LITE], "host/1/2", 30)

    @rule(held=claims)
    def completes(self, held: Claim | None) -> None:
        """Also by zombies: a claim stays in its bundle and may be completed again."""
        if held is None:
            return
        last = held.kind == UnitKind.INGEST
        outcome = Outcome(success=Success("out.mp4") if last else None)
        if finish.complete(self.parts, held, outcome):
            done = self.seen[held.prediction_id].done
            by = done.setdefault(held.seq, held.attempt)
            assert by == held.attempt, "a unit done by two holders"

    @rule(held=claims, code=st.sampled_from([ErrorCode.NOT_A_VIDEO, ErrorCode.INTERNAL]))
    def fails(self, held: Claim | None, code: ErrorCode) -> None:
        if held is not None:
            finish.fail(self.parts, held, Refusal(code))

    @rule(held=consumes(claims))
    def gives_back(self, held: Claim | None) -> None:
        if held is not None and not finish.give_back(self.parts, held):
            finish.let_go(self.parts, held)

    @rule(one=made)
    def cancels(self, one: PredictionId) -> None:
        cancel(self.parts, one)

    @rule()
    def expires_and_sweeps(self) -> None:
        with self.parts.database.begin() as connection:
            connection.execute(text("UPDATE units SET lease_until = now() - interval '1 s'"))
        free_expired_leases(self.parts)
        release_held(self.parts)

    def _forget_back_off(self) -> None:
        with self.parts.database.begin() as connection:
            connection.execute(text("UPDATE units SET not_before = clock_timestamp()"))
            connection.execute(text("UPDATE turns SET ready_at = clock_timestamp()"))

    def _rows(self) -> Iterator[tuple[Seen, predictions.Record]]:
        with self.parts.database.connect() as connection:
            for one, seen in self.seen.items():
                row = predictions.get(connection, one)
                assert row is not None, "a prediction was lost"
                yield seen, row

    @invariant()
    def statuses_move_as_the_table_says(self) -> None:
        for seen, row in self._rows():
            now = Status(row.status)
            assert now is seen.status or _reachable(seen.status, now), f"{seen.status} to {now}"
            assert (row.completed_at is None) == (now not in FINAL)
            seen.status = now

    @invariant()
    def success_means_that_every_unit_is_done(self) -> None:
        with self.parts.database.connect() as connection:
            left = connection.execute(
                text(
                    "SELECT count(*) FROM units JOIN predictions p ON p.id = prediction_id"
                    " WHERE status = 'succeeded' AND state <> 'done'"
                )
            ).scalar_one()
        assert left == 0, "succeeded with units left"

    @invariant()
    def turns_count_the_ready_units(self) -> None:
        with self.parts.database.connect() as connection:
            wrong = connection.execute(
                text(
                    "SELECT count(*) FROM turns t WHERE ready <> (SELECT count(*) FROM units u"
                    " WHERE u.prediction_id = t.prediction_id AND u.lane = t.lane"
                    " AND state = 'ready')"
                )
            ).scalar_one()
        assert wrong == 0, "a turn does not know its ready units"


def _reachable(start: Status, end: Status) -> bool:
    return any(step is end or _reachable(step, end) for step in MOVES[start])


def test_whatever_happens_a_life_goes_one_way(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=RUNS)


def _any_status(_target: Status) -> tuple[Status, ...]:
    return tuple(Status)


def test_without_the_guard_of_the_moves_the_test_above_fails(
    machine: type[RuleBasedStateMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "sources", _any_status)
    monkeypatch.setattr(machine, "few", 1)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=SEARCH)
