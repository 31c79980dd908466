"""What must hold once a storm is over: nothing lost, doubled, stuck, open or left lying about."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lifecycle.faults.clients import Order, Reply
from tests.lifecycle.faults.conftest import Plant
from tests.lifecycle.faults.hooks import Receiver
from tests.lifecycle.faults.orders import EVENTS
from visionseg.predictions.orphans import delete_orphans
from visionseg.predictions.sweep import delete_expired_files

NOTHING_OPEN: Mapping[str, str] = {
    "predictions not released": "SELECT id FROM predictions WHERE released_at IS NULL",
    "units open": "SELECT id FROM units WHERE state NOT IN ('done', 'dropped')",
    "units owned": "SELECT id FROM units WHERE owner IS NOT NULL OR lease_until IS NOT NULL",
    "turns left": "SELECT prediction_id FROM turns WHERE ready > 0",
    "deliveries open": "SELECT id FROM deliveries WHERE state = 'pending' OR owner IS NOT NULL",
}
ENDS = "SELECT prediction_id FROM events WHERE kind = 'completed'"
MADE = "SELECT id FROM predictions"


def still_open(plant: Plant) -> list[str]:
    """What is not at its end yet."""
    return [name for name, query in NOTHING_OPEN.items() if plant.rows(f"{query} LIMIT 1")]


def each_ended_once(plant: Plant, records: Sequence[Reply]) -> None:
    """As many predictions as orders, and one end told of each."""
    ids = Counter(record["id"] for record in records)
    assert ids == Counter(row.id for row in plant.rows(MADE))
    assert ids == Counter(row.prediction_id for row in plant.rows(ENDS))
    assert set(ids.values()) == {1}


def each_event_told(
    plant: Plant, receiver: Receiver, orders: Sequence[Order], records: Sequence[Reply]
) -> None:
    """The receiver has each event of each prediction that asked under one id, and nothing else."""
    assert receiver.forged == []
    asked = [one["id"] for one, order in zip(records, orders, strict=True) if _asks(order)]
    query = "SELECT message_id, prediction_id, event FROM deliveries"
    told = {row.message_id: (row.prediction_id, row.event) for row in plant.rows(query)}
    assert sorted(told.values()) == sorted((one, event) for one in asked for event in EVENTS)
    assert receiver.taken.keys() == told.keys()
    for message_id, bodies in receiver.taken.items():
        made, event = told[message_id]
        assert {body["id"] for body in bodies} == {made}
        if event != "start":
            assert {body["status"] for body in bodies} == {"succeeded"}


def _asks(order: Order) -> bool:
    return "webhook" in order.body


def no_file_astray(plant: Plant) -> int:
    """Every stored file has a row and its sum, every row its file; returns the orphans swept.

    What killed processes left is deleted first, as the service does when it is an hour old.
    """
    installation = plant.installation
    delete_expired_files(installation)
    orphans = delete_orphans(installation, older_than_s=0)
    root = installation.settings.storage.files
    installation.store.clear_scratch(time.time())
    query = "SELECT store_key, sha256 FROM files WHERE deleted_at IS NULL"
    named = {row.store_key: row.sha256 for row in plant.rows(query)}
    stored = {str(path.relative_to(root)): _sum(path) for path in root.rglob("*") if path.is_file()}
    assert stored == named
    return orphans


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
