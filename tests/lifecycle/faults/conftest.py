"""A whole plant for faults: servers, workers in processes of their own, and a client."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, create_engine, text

from tests.conftest import PEPPER, Servers
from tests.crews import HASTY, Crew, Worker, until
from tests.lifecycle.conftest import Client
from visionseg.access import keys
from visionseg.access.keys import authenticate
from visionseg.access.scopes import Scope
from visionseg.config import Http, Lease, Limits, Models, Services, Settings, Storage
from visionseg.contract.ids import PredictionId
from visionseg.contract.reply import Prediction
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation, assemble

_numbers = itertools.count()


@dataclass(frozen=True)
class Plant:
    """What a fault is put into."""

    servers: Servers
    installation: Installation
    crew: Crew
    client: Client

    def rows(self, query: str, **values: Any) -> list[Row[Any]]:
        """What a query finds now."""
        with self.installation.database.connect() as connection:
            return list(connection.execute(text(query), values))

    def leased(self, made: PredictionId) -> list[str]:
        """Who holds units of a prediction now."""
        query = "SELECT owner FROM units WHERE prediction_id = :id AND state = 'leased'"
        return [row.owner for row in self.rows(query, id=made)]

    def holder(self, made: PredictionId, stage: str = "segmenting") -> int:
        """The process that holds a unit of the prediction, once it is in that stage."""
        until(lambda: self.leased(made) and self.client.read(made).progress.stage == stage)
        return int(self.leased(made)[0].rpartition("/")[2])

    def finished(self, made: PredictionId) -> Prediction:
        """The record once the prediction is final and nobody works on it."""
        until(lambda: self.client.read(made).released_at is not None)
        record = self.client.read(made)
        assert record.status in FINAL
        return record

    def succeeded(self, made: PredictionId) -> Prediction:
        """The record of a prediction that must succeed, with one end told."""
        record = self.finished(made)
        assert record.status is Status.SUCCEEDED, (record.error, record.logs)
        query = "SELECT 1 FROM events WHERE prediction_id = :id AND kind = 'completed'"
        assert len(self.rows(query, id=made)) == 1
        return record

    def shards(self, made: PredictionId) -> list[bytes]:
        """The bytes of a clip's finished chunks."""
        query = "SELECT store_key FROM files WHERE prediction_id = :id AND role = 'shard'"
        found = self.rows(f"{query} ORDER BY position, name", id=made)
        return [self.installation.store.path(row.store_key).read_bytes() for row in found]

    def worker(self) -> Worker:
        """A worker whose pool is up."""
        worker = self.crew.any()
        self.succeeded(self.client.image())
        return worker


def _admin_url(servers: Servers, database: str) -> str:
    return servers.postgres.url.replace("@/visionseg?", f"@/{database}?")


def _administer(servers: Servers, statement: str) -> None:
    engine = create_engine(_admin_url(servers, "postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@contextmanager
def _own_database(servers: Servers) -> Iterator[str]:
    name = f"plant{next(_numbers)}"
    _administer(servers, f"CREATE DATABASE {name} TEMPLATE visionseg")
    yield _admin_url(servers, name)
    _administer(servers, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def planted(
    servers: Servers,
    folder: Path,
    lease: Lease,
    limits: Limits | None = None,
    port: int = 0,
    models: Models | None = None,
) -> Iterator[Plant]:
    """A plant without workers; afterwards none of its processes is left."""
    with ExitStack() as stack:
        services = Services(
            database_url=stack.enter_context(_own_database(servers)),
            redis_url=servers.redis.url,
            broker_url=servers.redis.broker_url,
        )
        settings = Settings(
            services=services,
            storage=Storage(home=folder / "home"),
            http=Http(key_pepper=PEPPER, port=port),
            limits=limits or Limits(),
            models=models or Models(embedded_fallback=True),
            lease=lease,
        )
        installation = assemble(settings, "visionseg tests")
        stack.callback(installation.close)
        made = keys.create(installation.database, PEPPER, "test", (Scope.SEGMENT,), "default")
        caller = authenticate(installation.database, PEPPER, f"Bearer {made.secret}")
        crew = Crew(settings, folder)
        stack.callback(crew.close)
        yield Plant(servers, installation, crew, Client(installation, caller))


@pytest.fixture(scope="session")
def whole_plant(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with planted(servers, tmp_path_factory.mktemp("plant"), HASTY) as made:
        yield made


@pytest.fixture
def plant(whole_plant: Plant) -> Iterator[Plant]:
    """The plant with nothing under way; afterwards no lease is open."""
    yield whole_plant
    assert whole_plant.rows("SELECT 1 FROM units WHERE state = 'leased'") == []
    statuses = whole_plant.rows("SELECT DISTINCT status FROM predictions")
    assert {Status(row.status) for row in statuses} <= set(FINAL)


def kill(pid: int) -> None:
    """SIGKILL to one process, which may have gone already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
