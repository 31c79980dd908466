"""Seeded chaos: whatever strikes, every job ends once, with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from tests.conftest import PEPPER, Servers
from tests.crews import HASTY
from tests.fakes.tls_sites import TlsSite, tls_site
from tests.lifecycle.faults import audits
from tests.lifecycle.faults.clients import Clients, Order, Reply
from tests.lifecycle.faults.conftest import Plant, planted
from tests.lifecycle.faults.hooks import Receiver
from tests.lifecycle.faults.orders import (
    CHOSEN,
    FOUND,
    Kinds,
    drawn,
    kinds_of_orders,
    kinds_of_real_orders,
    result_of,
    serve_picture,
)
from tests.lifecycle.faults.storms import Storm
from visionseg.access import keys
from visionseg.access.scopes import Scope
from visionseg.artifacts.weights import names_of, wrong_files
from visionseg.config import Limits, Models
from visionseg.delivery.signing import secrets_of

pytestmark = [
    pytest.mark.skipif(
        bool(wrong_files(Models().cache, names_of("model") + names_of("still"))),
        reason="run `visionseg weights fetch` first",
    ),
    pytest.mark.xdist_group("faults"),
]
PATIENT = HASTY.model_copy(
    update={"lease_s": 4.5, "max_losses": 1000, "max_attempts": 1000, "max_transient": 1000}
)
"""Under chaos no unit is poison: it is others that kill its workers and fill its disk."""

SEED_VARIABLE = "VISIONSEG_CHAOS_SEED"
JOBS_VARIABLE = "VISIONSEG_CHAOS_JOBS"
SHORT_JOBS = 12
LONG_JOBS = 300
REAL_ONE_IN = 10
"""One job in so many is for the embedded model."""
CLIENTS = 12
TELL_EVERY_S = 5.0
LOOK_EVERY_S = 0.2
PORTS = range(20_000, 30_000)
"""Below those that the system gives to clients: one of them may not take the API's while it is
away."""

Tell = Callable[[str], None]
MakeField = Callable[..., "Field"]


@dataclass(frozen=True)
class Field:
    """A plant with a storm over it."""

    plant: Plant
    storm: Storm
    clients: Clients
    receiver: Receiver
    folder: Path


def _free_port(luck: random.Random) -> int:
    while True:
        port = luck.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _trusting(site: TlsSite, folder: Path) -> Limits:
    ca_file = folder / "ca.pem"
    site.authority.cert_pem.write_to_path(ca_file)
    return Limits(allowed_hosts=frozenset({f"localhost:{site.port}"}), ca_file=ca_file)


@pytest.fixture
def make_field(servers: Servers, tmp_path: Path) -> Iterator[MakeField]:
    """A plant of its own, its clients and its receiver of webhooks, for one seed."""
    with ExitStack() as stack:

        def make(seed: int, *, short: bool = False) -> Field:
            site = stack.enter_context(tls_site())
            limits, port = _trusting(site, tmp_path), _free_port(random.Random())
            plant = stack.enter_context(planted(servers, tmp_path, PATIENT, limits, port))
            database = plant.installation.database
            key = keys.create(database, PEPPER, "chaos", (Scope.SEGMENT,))
            (signing,) = secrets_of(database, key.id)
            storm = Storm(plant, random.Random(seed), short)
            stack.callback(storm.close)
            clients = Clients(f"http://127.0.0.1:{port}", key.secret)
            stack.callback(clients.close)
            receiver = Receiver(site, signing, random.Random(seed))
            return Field(plant, storm, clients, receiver, tmp_path)

        yield make


def _orders(field: Field, kinds: Kinds, jobs: int) -> list[Order]:
    luck, url = field.storm.luck, field.receiver.url
    real = jobs // REAL_ONE_IN
    made = [
        *drawn(kinds, CHOSEN, jobs - real, luck, url),
        *drawn(kinds, FOUND, real, luck, url),
    ]
    luck.shuffle(made)
    return made


def _rage(field: Field, jobs: Sequence[Future[Reply]], tell: Tell) -> None:
    """Strikes until every job is final; a client that saw what it must not ends the storm."""
    storm, told_at = field.storm, time.monotonic()

    def is_over() -> bool:
        done = [job for job in jobs if job.done()]
        return len(done) == len(jobs) or any(job.exception() for job in done)

    while not is_over():
        storm.blow(is_over)
        if time.monotonic() > told_at + TELL_EVERY_S:
            told_at = time.monotonic()
            final = sum(job.done() for job in jobs)
            tell(f"{final} of {len(jobs)} jobs final, {storm.struck.total()} faults")


def _finished(field: Field, orders: Sequence[Order], tell: Tell | None = None) -> list[Reply]:
    """The final records of some orders; with `tell`, out of a storm."""
    pool = ThreadPoolExecutor(CLIENTS)
    jobs = [pool.submit(field.clients.finished, order) for order in orders]
    try:
        if tell is not None:
            _rage(field, jobs, tell)
        return [job.result() for job in jobs]
    except BaseException:
        field.clients.closing.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # a hold ends with the API only


def _settle(field: Field, tell: Tell) -> None:
    """Lets everything come to its end, which takes until the last leases have run out."""
    field.storm.calm()
    told_at = time.monotonic()
    while left := audits.still_open(field.plant):
        if time.monotonic() > told_at + TELL_EVERY_S:
            told_at = time.monotonic()
            tell(f"not yet at their end: {', '.join(left)}")
        time.sleep(LOOK_EVERY_S)
        field.storm.calm()


def _survive(field: Field, clip_uri: str, jobs: int, tell: Tell) -> None:
    plant, storm, clients = field.plant, field.storm, field.clients
    storm.calm()
    kinds = {
        **kinds_of_orders(clip_uri, serve_picture(field.receiver.site)),
        **kinds_of_real_orders(clients, field.folder),
    }
    calm = _finished(
        field, [Order(name, route, {"input": given}) for name, (route, given) in kinds.items()]
    )
    undisturbed = dict(zip(kinds, [result_of(plant, clients, one) for one in calm], strict=True))
    orders = _orders(field, kinds, jobs)
    records = _finished(field, orders, tell)
    tell(f"{jobs} jobs final, {storm.struck.total()} faults; looking whether all is well")
    _settle(field, tell)
    for order, record in zip(orders, records, strict=True):
        assert result_of(plant, clients, record) == undisturbed[order.name]
    audits.each_ended_once(plant, [*calm, *records])
    audits.each_event_told(plant, field.receiver, orders, records)
    orphans = audits.no_file_astray(plant)
    tell(
        f"{orphans} files swept, {clients.again} requests and {field.receiver.again} messages twice"
    )
    tell(", ".join(f"{name}: {times}" for name, times in sorted(storm.struck.items())))


@pytest.mark.timeout(900)
def test_a_short_storm_changes_no_result(make_field: MakeField, clip_uri: str) -> None:
    _survive(make_field(11, short=True), clip_uri, SHORT_JOBS, lambda _line: None)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_long_storm_changes_no_result(
    make_field: MakeField, clip_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or secrets.randbelow(10**6))
    jobs = int(os.environ.get(JOBS_VARIABLE) or LONG_JOBS)
    began = time.monotonic()

    def tell(line: str) -> None:
        with capsys.disabled():
            click.echo(f"{time.monotonic() - began:4.0f} s  {line}")

    with capsys.disabled():
        click.echo()
    tell(f"{SEED_VARIABLE}={seed} {JOBS_VARIABLE}={jobs}")
    field = make_field(seed)
    _survive(field, clip_uri, jobs, tell)
    assert jobs < LONG_JOBS or field.storm.struck.keys() == field.storm.faults.keys()
