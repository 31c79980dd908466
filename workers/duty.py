"""One claim held: the lease renewed from a thread while the computation moves, and its end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from visionseg.artifacts.store import is_full
from visionseg.config import Lease
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.predictions import finish
from visionseg.predictions.finish import Outcome
from visionseg.predictions.installation import Installation
from visionseg.records import units
from visionseg.records.engine import DATABASE_AWAY
from visionseg.records.units import Claim, Standing
from workers.segmenters.base import Stopped

log = structlog.get_logger(__name__)
PROGRESS_EVERY_S = 1.0
IGNORED_STOP_S = 20.0
RETRY_S = 0.5
EXIT_STALLED = 70


class Reason(StrEnum):
    """Why the work is to stop."""

    UNWANTED = "unwanted"
    LOST = "lost"
    SHUTDOWN = "shutdown"


class Watch:
    """Looks after a claim while its work runs.

    Every `watch_s` it asks whether the work is still wanted; every `heartbeat_s` it renews the
    lease, but only while the work moved within `stall_s`. A computation that ignores the stop for
    20 s is ended with its process.
    """

    def __init__(
        self, database: Engine, claim: Claim, lease: Lease, draining: Callable[[], bool]
    ) -> None:
        self._database = database
        self._claim = claim
        self._lease = lease
        self._draining = draining
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._frames = self._told = 0
        self._moved_at = self._renewed_at = time.monotonic()
        self.reason: Reason | None = None

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def should_stop(self) -> bool:
        """Whether the work is to stop now."""
        return self.reason is not None

    def moved(self, frames_done: int) -> None:
        """The work got on; `frames_done` counts the frames of this unit."""
        self._frames = frames_done
        self._moved_at = time.monotonic()

    def _run(self) -> None:
        while not self._ended.wait(self._lease.watch_s):
            try:
                self.reason = self._look()
            except SQLAlchemyError as error:
                log.warning("watch_failed", unit=self._claim.unit_id, error=str(error))
                if self._silent_s(self._renewed_at) > self._lease.lease_s:
                    self.reason = Reason.LOST
            if self.reason is not None:
                self._enforce()
                return

    def _look(self) -> Reason | None:
        if self._draining():
            return Reason.SHUTDOWN
        with self._database.begin() as connection:
            standing = units.standing(connection, self._claim)
            if standing is not Standing.WANTED:
                return Reason(standing.value)
            if self._should_renew():
                self._told, self._renewed_at = self._frames, time.monotonic()
                units.renew(connection, self._claim, self._lease.lease_s, self._frames)
        return None

    def _should_renew(self) -> bool:
        if self._silent_s(self._moved_at) > self._lease.stall_s:
            return False
        news = self._frames != self._told
        every = PROGRESS_EVERY_S if news else self._lease.heartbeat_s
        return self._silent_s(self._renewed_at) >= every

    def _silent_s(self, since: float) -> float:
        return time.monotonic() - since

    def _enforce(self) -> None:
        if not self._ended.wait(IGNORED_STOP_S):
            log.error("stop_ignored", unit=self._claim.unit_id, reason=self.reason)
            os._exit(EXIT_STALLED)


def perform(
    installation: Installation,
    claim: Claim,
    draining: Callable[[], bool],
    job: Callable[[Watch], tuple[Outcome, Callable[[], None]]],
) -> None:
    """Runs a job under a watch and ends its unit as the job ended.

    The job returns its outcome and what to do once that is visible.
    """
    logger = log.bind(
        prediction_id=claim.prediction_id, unit=claim.kind, seq=claim.seq, attempt=claim.attempt
    )
    started = time.monotonic()
    with Watch(installation.database, claim, installation.settings.lease, draining) as watch:
        try:
            outcome, committed = job(watch)
            _insist(watch, lambda: _commit(installation, claim, outcome, committed))
            logger.info("unit_done", seconds=round(time.monotonic() - started, 3))
        except Stopped:
            again = watch.reason is Reason.SHUTDOWN
            _insist(watch, lambda: _stop(installation, claim, again=again))
            logger.info("unit_stopped", reason=watch.reason)
        except DATABASE_AWAY as error:
            logger.warning("unit_cut_off", error=str(error))
            time.sleep(RETRY_S)
            _insist(watch, lambda: _stop(installation, claim, again=True))
        except Refusal as refusal:
            _fail(watch, installation, claim, refusal)
            logger.info("unit_refused", code=refusal.code, detail=refusal.detail)
        except MemoryError:
            _fail(watch, installation, claim, Refusal(ErrorCode.OUT_OF_MEMORY))
            logger.warning("unit_out_of_memory")
        except Exception as error:
            logger.exception("unit_broke")
            code = ErrorCode.STORAGE_FULL if is_full(error) else ErrorCode.INTERNAL
            _fail(watch, installation, claim, Refusal(code))


def _insist(watch: Watch, end: Callable[[], None]) -> None:
    """Ends a unit, again and again while the database is away and the lease may still be held."""
    while True:
        try:
            return end()
        except DATABASE_AWAY as error:
            if watch.should_stop():
                raise
            log.warning("unit_not_ended", error=str(error))
            time.sleep(RETRY_S)


def _commit(
    installation: Installation, claim: Claim, outcome: Outcome, committed: Callable[[], None]
) -> None:
    if finish.complete(installation, claim, outcome):
        committed()
        return
    for file in outcome.files:
        installation.store.delete(file.store_key)
    finish.let_go(installation, claim)


def _stop(installation: Installation, claim: Claim, *, again: bool) -> None:
    """Ends a unit that is not done, which counts as no attempt: given back, or let go."""
    if not (again and finish.give_back(installation, claim)):
        finish.let_go(installation, claim)


def _fail(watch: Watch, installation: Installation, claim: Claim, refusal: Refusal) -> None:
    """A unit that cannot be ended belongs to a final prediction, or to someone else by now."""

    def end() -> None:
        if not finish.fail(installation, claim, refusal):
            finish.let_go(installation, claim)

    _insist(watch, end)
