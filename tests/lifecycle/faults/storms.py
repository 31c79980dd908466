"""A storm: jobs on three workers while faults of every kind strike, in an order set by a seed."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import RedisError

from tests.crews import Worker
from tests.fakes.loading import Noun
from tests.lifecycle.faults.conftest import Plant, kill
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import FINAL
from visionseg.queue.lanes import Lane

WORKERS = 3
CALM_S = (0.5, 1.5)
REDIS_AWAY_S = 1.0
JOBS_A_ROUND = 3

Result = list[tuple[str, str]]
"""A job's artifacts: names without its id, and SHA-256 sums."""


def kinds_of_jobs(clip_uri: str) -> Mapping[str, Callable[[Plant], PredictionId]]:
    """The jobs of a storm by name."""
    return {
        "image": lambda plant: plant.client.image(save_overlay=True),
        "slow image": lambda plant: plant.client.image(prompt=Noun.SLOW),
        "masks": lambda plant: plant.client.video(video=clip_uri, output_format="masks"),
        "slow clip": lambda plant: plant.client.video(
            video=clip_uri, prompt=Noun.SLOW, output_format="mp4"
        ),
    }


def result_of(plant: Plant, made: PredictionId) -> Result:
    """The artifacts of a prediction that must have succeeded."""
    plant.succeeded(made)
    query = "SELECT name, sha256 FROM files WHERE prediction_id = :id AND role = 'artifact'"
    rows = plant.rows(f"{query} ORDER BY name", id=made)
    return [(row.name.removeprefix(made), row.sha256) for row in rows]


@dataclass
class Storm:
    """What strikes a plant; `struck` counts the faults."""

    plant: Plant
    luck: random.Random
    frozen: list[tuple[float, Worker]] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)

    def rage(self, submissions: list[Callable[[], PredictionId]]) -> list[PredictionId]:
        """Submits, and strikes until everything is submitted and final."""
        made: list[PredictionId] = []
        while len(made) < len(submissions) or not self._all_final():
            made += [submit() for submit in submissions[len(made) :][:JOBS_A_ROUND]]
            self._staff()
            self._strike()
            time.sleep(self.luck.uniform(*CALM_S))
        self.wake(all_of_them=True)
        return made

    def _all_final(self) -> bool:
        rows = self.plant.rows("SELECT DISTINCT status FROM predictions")
        return {row.status for row in rows} <= set(FINAL)

    def _staff(self) -> None:
        self.wake()
        crew = self.plant.crew
        crew.workers = [worker for worker in crew.workers if worker.runs]
        for _ in range(WORKERS - len(crew.workers)):
            crew.start()

    def wake(self, *, all_of_them: bool = False) -> None:
        """Lets frozen workers go on once their leases have run out."""
        due = [one for one in self.frozen if all_of_them or one[0] < time.monotonic()]
        for one in due:
            one[1].signal(signal.SIGCONT)
            self.frozen.remove(one)

    def _strike(self) -> None:
        faults = {
            "kill a child": (5, self._kill_child),
            "kill a worker": (2, self._kill_worker),
            "freeze a worker": (2, self._freeze),
            "empty Redis": (3, self._flush),
            "restart Redis": (3, self._restart_redis),
            "double the hints": (3, self._double_hints),
            "nothing": (4, lambda: None),
        }
        (name,) = self.luck.choices(list(faults), [weight for weight, _ in faults.values()])
        faults[name][1]()
        self.struck[name] += 1

    def _worker(self) -> Worker | None:
        asleep = [worker for _, worker in self.frozen]
        awake = [worker for worker in self.plant.crew.workers if worker not in asleep]
        return self.luck.choice(awake) if awake else None

    def _kill_child(self) -> None:
        owners = self.plant.rows("SELECT owner FROM units WHERE state = 'leased' ORDER BY id")
        if owners:
            kill(int(self.luck.choice(owners).owner.rpartition("/")[2]))

    def _kill_worker(self) -> None:
        if (worker := self._worker()) is not None:
            worker.kill()

    def _freeze(self) -> None:
        worker = self._worker()
        if worker is not None and len(self.frozen) < WORKERS - 1:
            worker.signal(signal.SIGSTOP)
            lease_s = self.plant.installation.settings.lease.lease_s
            self.frozen.append((time.monotonic() + 1.3 * lease_s, worker))

    def _flush(self) -> None:
        with Redis.from_url(self.plant.servers.redis.url) as client:
            client.flushall()

    def _restart_redis(self) -> None:
        server = self.plant.servers.redis._server
        server.kill()
        time.sleep(REDIS_AWAY_S)
        server.start()
        while not self._redis_answers():
            time.sleep(0.02)

    def _redis_answers(self) -> bool:
        try:
            with Redis.from_url(self.plant.servers.redis.url) as client:
                return bool(client.ping())
        except RedisError:
            return False

    def _double_hints(self) -> None:
        for lane in Lane:
            self.plant.installation.hints.wake(lane, times=20)
