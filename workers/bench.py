"""A worker process's place of work: its model, its warm session, and the loop over claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from workers.balance import Balance
from workers.duty import Watch, perform
from workers.jobs import assemble, chunk, fetch, image, ingest, plan, preview, render, repaint
from workers.jobs.work import Warm, Work
from workers.pictures import Gathering, Seat
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
    _since: float = 0.0
    _away_s: float = 0.0
    _balance: Balance = field(init=False)

    def __post_init__(self) -> None:
        self._balance = Balance(self.installation.settings.lease.pictures_share)

    def take_a_turn(self) -> None:
        """Claims and performs units for about `turn_s`, or until there are none for this worker.

        Work left over is hinted at, so that the turn goes on with the next message. A database
        that is away ends the turn; the sweeper's hints begin the next one.
        """
        until = time.monotonic() + self.installation.settings.lease.turn_s
        try:
            while not self.draining():
                claimed = self._claim_next()
                if claimed is None:
                    return
                self._perform_in_turn(claimed)
                if time.monotonic() > until:
                    self.installation.hints.wake(Lane(claimed.lane))
                    return
        except DATABASE_AWAY as error:
            log.warning("turn_broken_off", error=str(error))

    def _claim_next(self) -> Claim | None:
        """In the order of the lanes; pictures last while they owe time to what else waits."""
        if self._balance.is_due:
            others = [lane for lane in self.lanes if lane is not Lane.IMAGES]
            if (found := self._claim(others)) is not None:
                return found
            self._balance.forgive()
        return self._claim(self.lanes)

    def _perform_in_turn(self, claimed: Claim) -> None:
        self._since = time.monotonic()
        if claimed.kind == UnitKind.IMAGE:
            self._perform_pictures(claimed)
        else:
            self._perform(claimed, self._give_way)
        self._count(claimed)

    def _count(self, claimed: Claim | None = None) -> None:
        """Charges the time since the last count to `claimed`, or else to a video."""
        now = time.monotonic()
        if claimed is not None and claimed.lane == Lane.IMAGES:
            self._balance.add_pictures(now - self._since)
        else:
            self._balance.add_others(now - self._since)
        self._since = now

    def _claim(self, lanes: Sequence[Lane], engines: Collection[str] | None = None) -> Claim | None:
        lease_s = self.installation.settings.lease.lease_s
        able = tuple(self.segmenters) if engines is None else engines
        return claim(self.installation.database, lanes, able, self.owner, lease_s)

    def _give_way(self) -> None:
        """Performs the pictures that wait, so that a video never holds them up for long.

        Pictures without end take their share of the time and no more.
        """
        if Lane.IMAGES not in self.lanes:
            return
        if time.monotonic() - self._since <= GIVE_WAY_EVERY_S:
            return
        self._count()
        began = self._since
        with suppress(*DATABASE_AWAY):  # the video goes on; its own watch tells if it is lost
            while not self._balance.is_due:
                claimed = self._claim([Lane.IMAGES])
                if claimed is None:
                    break
                self._perform_pictures(claimed)
                self._count(claimed)
        self._since = time.monotonic()
        self._away_s += self._since - began

    def _perform_pictures(self, first: Claim) -> None:
        """Performs a picture, together with those that wait for the same model or come soon.

        One of which a worker died is performed alone, or it might take the others with it again.
        """
        segmenter = self.segmenters[first.engine]
        settings = self.installation.settings.gathering
        most = min(settings.pictures_at_once, segmenter.pictures_at_once)
        if most == 1 or first.losses:
            self._perform(first, _keep_going)
            return
        gathering = Gathering(segmenter)
        with ThreadPoolExecutor(most, "picture") as pool:
            ends, apart = [], None
            try:
                for claimed in self._alike(first, most, settings.pictures_wait_ms / 1000):
                    if claimed.losses:
                        apart = claimed
                        break
                    seat = gathering.sit_down()
                    ends.append(pool.submit(self._perform_seated, claimed, seat))
            finally:
                gathering.serve()
        if apart is not None:
            self._perform(apart, _keep_going)
        for end in ends:
            end.result()

    def _alike(self, first: Claim, most: int, wait_s: float) -> Iterator[Claim]:
        """A claimed picture, and others for the same model until there are no more.

        It looks once again after `wait_s`.
        """
        yield first
        count, until = 1, time.monotonic() + wait_s
        while count < most:
            claimed = self._claim([Lane.IMAGES], [first.engine])
            if claimed is not None:
                count += 1
                yield claimed
            elif (left_s := until - time.monotonic()) > 0:
                time.sleep(left_s)
            else:
                return

    def _perform_seated(self, claimed: Claim, seat: Seat) -> None:
        with seat:
            self._perform(claimed, _keep_going, seat)

    def _perform(
        self, claimed: Claim, give_way: Callable[[], None], seat: Seat | None = None
    ) -> None:
        def job(watch: Watch) -> tuple[Outcome, Callable[[], None]]:
            return self._run(claimed, watch, give_way, seat)

        perform(self.installation, claimed, self.draining, job)

    def _run(
        self,
        claimed: Claim,
        watch: Watch,
        give_way: Callable[[], None],
        seat: Seat | None,
    ) -> tuple[Outcome, Callable[[], None]]:
        with self.installation.database.connect() as connection:
            prediction = predictions.get(connection, claimed.prediction_id)
        if prediction is None:
            raise Stopped
        if claimed.seq == 0 and prediction.webhook is not None:
            self.installation.hints.wake(Lane.DELIVERY)  # the claim may have written its start
        began, away_before_s = time.monotonic(), self._away_s
        with self.installation.store.scratch() as scratch:
            work = Work(
                installation=self.installation,
                claim=claimed,
                prediction=prediction,
                scratch=scratch,
                segmenter=seat or self.segmenters.get(prediction.engine),
                warm=self.warm,
                should_stop=watch.should_stop,
                moved=watch.moved,
                give_way=give_way,
            )
            try:
                work.insist_on_room()
                outcome: Outcome = JOBS[UnitKind(claimed.kind)].run(work)
            except BaseException:
                work.discard()
                raise

        def committed() -> None:
            for step in work.on_commit:
                step()

        away_s = self._away_s - away_before_s
        if seat is not None:
            spent_s = time.monotonic() - began
            away_s = spent_s - seat.share(spent_s)
        return replace(outcome, away_s=away_s), committed


def _keep_going() -> None:
    """A picture gives way to nobody."""
