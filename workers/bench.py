"""A worker process's place of work: its model, its warm session, and the loop over claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import ModuleType

import structlog

from visionseg.predictions.claim import claim
from visionseg.predictions.finish import Outcome
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import Lane, UnitKind
from visionseg.records import predictions
from visionseg.records.engine import DATABASE_AWAY
from visionseg.records.units import Claim
from workers.duty import Watch, perform
from workers.jobs import assemble, chunk, fetch, image, ingest, plan, preview, render, repaint
from workers.jobs.work import Warm, Work
from workers.segmenters.base import Segmenter, Stopped

log = structlog.get_logger(__name__)
GIVE_WAY_EVERY_S = 0.1
JOBS: Mapping[UnitKind, ModuleType] = {
    UnitKind.FETCH: fetch,
    UnitKind.INGEST: ingest,
    UnitKind.IMAGE: image,
    UnitKind.CHUNK: chunk,
    UnitKind.RENDER: render,
    UnitKind.ASSEMBLE: assemble,
    UnitKind.PLAN: plan,
    UnitKind.REPAINT: repaint,
    UnitKind.PREVIEW: preview,
}


@dataclass(slots=True)
class Bench:
    """What one worker process works with. `lanes` stand in the order in which they are served."""

    installation: Installation
    lanes: Sequence[Lane]
    owner: str
    segmenters: Mapping[str, Segmenter]
    draining: Callable[[], bool]
    warm: Warm = field(default_factory=Warm)
    _gave_way_at: float = 0.0
    _away_s: float = 0.0

    def take_a_turn(self) -> None:
        """Claims and performs units for about `turn_s`, or until there are none for this worker.

        Work left over is hinted at, so that the turn goes on with the next message. A database
        that is away ends the turn; the sweeper's hints begin the next one.
        """
        until = time.monotonic() + self.installation.settings.lease.turn_s
        try:
            while not self.draining():
                claimed = self._claim(self.lanes)
                if claimed is None:
                    return
                self._perform(claimed, self._give_way)
                if time.monotonic() > until:
                    self.installation.hints.wake(Lane(claimed.lane))
                    return
        except DATABASE_AWAY as error:
            log.warning("turn_broken_off", error=str(error))

    def _claim(self, lanes: Sequence[Lane]) -> Claim | None:
        lease_s = self.installation.settings.lease.lease_s
        database = self.installation.database
        return claim(database, lanes, tuple(self.segmenters), self.owner, lease_s)

    def _give_way(self) -> None:
        """Performs the pictures that wait, so that a video never holds them up for long."""
        if Lane.IMAGES not in self.lanes:
            return
        if time.monotonic() - self._gave_way_at <= GIVE_WAY_EVERY_S:
            return
        began = time.monotonic()
        with suppress(*DATABASE_AWAY):  # the video goes on; its own watch tells if it is lost
            while (claimed := self._claim([Lane.IMAGES])) is not None:
                self._perform(claimed, _keep_going)
        self._gave_way_at = time.monotonic()
        self._away_s += self._gave_way_at - began

    def _perform(self, claimed: Claim, give_way: Callable[[], None]) -> None:
        def job(watch: Watch) -> tuple[Outcome, Callable[[], None]]:
            return self._run(claimed, watch, give_way)

        perform(self.installation, claimed, self.draining, job)

    def _run(
        self, claimed: Claim, watch: Watch, give_way: Callable[[], None]
    ) -> tuple[Outcome, Callable[[], None]]:
        with self.installation.database.connect() as connection:
            prediction = predictions.get(connection, claimed.prediction_id)
        if prediction is None:
            raise Stopped
        if claimed.seq == 0 and prediction.webhook is not None:
            self.installation.hints.wake(Lane.DELIVERY)  # the claim may have written its start
        away_before_s = self._away_s
        with self.installation.store.scratch() as scratch:
            work = Work(
                installation=self.installation,
                claim=claimed,
                prediction=prediction,
                scratch=scratch,
                segmenter=self.segmenters.get(prediction.engine),
                warm=self.warm,
                should_stop=watch.should_stop,
                moved=watch.moved,
                give_way=give_way,
            )
            try:
                outcome: Outcome = JOBS[UnitKind(claimed.kind)].run(work)
            except BaseException:
                work.discard()
                raise

        def committed() -> None:
            for step in work.on_commit:
                step()

        return replace(outcome, away_s=self._away_s - away_before_s), committed


def _keep_going() -> None:
    """A picture gives way to nobody."""
