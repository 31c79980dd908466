"""What the database holds at one moment, what a model expects of it, and what must never be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import text

from visionseg.contract.ids import PredictionId
from visionseg.contract.status import FINAL, MOVES, Status
from visionseg.predictions.installation import Installation
from visionseg.records.units import Claim

Spot = tuple[str, int]
"""A unit, by its prediction and its number in it."""
Row = Mapping[str, Any]
MOST, MOST_OPEN = 9, 4
ORDER = {
    "predictions": "created_at",
    "units": "id",
    "turns": "prediction_id, lane",
    "shares": "key_id",
    "events": "id",
    "files": "id",
    "deliveries": "id",
}
SEEN = text(
    "SELECT json_build_object({})".format(
        ", ".join(
            f"'{name}', (SELECT coalesce(json_agg(t ORDER BY {order}), '[]') FROM {name} t)"  # noqa: S608 - own names
            for name, order in ORDER.items()
        )
    )
)


def spot_of(held: Claim) -> Spot:
    return held.prediction_id, held.seq


def _reachable(start: Status, end: Status) -> bool:
    return start is end or any(_reachable(step, end) for step in MOVES[start])


@dataclass(frozen=True)
class World:
    """Every row of the job engine's tables."""

    rows: Mapping[str, list[Row]]

    @classmethod
    def seen(cls, installation: Installation) -> Self:
        with installation.database.connect() as connection:
            return cls(connection.execute(SEEN).scalar_one())

    @property
    def predictions(self) -> Mapping[PredictionId, Row]:
        return {row["id"]: row for row in self.rows["predictions"]}

    @property
    def units(self) -> list[Row]:
        return self.rows["units"]

    def status(self, one: PredictionId) -> Status:
        return Status(self.predictions[one]["status"])

    def takes_more(self) -> bool:
        """Whether few enough predictions are open, and few enough there in all."""
        statuses = [row["status"] for row in self.rows["predictions"]]
        return len(statuses) < MOST and sum(one not in FINAL for one in statuses) < MOST_OPEN

    def key(self, one: PredictionId) -> str:
        return str(self.predictions[one]["key_id"])

    def of(self, one: str, *states: str) -> list[Row]:
        """A prediction's units in these states."""
        return [u for u in self.units if u["prediction_id"] == one and u["state"] in states]

    def check_moves(self, before: World) -> None:
        """Nothing was lost, and every status moved as the table says."""
        for one, old in before.predictions.items():
            assert one in self.predictions, "a prediction was lost"
            row, was = self.predictions[one], Status(old["status"])
            assert _reachable(was, Status(row["status"])), f"{was} to {row['status']}"
            if was in FINAL:
                kept = ("completed_at", "error_code", "released_at")
                assert all(old[name] in {None, row[name]} for name in kept), "a second end"

    def check_counts(self) -> None:
        """What is counted or derived is what a recount says."""
        for one, row in self.predictions.items():
            final = row["status"] in FINAL
            assert (row["completed_at"] is not None) == final
            nobody = not self.of(one, "leased")
            assert (row["released_at"] is not None) == (final and nobody), "released or not"
            assert not (final and self.of(one, "blocked", "ready")), "open units of a final job"
            self._check_success(one, row)
            self._check_events(one, row)
        for unit in self.units:
            self._check_unit(unit)
        assert self._turns_told() == self._turns_counted(), "a turn does not know its ready units"
        assert all(share["seconds"] >= 0 for share in self.rows["shares"])

    def _check_success(self, one: str, row: Row) -> None:
        left = self.of(one, "blocked", "ready", "leased", "dropped")
        assert not (row["status"] == Status.SUCCEEDED and left), "succeeded with units left"

    def _check_events(self, one: str, row: Row) -> None:
        told = Counter(e["kind"] for e in self.rows["events"] if e["prediction_id"] == one)
        expected = {"start": int(row["started_at"] is not None)}
        expected["completed"] = int(row["status"] in FINAL)
        assert told == Counter(expected), "an end told twice, or not at all"

    def _check_unit(self, unit: Row) -> None:
        assert (unit["owner"] is not None) == (unit["state"] == "leased")
        assert (unit["lease_until"] is not None) == (unit["state"] == "leased")
        done = {u["seq"] for u in self.of(unit["prediction_id"], "done")}
        left = len(set(unit["after"]) - done)
        if unit["state"] == "blocked":
            assert unit["waits_for"] == left > 0, "blocked by nothing"
        elif unit["state"] != "dropped":
            assert left == 0, "begun before what it waits for"

    def _turns_told(self) -> list[tuple[Any, ...]]:
        names = ("prediction_id", "lane", "ready", "ready_at", "begun")
        return sorted(tuple(turn[name] for name in names) for turn in self.rows["turns"])

    def _turns_counted(self) -> list[tuple[Any, ...]]:
        counted = []
        for one, lane in {(u["prediction_id"], u["lane"]) for u in self.units}:
            ready = [u["not_before"] for u in self.of(one, "ready") if u["lane"] == lane]
            begun = self.status(one) is Status.PROCESSING
            counted.append((one, lane, len(ready), min(ready, default=None), begun))
        return sorted(counted)


