"""How long a prediction will wait and work, from what was measured and what waits.

Honest and simple: the speeds are means, what waits was counted by the sweeper's last round, and
what is submitted meanwhile by others counts for nothing.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from visionseg.contract.models import MODELS
from visionseg.queue.lanes import GPU_LANES, LANE_OF, Lane, UnitKind
from visionseg.records import speeds, turns, workers
from visionseg.records.speeds import Speed
from visionseg.records.turns import Ahead, Place, Waiting

FRESH_S = 1.0


@dataclass(frozen=True, slots=True)
class Crew:
    """A live worker: its lanes in the order in which its processes serve them."""

    lanes: Sequence[str]
    engines: Sequence[str]
    processes: int

    def serves(self, lane: str, engine: str) -> bool:
        """Whether it takes the engine's units out of the lane."""
        return lane in self.lanes and (lane not in GPU_LANES or engine in self.engines)

    def before(self, lane: str) -> set[str]:
        """The lanes that it serves first."""
        return set(self.lanes[: self.lanes.index(lane)])


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was measured and what waited at one moment."""

    speeds: Mapping[tuple[str, str], Speed]
    crews: Sequence[Crew]
    waiting: Sequence[Waiting]

    def frame_s(self, engine: str, kind: UnitKind) -> float | None:
        """Seconds a frame, as measured, else as the model's card says."""
        speed = self.speeds.get((engine, kind))
        if speed is not None and speed.frame_s is not None:
            return speed.frame_s
        card = MODELS.get(engine)
        expected = {UnitKind.IMAGE: card.image_s, UnitKind.CHUNK: card.frame_s} if card else {}
        return expected.get(kind)

    def video_s(
        self, engine: str, frames: int, *, rendered: bool, followed: bool = True
    ) -> float | None:
        """Seconds of work on a video's frames: rendering goes on beside following.

        What was never measured counts for nothing, but for following: None then.
        """
        following = self.frame_s(engine, UnitKind.CHUNK) if followed else 0.0
        if following is None:
            return None
        rendering = self.frame_s(engine, UnitKind.RENDER) if rendered else None
        joining = self.frame_s(engine, UnitKind.ASSEMBLE)
        return frames * (max(following, rendering or 0.0) + (joining or 0.0))

    def goes_first(self, place: Place, own: Ahead) -> int:
        """How many jobs will probably be claimed before this one, of all keys.

        Those of its own key that stand before it, and of each other key as many as the fair
        shares give it until this one's turn: the key with the fewest seconds for its weight is
        always next.
        """
        unit_s = self._unit_s(place.lane, place.engine) or 1.0
        level = (own.used_s + own.jobs * unit_s) / own.weight
        others = (
            min(other.jobs, math.ceil((level * other.weight - other.used_s) / unit_s))
            for other in self.waiting
            if other.lane == place.lane and other.key_id != place.key_id
        )
        return own.jobs + sum(count for count in others if count > 0)

    def wait_s(self, place: Place, goes_first: int) -> float | None:
        """Seconds until a job is claimed that so many go before; None where nobody can tell.

        The work before it, and half a unit for what is under way, over the live processes that
        serve its lane; lanes that all of them serve first are emptied first.
        """
        crews = [crew for crew in self.crews if crew.serves(place.lane, place.engine)]
        unit_s = self._unit_s(place.lane, place.engine)
        if not crews or unit_s is None:
            return None
        sooner = set[str].intersection(*(crew.before(place.lane) for crew in crews))
        other_s = sum(
            other.ready * (self._unit_s(other.lane, place.engine) or 0.0)
            for other in self.waiting
            if other.lane in sooner
        )
        work_s = other_s + (goes_first + 0.5) * unit_s
        return round(work_s / sum(crew.processes for crew in crews), 1)

    def _unit_s(self, lane: str, engine: str) -> float | None:
        """The mean length of the lane's kinds of units."""
        kinds = [kind for kind in UnitKind if LANE_OF[kind] == lane]
        measured = [
            speed.unit_s for kind in kinds if (speed := self.speeds.get((engine, kind))) is not None
        ]
        if measured:
            return sum(measured) / len(measured)
        return self.frame_s(engine, UnitKind.IMAGE) if lane == Lane.IMAGES else None


class Forecasts:
    """The forecast of this process, read anew at most once a second for all who ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._forecast = Forecast({}, (), ())

    def now(self, connection: Connection) -> Forecast:
        """The forecast, at most a second old."""
        with self._lock:
            if time.monotonic() - self._read_at > FRESH_S:
                self._forecast = read_forecast(connection)
                self._read_at = time.monotonic()
            return self._forecast


def read_forecast(connection: Connection) -> Forecast:
    """The forecast as the database has it now; it reads a row a speed, worker and waiting key."""
    crews = [Crew(row.lanes, row.engines, row.processes) for row in workers.alive(connection)]
    return Forecast(speeds.all_measured(connection), crews, turns.waiting(connection))
