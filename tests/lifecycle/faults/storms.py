"""A storm: faults of every kind strike a whole service, in an order set by a seed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from sqlalchemy import text

from tests.crews import ALL_LANES, Program
from tests.fakes.disks import switch
from tests.lifecycle.faults import outages
from tests.lifecycle.faults.conftest import Plant, kill
from visionseg.predictions.deliver import LEASE_S
from visionseg.queue.lanes import Lane

WORKERS = 3
LANES = f"{ALL_LANES},{Lane.DELIVERY}"
CALM_S = (0.3, 1.2)
LOOK_EVERY_S = 0.1
UNITS_A_FAULT = 3
UNITS_A_FAULT_SHORT = 2
DISK_FULL_S = 2.0
API_AWAY_S = 1.0
SENDER_S = 15.0
"""After so long a sender's attempt counts as lost; the service itself waits longer."""

TRY_AGAIN_NOW = """
UPDATE deliveries SET next_at = now() WHERE id IN (
    SELECT id FROM deliveries WHERE state = 'pending' AND owner IS NULL AND next_at > now()
    FOR UPDATE SKIP LOCKED)
"""
LOST_BY_NOW = """
UPDATE deliveries SET lease_until = now() WHERE id IN (
    SELECT id FROM deliveries
    WHERE lease_until BETWEEN now() AND now() + make_interval(secs => :left)
    FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True)
class Spell:
    """A fault that lasts: at least until a moment of the monotonic clock."""

    until: float
    may_end: Callable[[], bool]
    end: Callable[[], None]


@dataclass
class Storm:
    """What strikes a plant; `struck` counts the faults.

    Faults are drawn like cards from a pack in which each lies as often as it is likely, so that
    none is left out by chance; in a `short` storm each lies in it once.
    """

    plant: Plant
    luck: random.Random
    short: bool = False
    spells: list[Spell] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    _asleep: list[Program] = field(default_factory=list)
    _pack: list[str] = field(default_factory=list)
    _api_back_at: float = 0.0

    @property
    def faults(self) -> Mapping[str, tuple[int, Callable[[], bool]]]:
        """How often each fault lies in the pack, and what it does; false: it found nothing."""
        return {
            "kill a child": (4, self._kill_child),
            "kill a worker": (2, self._kill_worker),
            "kill a worker's parent": (1, self._kill_parent),
            "freeze a worker past its lease": (2, self._freeze_worker),
            "kill the API": (2, self._kill_api),
            "freeze the API": (1, self._freeze_api),
            "empty Redis": (1, partial(outages.empty_redis, self.plant)),
            "restart Redis": (1, partial(outages.restart_redis, self.plant)),
            "freeze Redis": (1, partial(outages.freeze_redis, self.plant)),
            "drop messages": (2, partial(outages.drop_messages, self.plant)),
            "double messages": (2, partial(outages.double_messages, self.plant)),
            "restart PostgreSQL": (1, partial(outages.restart_postgres, self.plant)),
            "crash PostgreSQL": (1, partial(outages.crash_postgres, self.plant)),
            "fill the disk": (2, self._fill_disk),
        }

    def blow(self, is_over: Callable[[], bool]) -> None:
        """One fault, and a pause in which at least a few units of work are done.

        So a slow machine is not struck more often than it can do anything.
        """
        self._strike()
        calm_until = time.monotonic() + self.luck.uniform(*CALM_S)
        few = UNITS_A_FAULT_SHORT if self.short else UNITS_A_FAULT
        enough = self._units_done() + few
        while not is_over():
            self._end_spells()
            self._staff()
            self._hurry_deliveries()
            if time.monotonic() >= calm_until and self._units_done() >= enough:
                return
            time.sleep(LOOK_EVERY_S)

    def _strike(self) -> None:
        """The first fault of the pack that finds something; the others stay in it."""
        self._pack = self._pack or self._shuffled()
        for name in self._pack:
            if self.faults[name][1]():
                self.struck[name] += 1
                self._pack.remove(name)
                return

    def _units_done(self) -> int:
        (row,) = self.plant.rows("SELECT count(*) AS done FROM units WHERE state = 'done'")
        return int(row.done)

    def calm(self) -> None:
        """Ends what lasts and has everybody at work; only webhooks' long waits are cut short."""
        self._end_spells(all_of_them=True)
        self._api_back_at = 0.0
        self._staff()
        self._hurry_deliveries()

    def close(self) -> None:
        """Leaves nothing frozen or full; the plant ends the programs."""
        self._end_spells(all_of_them=True)

    def _shuffled(self) -> list[str]:
        often = {name: 1 if self.short else times for name, (times, _) in self.faults.items()}
        pack = [name for name, times in often.items() for _ in range(times)]
        self.luck.shuffle(pack)
        return pack

    def _staff(self) -> None:
        crew = self.plant.crew
        crew.workers = [worker for worker in crew.workers if worker.runs]
        for _ in range(WORKERS - len(crew.workers)):
            crew.start(lanes=LANES)
        api_runs = crew.api is not None and crew.api.runs
        if not api_runs and time.monotonic() >= self._api_back_at:
            crew.start_api()

    def _for_a_while(
        self,
        seconds: float,
        end: Callable[[], None],
        may_end: Callable[[], bool] = lambda: True,
    ) -> bool:
        self.spells.append(Spell(time.monotonic() + seconds, may_end, end))
        return True

    def _end_spells(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        for spell in tuple(self.spells):
            if all_of_them or (spell.until <= now and spell.may_end()):
                self.spells.remove(spell)
                spell.end()

    def _awake(self) -> list[Program]:
        return [worker for worker in self.plant.crew.workers if worker not in self._asleep]

    def _kill_child(self) -> bool:
        awake = [worker.process.pid for worker in self._awake()]
        held = [owner for owner in self._owners() if int(owner.split("/")[1]) in awake]
        if held:
            kill(int(self.luck.choice(held).rpartition("/")[2]))
        return bool(held)

    def _owners(self) -> list[str]:
        """Who holds units: `host/parent/child`."""
        query = "SELECT owner FROM units WHERE state = 'leased' ORDER BY id"
        return [row.owner for row in self.plant.rows(query)]

    def _holds(self, worker: Program) -> bool:
        return any(owner.split("/")[1] == str(worker.process.pid) for owner in self._owners())

    def _kill_worker(self) -> bool:
        awake = self._awake()
        if awake:
            self.luck.choice(awake).kill()
        return bool(awake)

    def _kill_parent(self) -> bool:
        """What its children do without it, they may do for a while."""
        awake = self._awake()
        if not awake:
            return False
        worker = self.luck.choice(awake)
        kill(worker.process.pid)
        return self._for_a_while(self._past_lease_s, lambda: worker.signal(signal.SIGKILL))

    def _freeze_worker(self) -> bool:
        """One that works; it sleeps until others have its units, whatever it was about to do."""
        working = [worker for worker in self._awake() if self._holds(worker)]
        if not working or len(self._asleep) > 1:
            return False
        worker = self.luck.choice(working)
        return self._freeze(worker, lambda: not self._holds(worker))

    def _freeze(self, program: Program, may_wake: Callable[[], bool] = lambda: True) -> bool:
        def wake() -> None:
            program.signal(signal.SIGCONT)
            self._asleep.remove(program)

        program.signal(signal.SIGSTOP)
        self._asleep.append(program)
        return self._for_a_while(self._past_lease_s, wake, may_wake)

    @property
    def _past_lease_s(self) -> float:
        return 1.3 * self.plant.installation.settings.lease.lease_s

    def _api(self) -> Program | None:
        api = self.plant.crew.api
        return api if api is not None and api.runs and api not in self._asleep else None

    def _kill_api(self) -> bool:
        if (api := self._api()) is None:
            return False
        api.kill()
        self._api_back_at = time.monotonic() + API_AWAY_S
        return True

    def _freeze_api(self) -> bool:
        return (api := self._api()) is not None and self._freeze(api)

    def _fill_disk(self) -> bool:
        full = switch(self.plant.installation.settings.storage.home)
        full.touch()
        return self._for_a_while(DISK_FULL_S, lambda: full.unlink(missing_ok=True))

    def _hurry_deliveries(self) -> None:
        """Moves time for webhooks, which are tried again after minutes and hours.

        Rows that a frozen sender holds are left until the database has cut it off.
        """
        with self.plant.installation.database.begin() as connection:
            connection.execute(text(TRY_AGAIN_NOW))
            connection.execute(text(LOST_BY_NOW), {"left": LEASE_S - SENDER_S})
