"""A model of jobs and simulated workers beside the real database: what may happen, in any order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import text

from tests.lifecycle.histories import Model, World, spot_of
from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import VideoSubmission
from visionseg.contract.models import LITE
from visionseg.contract.status import FINAL, Status
from visionseg.predictions import finish
from visionseg.predictions.again import send_again
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.delete import delete
from visionseg.predictions.finish import Outcome, Success
from visionseg.predictions.installation import Installation
from visionseg.predictions.submit import submit
from visionseg.predictions.sweep import fail_overdue, free_expired_leases, release_held
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, LANE_OF, UnitKind
from visionseg.records import units
from visionseg.records.units import Claim, NewUnit, Standing

GIVEN = {"video": "https://example.com/clip.mp4", "prompt": "dog"}
SUBMISSION = VideoSubmission.model_validate({"input": GIVEN})
CREW = 3
LEASE_S = 3600.0
PLAN = ((2, UnitKind.CHUNK, ()), (3, UnitKind.CHUNK, ()), (4, UnitKind.RENDER, (2,)))
PLANNED = [
    *(NewUnit(seq, kind, LANE_OF[kind], after=after) for seq, kind, after in PLAN),
    NewUnit(5, UnitKind.ASSEMBLE, LANE_OF[UnitKind.ASSEMBLE], after=(3, 4)),
]
"""What a video's ingest adds: two chunks that several workers may hold at once."""

_numbers = itertools.count(1)
EXPIRED = "UPDATE units SET lease_until = now() - interval '1 s' WHERE owner = :owner"
OVERDUE = "UPDATE predictions SET deadline = now() - interval '1 s' WHERE id = :id"
WORKED = "UPDATE units SET started_at = started_at - make_interval(secs => :s) WHERE id = :id"
NO_BACK_OFF = """
    WITH due AS (UPDATE units SET not_before = now() - interval '1 s' WHERE state = 'ready')
    UPDATE turns SET ready_at = now() - interval '1 s' WHERE ready > 0
"""
FRESH = ("DELETE FROM predictions", "DELETE FROM workers", "UPDATE shares SET seconds = 0")
REPORTS = ("refuse", "break", "give back", "complete")
EVENTS = (
    *("take", "take", "take", "work", "end_well", "end_well", "end_ill"),
    *("submit", "submit", "end_early", "send_again"),
    *("freeze", "freeze", "wake", "wake", "drain", "die", "sweep", "sweep_late"),
    *("look_and_renew", "report_again"),
)
"""What may happen, as often as it shall."""
members = st.integers(0, CREW - 1)
picks = st.integers(0, 5)


@dataclass
class Worker:
    """A worker process. It believes in its claims until it hears otherwise."""

    owner: str = field(default_factory=lambda: f"host/{next(_numbers)}/1")
    frozen: bool = False
    holds: list[Claim] = field(default_factory=list)


def _outcome(held: Claim) -> Outcome:
    """What a unit of that kind leaves; it says who made it."""
    new = PLANNED if held.kind == UnitKind.INGEST else []
    success = Success("out.mp4") if held.kind == UnitKind.ASSEMBLE else None
    return Outcome(result={"by": held.attempt}, new_units=new, success=success)


