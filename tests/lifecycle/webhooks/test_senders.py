"""Senders of webhooks inside a worker process, and the hints that wake them."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from tests.lifecycle.receivers import Receiver
from tests.serving import finish_next, wait_until
from visionseg.access.keys import authenticate
from visionseg.commands.up import _programs
from visionseg.config import Settings
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import Lane
from visionseg.records import deliveries
from workers import tasks
from workers.bench import Bench
from workers.senders import SENDERS, send_for_a_turn


def _hints(installation: Installation) -> int:
    """Hints at the lane that no worker has taken yet."""
    installation.hints.close()
    with Redis.from_url(installation.settings.services.redis_url) as client:
        return int(client.llen(Lane.DELIVERY))


def test_a_hint_makes_a_worker_of_the_lane_send_all_that_is_due(
    receiver: Receiver,
    installation: Installation,
    make_bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(SENDERS + 3):
        receiver.submit()
        finish_next(installation)
    bench = dataclasses.replace(make_bench(), lanes=[Lane.DELIVERY])
    monkeypatch.setattr(tasks, "_bench", [bench])
    tasks.look()
    assert len(receiver.site.posted) == SENDERS + 3


@contextmanager
def _worker(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker program of the lane, killed with its children when the block ends."""
    services, limits = settings.services, settings.limits
    told = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_HOME": str(settings.storage.home),
        "VISIONSEG_ALLOWED_HOSTS": json.dumps(sorted(limits.allowed_hosts)),
        "VISIONSEG_CA_FILE": str(limits.ca_file),
        "VISIONSEG_SWEEP_S": "0.2",
    }
    with log.open("ab") as file:
        process = subprocess.Popen(
            (sys.executable, "-m", "workers", "--lanes", "delivery"),
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_sender_killed_before_the_answer_came_loses_no_webhook(
    receiver: Receiver, settings: Settings, installation: Installation, tmp_path: Path
) -> None:
    answered = threading.Event()

    def silent(_handler: object) -> None:
        answered.wait(60)

    usual = receiver.site.routes["/hook"]
    receiver.site.routes["/hook"] = silent
    made = receiver.submit()
    finish_next(installation)
    with _worker(settings, tmp_path / "first.log"):
        wait_until(lambda: receiver.site.posted)
    answered.set()
    receiver.site.routes["/hook"] = usual
    receiver.expire_leases()
    with _worker(settings, tmp_path / "second.log"):
        wait_until(lambda: receiver.only(made).attempts)
        receiver.make_due()
        wait_until(lambda: receiver.only(made).state == "delivered")
    assert [one.status_code for one in receiver.only(made).attempts] == [None, 200]
    assert len({one.headers["webhook-id"] for one in receiver.site.posted}) == 1


def test_a_receiver_of_another_organisation_goes_before_one_that_is_being_waited_for(
    receiver: Receiver, installation: Installation, make_key: Callable[..., str]
) -> None:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    secret = make_key(organisation="other")
    other = authenticate(installation.database, pepper, f"Bearer {secret}")
    for caller in (receiver.caller, receiver.caller, other):
        Receiver(installation, caller, receiver.site).submit()
        finish_next(installation)
    claimed = []
    for number in range(3):
        with installation.database.begin() as connection:
            claimed.append(deliveries.claim(connection, f"host/1/{number}", 60))
    ours, theirs = receiver.caller.organisation_id, other.organisation_id
    assert [one.organisation_id for one in claimed if one] == [ours, theirs, ours]


def test_a_worker_without_the_lane_sends_nothing(
    receiver: Receiver,
    installation: Installation,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver.submit()
    monkeypatch.setattr(tasks, "_bench", [dataclasses.replace(bench, lanes=[Lane.MEDIA])])
    finish_next(installation)
    tasks.look()
    assert receiver.site.posted == []


def test_a_worker_told_to_stop_leaves_webhooks_to_others_and_hints_at_them(
    receiver: Receiver, installation: Installation
) -> None:
    made = receiver.submit()
    finish_next(installation)
    before = _hints(installation)
    send_for_a_turn(installation, "host/1/2", lambda: True)
    assert receiver.only(made).attempts == []
    assert _hints(installation) == before + 1


def test_a_sender_that_breaks_stops_no_other(
    receiver: Receiver, installation: Installation
) -> None:
    broken = receiver.submit()
    finish_next(installation)
    whole = receiver.submit()
    finish_next(installation)
    receiver.execute(
        "UPDATE predictions SET kind = 'sculpture' WHERE id ="
        " (SELECT prediction_id FROM deliveries ORDER BY id LIMIT 1)"
    )
    send_for_a_turn(installation, "host/1/2", lambda: False)
    assert receiver.only(whole).state == "delivered"
    receiver.expire_leases()
    sweep(installation)
    (attempt,) = receiver.only(broken).attempts
    assert attempt.status_code is None


def test_the_end_of_a_prediction_and_the_sweeper_hint_at_what_is_due(
    receiver: Receiver, installation: Installation
) -> None:
    receiver.submit()
    finish_next(installation)
    assert _hints(installation) == 1
    sweep(installation)
    assert _hints(installation) == 2
    receiver.execute("UPDATE deliveries SET next_at = now() + interval '1 h'")
    sweep(installation)
    assert _hints(installation) == 2


def test_the_whole_service_sends_webhooks_from_a_process_that_does_nothing_else(
    tmp_path: Path,
) -> None:
    programs = {one.name: one.argv for one in _programs(tmp_path, os.environ)}
    assert programs["worker-delivery"][-2:] == ("--lanes", "delivery")
    assert not any("delivery" in part for part in programs["worker-media"])