@dataclass
class Model:
    """Who holds what, by what was seen to happen and not by what the database says."""

    cap: int
    capped: str
    live: dict[Spot, Claim] = field(default_factory=dict)
    attempts: Counter[Spot] = field(default_factory=Counter)
    given_back: Counter[Spot] = field(default_factory=Counter)
    finished: dict[Spot, int] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    spent: Counter[str] = field(default_factory=Counter)
    worked: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)

    def is_live(self, held: Claim) -> bool:
        """Whether this is the one claim that counts."""
        return self.live.get(spot_of(held)) == held

    def finished_by(self, held: Claim) -> bool:
        """Whether this very claim ended its unit well."""
        return self.finished.get(spot_of(held)) == held.attempt

    def take(self, held: Claim, key: str, worked_s: int) -> None:
        """A claim was given out."""
        assert spot_of(held) not in self.live, "two live claims of a unit"
        self.live[spot_of(held)] = held
        self.attempts[spot_of(held)] += 1
        self.worked[held.unit_id, held.attempt] = (key, worked_s)

    def forget(self, held: Claim) -> None:
        """A claim counts no more."""
        if self.is_live(held):
            del self.live[spot_of(held)]

    def end(self, held: Claim, how: str) -> None:
        """The holder ended its unit, and its key pays for the time unless it only gave it back."""
        self.forget(held)
        if how == "give back":
            self.given_back[spot_of(held)] += 1
            return
        if how == "complete":
            self.finished[spot_of(held)] = held.attempt
        key, worked_s = self.worked[held.unit_id, held.attempt]
        self.spent[key] += worked_s

    def claimable(self, world: World) -> set[Spot]:
        """The first ready unit of each lane of each job that may be worked on."""
        found: dict[tuple[str, str], Spot] = {}
        for unit in world.units:
            one = unit["prediction_id"]
            if unit["state"] == "ready" and self._may_run(world, one):
                found.setdefault((one, unit["lane"]), (one, unit["seq"]))
        return set(found.values())

    def _may_run(self, world: World, one: PredictionId) -> bool:
        begun = world.status(one) is Status.PROCESSING
        return begun or world.key(one) != self.capped or self._running(world) < self.cap

    def _running(self, world: World) -> int:
        rows = world.predictions.values()
        return sum(r["key_id"] == self.capped and r["status"] == Status.PROCESSING for r in rows)

    def check(self, world: World) -> None:
        """The database and the model agree on who holds, tried, gave back and finished what."""
        leased = {}
        for unit in world.units:
            spot = (unit["prediction_id"], unit["seq"])
            assert unit["attempt"] == self.attempts[spot]
            assert unit["given_back"] == self.given_back[spot]
            assert (unit["state"] == "done") == (spot in self.finished)
            if unit["state"] == "done":
                assert unit["result"] == {"by": self.finished[spot]}, "another's result"
            if unit["state"] == "leased":
                leased[spot] = (unit["owner"], unit["attempt"])
        assert leased == {spot: (c.owner, c.attempt) for spot, c in self.live.items()}
        assert self._running(world) <= self.cap, "more at once than the key may have"
        for share in world.rows["shares"]:
            spent = self.spent[share["key_id"]]
            assert 0.95 * spent <= share["seconds"] <= spent + 60, "not what was worked"
