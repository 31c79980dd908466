"""A storm: faults of every kind strike a whole service, in an order set by a seed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from tests.crews import ALL_LANES, Program, until
from tests.fakes.disks import switch
from tests.lifecycle.faults.conftest import Plant, kill
from visionseg.predictions.deliver import LEASE_S
from visionseg.queue.lanes import Lane
from visionseg.records.engine import DATABASE_AWAY

WORKERS = 3
LANES = f"{ALL_LANES},{Lane.DELIVERY}"
CALM_S = (0.3, 1.2)
LOOK_EVERY_S = 0.1
UNITS_A_FAULT = 3
REDIS_AWAY_S = 1.0
REDIS_FROZEN_S = 2.0
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


@dataclass
class Storm:
    """What strikes a plant; `struck` counts the faults.

    Faults are drawn like cards from a pack in which each lies as often as it is likely, so that
    none is left out by chance.
    """

    plant: Plant
    luck: random.Random
    api: Program | None = None
    spells: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
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
            "empty Redis": (1, self._flush),
            "restart Redis": (1, self._restart_redis),
            "freeze Redis": (1, self._freeze_redis),
            "drop messages": (2, self._drop_messages),
            "double messages": (2, self._double_messages),
            "restart PostgreSQL": (1, self._restart_postgres),
            "crash PostgreSQL": (1, self._crash_postgres),
            "fill the disk": (2, self._fill_disk),
        }

    def blow(self, is_over: Callable[[], bool]) -> None:
        """One fault, and a pause in which at least a few units of work are done.

        So a slow machine is not struck more often than it can do anything.
        """
        self._pack = self._pack or self._shuffled()
        name = self._pack.pop()
        if self.faults[name][1]():
            self.struck[name] += 1
        calm_until = time.monotonic() + self.luck.uniform(*CALM_S)
        enough = self._units_done() + UNITS_A_FAULT
        while not is_over():
            self._end_spells()
            self._staff()
            self._hurry_deliveries()
            if time.monotonic() >= calm_until and self._units_done() >= enough:
                return
            time.sleep(LOOK_EVERY_S)

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
        """Leaves nothing frozen, full or running; the plant ends the workers."""
        self._end_spells(all_of_them=True)
        if self.api is not None:
            self.api.kill()

    def _shuffled(self) -> list[str]:
        pack = [name for name, (times, _) in self.faults.items() for _ in range(times)]
        self.luck.shuffle(pack)
        return pack

    def _staff(self) -> None:
        crew = self.plant.crew
        crew.workers = [worker for worker in crew.workers if worker.runs]
        for _ in range(WORKERS - len(crew.workers)):
            crew.start(lanes=LANES)
        if (self.api is None or not self.api.runs) and time.monotonic() >= self._api_back_at:
            self.api = crew.start_api()

    def _for_a_while(self, seconds: float, end: Callable[[], None]) -> bool:
        self.spells.append((time.monotonic() + seconds, end))
        return True

    def _end_spells(self, *, all_of_them: bool = False) -> None:
        now = time.monotonic()
        due = [spell for spell in self.spells if all_of_them or spell[0] <= now]
        self.spells = [spell for spell in self.spells if spell not in due]
        for _, end in due:
            end()

    def _awake(self) -> list[Program]:
        return [worker for worker in self.plant.crew.workers if worker not in self._asleep]

    def _kill_child(self) -> bool:
        query = "SELECT owner FROM units WHERE state = 'leased' ORDER BY id"
        owners = [row.owner for row in self.plant.rows(query)]
        if owners:
            kill(int(self.luck.choice(owners).rpartition("/")[2]))
        return bool(owners)

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
        awake = self._awake()
        if len(awake) < 2:
            return False
        return self._freeze(self.luck.choice(awake))

    def _freeze(self, program: Program) -> bool:
        def wake() -> None:
            program.signal(signal.SIGCONT)
            self._asleep.remove(program)

        program.signal(signal.SIGSTOP)
        self._asleep.append(program)
        return self._for_a_while(self._past_lease_s, wake)

    @property
    def _past_lease_s(self) -> float:
        return 1.3 * self.plant.installation.settings.lease.lease_s

    def _api(self) -> Program | None:
        runs = self.api is not None and self.api.runs and self.api not in self._asleep
        return self.api if runs else None

    def _kill_api(self) -> bool:
        if (api := self._api()) is None:
            return False
        api.kill()
        self._api_back_at = time.monotonic() + API_AWAY_S
        return True

    def _freeze_api(self) -> bool:
        return (api := self._api()) is not None and self._freeze(api)

    def _redis(self) -> Redis:
        return Redis.from_url(self.plant.servers.redis.url)

    def _flush(self) -> bool:
        with self._redis() as client:
            return bool(client.flushall())

    def _restart_redis(self) -> bool:
        server = self.plant.servers.redis._server
        server.kill()
        time.sleep(REDIS_AWAY_S)
        server.start()
        until(self._redis_answers)
        return True

    def _redis_answers(self) -> bool:
        try:
            with self._redis() as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _freeze_redis(self) -> bool:
        pid = self.plant.servers.redis.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        time.sleep(REDIS_FROZEN_S)
        os.kill(pid, signal.SIGCONT)
        return True

    def _drop_messages(self) -> bool:
        """Half of the messages of each lane, and what the broker takes for being worked on."""
        with self._redis() as client:
            waiting = {lane: int(client.llen(lane)) for lane in Lane}
            for lane, messages in waiting.items():
                client.ltrim(lane, 0, messages // 2 - 1)
            return bool(client.delete("unacked", "unacked_index") + sum(waiting.values()))

    def _double_messages(self) -> bool:
        """Twenty copies of a message of each lane; where none waits, twenty hints."""
        with self._redis() as client:
            for lane in Lane:
                if waiting := client.lrange(lane, 0, 0):
                    client.lpush(lane, *(20 * waiting))
                else:
                    self.plant.installation.hints.wake(lane, times=20)
        return True

    def _restart_postgres(self) -> bool:
        return self._stop_postgres(signal.SIGINT)

    def _crash_postgres(self) -> bool:
        return self._stop_postgres(signal.SIGQUIT)

    def _stop_postgres(self, number: signal.Signals) -> bool:
        """SIGINT writes everything down first; after SIGQUIT the log of writes is played again."""
        server = self.plant.servers.postgres._server
        assert server.pid is not None
        os.kill(server.pid, number)
        assert server.wait(60)
        server.kill()
        server.start()
        until(self._postgres_answers)
        return True

    def _postgres_answers(self) -> bool:
        try:
            return bool(self.plant.rows("SELECT 1"))
        except DATABASE_AWAY:
            return False

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
