"""A claim while it is worked on: cancel, shutdown, loss, silence, dead owners."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.fakes.segmenters import BrightSegmenter, Patient
from tests.lifecycle.conftest import Client
from visionseg.config import Lease
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation
from visionseg.queue.lanes import GPU_LANES, Lane
from visionseg.records import units, workers
from workers.app import Parent
from workers.bench import Bench
from workers.duty import Reason, Watch
from workers.hosts import owner_is_alive, owner_name, this_host
from workers.pulse import is_to_stop
from workers.segmenters.base import Instance


def test_a_cancel_stops_the_work_and_releases_the_prediction(
    installation: Installation, client: Client, make_bench: Callable[..., Bench]
) -> None:
    made = client.image()
    bench = make_bench(Patient(lambda: _cancel(installation, made)))
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.CANCELED
    assert record.released_at is not None
    after = client.image()
    make_bench().take_a_turn()
    assert client.read(after).status is Status.SUCCEEDED


def _cancel(installation: Installation, made: PredictionId) -> None:
    assert cancel(installation, made)


class CutOff(BrightSegmenter):
    """Is cut off from the database the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def segment(self, *asked: Any) -> list[list[Instance]]:
        self.times += 1
        if self.times == 1:
            raise OperationalError("SELECT 1", {}, OSError("no answer"))
        return super().segment(*asked)


def test_a_unit_cut_off_from_the_database_is_tried_again_uncounted(
    installation: Installation, client: Client, make_bench: Callable[..., Bench]
) -> None:
    made = client.image()
    make_bench(CutOff()).take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED
    assert "try" not in record.logs
    with installation.database.connect() as connection:
        row = connection.execute(text("SELECT attempt, given_back FROM units")).one()
    assert tuple(row) == (2, 1)


def test_a_worker_told_to_stop_gives_its_unit_back_uncounted(
    installation: Installation, client: Client, make_bench: Callable[..., Bench]
) -> None:
    made = client.image()
    told: list[bool] = []
    bench = make_bench(Patient(lambda: told.append(True)))
    bench.draining = lambda: bool(told)
    bench.take_a_turn()
    assert client.read(made).status is Status.PROCESSING
    with installation.database.connect() as connection:
        row = connection.execute(text("SELECT state, attempt, given_back FROM units")).one()
    assert tuple(row) == ("ready", 1, 1)
    make_bench().take_a_turn()
    assert client.read(made).status is Status.SUCCEEDED


def _impatient(stall_s: float = 90) -> Lease:
    return Lease(watch_s=0.02, heartbeat_s=0.02, stall_s=stall_s)


def _until_told(watch: Watch) -> None:
    until = time.monotonic() + 30
    while not watch.should_stop() and time.monotonic() < until:
        time.sleep(0.01)


def _claimed(installation: Installation, owner: str) -> units.Claim:
    found = claim(installation.database, GPU_LANES, ["embedded/lite"], owner, 30)
    assert found is not None
    return found


def test_a_holder_hears_that_its_claim_was_lost(installation: Installation, client: Client) -> None:
    client.image()
    held = _claimed(installation, owner_name())
    with Watch(installation.database, held, _impatient(), lambda: False) as watch:
        with installation.database.begin() as connection:
            connection.execute(text("UPDATE units SET attempt = attempt + 1"))
        _until_told(watch)
        assert watch.reason is Reason.LOST


@pytest.mark.parametrize(("stall_s", "renewed"), [(60.0, True), (-1.0, False)])
def test_the_lease_is_renewed_only_while_the_work_moves(
    installation: Installation, client: Client, stall_s: float, renewed: bool
) -> None:
    client.image()
    held = _claimed(installation, owner_name())
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE units SET lease_until = NULL"))
    looked: list[None] = []

    def draining() -> bool:
        looked.append(None)
        return len(looked) > 5

    with Watch(installation.database, held, _impatient(stall_s), draining) as watch:
        _until_told(watch)
    with installation.database.connect() as connection:
        until = connection.execute(text("SELECT lease_until FROM units")).scalar_one()
    assert (until is not None) == renewed


def _dead_pid() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_parent_frees_the_units_of_dead_processes_of_its_host_only(
    installation: Installation, client: Client
) -> None:
    client.image()
    client.image()
    client.image()
    dead = _claimed(installation, f"{this_host()}/1/{_dead_pid()}")
    alive = _claimed(installation, owner_name())
    elsewhere = _claimed(installation, "other-host/1/999999")
    Parent(installation, GPU_LANES).reap()
    with installation.database.connect() as connection:
        states = {
            one.unit_id: connection.execute(
                text("SELECT state FROM units WHERE id = :id"), {"id": one.unit_id}
            ).scalar_one()
            for one in (dead, alive, elsewhere)
        }
    assert states == {
        dead.unit_id: "ready",
        alive.unit_id: "leased",
        elsewhere.unit_id: "leased",
    }


def test_an_owner_is_alive_while_its_process_runs() -> None:
    assert owner_is_alive(owner_name())
    assert owner_is_alive(f"{this_host()}/0/1") or os.getpid() == 1
    assert not owner_is_alive(f"{this_host()}/1/{_dead_pid()}")


def test_a_worker_tells_that_it_lives_and_that_it_drains(installation: Installation) -> None:
    parent = Parent(installation, [Lane.MEDIA])
    parent.beat()
    with installation.database.connect() as connection:
        assert [row.id for row in workers.alive(connection)] == [parent.id]
        assert not is_to_stop(parent.pulses.folder)
    parent.drain()
    assert is_to_stop(parent.pulses.folder)
    with installation.database.begin() as connection:
        assert [row.draining for row in workers.alive(connection)] == [True]
        workers.leave(connection, parent.id)
        assert workers.alive(connection) == []
    parent.pulses.close()


def test_a_worker_hears_from_its_row_that_it_is_to_stop(installation: Installation) -> None:
    parent = Parent(installation, [Lane.MEDIA])
    parent.beat()
    assert not is_to_stop(parent.pulses.folder)
    with installation.database.begin() as connection:
        workers.drain(connection, parent.id)
    parent.beat()
    assert is_to_stop(parent.pulses.folder)
    parent.pulses.close()


def test_processes_whose_parent_is_gone_with_its_folder_stop(tmp_path: Path) -> None:
    assert is_to_stop(tmp_path / "gone")