class Lives(RuleBasedStateMachine):
    """Clients, workers, zombies and sweepers at several predictions of two keys, in any order."""

    parts: Installation
    callers: tuple[Caller, ...]
    cap: int
    """How many jobs of the second key may be worked on at once."""

    def __init__(self) -> None:
        super().__init__()
        for statement in FRESH:
            self._write(statement)
        self.model = Model(cap=self.cap, capped=self.callers[-1].key_id)
        self.world = World.seen(self.parts)
        self.crew = [Worker() for _ in range(CREW)]
        self.past: list[Claim] = []
        self.noted: list[Claim] = []
        for caller in (0, 1):
            self._submit(caller, 0)
        self.world = World.seen(self.parts)

    @rule(what=st.sampled_from(EVENTS), member=members, pick=picks)
    def happens(self, what: str, member: int, pick: int) -> None:
        """One rule for all: with several, a run would do without half of them."""
        event: Callable[[int, int], None] = getattr(self, f"_{what}")
        event(member, pick)

    # What clients do

    def _submit(self, member: int, _pick: int) -> None:
        if self.world.takes_more():
            submit(self.parts, self.callers[member % 2], SUBMISSION, GIVEN, "http://test")

    def _end_early(self, member: int, pick: int) -> None:
        one = self._job(pick)
        if member == 0:
            assert cancel(self.parts, one) == (self.world.status(one) not in FINAL)
        elif member == 1:
            delete(self.parts, one)
            self.model.deleted.add(one)
        else:
            self._write(OVERDUE, id=one)
            fail_overdue(self.parts)

    def _send_again(self, _member: int, pick: int) -> None:
        one = self._job(pick)
        ended = self.world.status(one) in {Status.FAILED, Status.CANCELED}
        if ended and not self.world.takes_more():
            return
        refused = True
        with suppress(Refusal):
            send_again(self.parts, one)
            refused = False
        assert refused == (not ended or one in self.model.deleted)

    # What workers do

    def _take(self, member: int, pick: int) -> None:
        self._claim(self._awake(member), worked_s=10 * pick)

    def _work(self, member: int, pick: int) -> None:
        for _ in range(pick):
            held = self._claim(self._awake(member), worked_s=10)
            if held is not None:
                self._end(held, "complete")

    def _end_well(self, _member: int, pick: int) -> None:
        for held in self._held(pick):
            self._end(held, "complete")

    def _end_ill(self, member: int, pick: int) -> None:
        for held in self._held(pick):
            self._end(held, REPORTS[member])

    def _look_and_renew(self, member: int, pick: int) -> None:
        """As the watch beside every computation does; it lets go of what is wanted no more."""
        for held in self._held(pick):
            live = self.model.is_live(held)
            with self.parts.database.begin() as connection:
                stands = units.standing(connection, held)
                renewed = units.renew(connection, held, LEASE_S, frames_done=member)
            final = self.world.status(held.prediction_id) in FINAL
            wanted = Standing.UNWANTED if final else Standing.WANTED
            assert stands is (wanted if live else Standing.LOST)
            assert renewed == live, "a renewal by a worker that lost its claim"
            if not live:
                self._must_be_as_before()
            if stands is not Standing.WANTED:
                self._let_go(held)

    def _report_again(self, _member: int, pick: int) -> None:
        """A report that comes twice, or long after its claim was lost, changes nothing."""
        if not self.past:
            return
        held = self.past[-1 - pick // 2 % len(self.past)]
        for how in REPORTS:
            heard_so = how == "complete" and self.model.finished_by(held)
            assert self._report(held, how) == heard_so, f"{how} by a claim of the past"
        finish.let_go(self.parts, held)
        assert not finish.lose(self.parts, held)
        self._must_be_as_before()

    # What befalls them

    def _freeze(self, member: int, pick: int) -> None:
        """Its leases run out; until the sweeper comes it may wake and go on."""
        worker = self._busy(member)
        worker.frozen = True
        self._write(EXPIRED, owner=worker.owner)
        if pick % 2:
            self._sweep(member, pick)

    def _wake(self, _member: int, _pick: int) -> None:
        for worker in self.crew:
            worker.frozen = False

    def _drain(self, member: int, _pick: int) -> None:
        """It is told to stop: it gives back what it holds."""
        worker = self._awake(member)
        for held in list(worker.holds):
            self._end(held, "give back")
        self._replace(worker)

    def _die(self, member: int, _pick: int) -> None:
        """Its parent frees its units."""
        gone = self._busy(member)
        self._replace(gone)
        with self.parts.database.connect() as connection:
            found = units.owned_by_host(connection, "host", 100)
        for held in found:
            if held.owner == gone.owner:
                self._lose(held)
        self.past += gone.holds

    def _sweep(self, _member: int, _pick: int) -> None:
        with self.parts.database.connect() as connection:
            lost = units.expired(connection, 100)
        free_expired_leases(self.parts)
        for held in lost:
            self.model.forget(held)
        release_held(self.parts)

    def _sweep_late(self, _member: int, _pick: int) -> None:
        """By what was read the last time."""
        for held in self.noted:
            self._lose(held)
        with self.parts.database.connect() as connection:
            self.noted = units.expired(connection, 100)

    # What must always hold

    @invariant()
    def no_forbidden_history(self) -> None:
        before, self.world = self.world, World.seen(self.parts)
        self.world.check_moves(before)
        self.world.check_counts()
        self.model.check(self.world)

    # How it is done

    def _claim(self, worker: Worker, worked_s: int) -> Claim | None:
        """As the bench does: the next unit of any lane."""
        self._write(NO_BACK_OFF)
        world = World.seen(self.parts)
        ready = self.model.claimable(world)
        held = claim(self.parts.database, [*GPU_LANES, *CPU_LANES], [LITE], worker.owner, LEASE_S)
        if held is None:
            assert not ready, f"nobody is given {ready}"
            return None
        assert spot_of(held) in ready, f"{spot_of(held)} was not to be claimed"
        self.model.take(held, world.key(held.prediction_id), worked_s)
        worker.holds.append(held)
        self._write(WORKED, s=worked_s, id=held.unit_id)
        return held

    def _end(self, held: Claim, how: str) -> None:
        """The end of a unit: it lands if the claim is the live one of an open job, and only so."""
        self.world = World.seen(self.parts)
        lands = self._is_wanted(held)
        landed = self._report(held, how)
        assert landed == lands, "a write is lost" if lands else "a write landed that is fenced"
        if lands:
            self.model.end(held, how)
            self._put_away(held)
        else:
            self._must_be_as_before()
            self._let_go(held)

    def _report(self, held: Claim, how: str) -> bool:
        if how == "complete":
            return finish.complete(self.parts, held, _outcome(held))
        if how == "give back":
            return finish.give_back(self.parts, held)
        code = ErrorCode.INTERNAL if how == "break" else ErrorCode.NOT_A_VIDEO
        return finish.fail(self.parts, held, Refusal(code))

    def _let_go(self, held: Claim) -> None:
        live = self.model.is_live(held)
        finish.let_go(self.parts, held)
        if live:
            self.model.forget(held)
        else:
            self._must_be_as_before()
        self._put_away(held)

    def _lose(self, held: Claim) -> None:
        assert finish.lose(self.parts, held) == self.model.is_live(held)
        self.model.forget(held)

    def _must_be_as_before(self) -> None:
        now = World.seen(self.parts)
        assert now == self.world, "a write by a worker that lost its claim"

    def _put_away(self, held: Claim) -> None:
        self.past.append(held)
        for worker in self.crew:
            worker.holds = [one for one in worker.holds if one is not held]

    def _replace(self, gone: Worker) -> None:
        self.crew[self.crew.index(gone)] = Worker()

    def _awake(self, member: int) -> Worker:
        """A worker that is not frozen; a new one, if they all are."""
        awake = [worker for worker in self.crew if not worker.frozen]
        if not awake:
            self._replace(self.crew[member])
            return self.crew[member]
        return awake[member % len(awake)]

    def _busy(self, member: int) -> Worker:
        """A worker that holds something, if any does."""
        busy = [worker for worker in self.crew if worker.holds] or self.crew
        return busy[member % len(busy)]

    def _held(self, pick: int) -> list[Claim]:
        """One of what somebody awake holds, if anything is held; half of the time one of those
        that were taken away, if any was.
        """
        awake = [held for worker in self.crew if not worker.frozen for held in worker.holds]
        gone = [held for held in awake if not self._is_wanted(held)]
        among = gone if gone and pick % 2 else awake
        return among[pick // 2 % len(among) :][:1] if among else []

    def _is_wanted(self, held: Claim) -> bool:
        return self.model.is_live(held) and self.world.status(held.prediction_id) not in FINAL

    def _job(self, pick: int) -> PredictionId:
        """Of all jobs; half of the time of those that somebody works on, if there are any."""
        begun = list({held.prediction_id: 0 for held in self.model.live.values()})
        among = begun if begun and pick % 2 else list(self.world.predictions)
        return among[pick // 2 % len(among)]

    def _write(self, statement: str, **values: object) -> None:
        with self.parts.database.begin() as connection:
            connection.execute(text(statement), values)
