"""Real servers for the tests: one PostgreSQL and Redis a test process, a fresh database a test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from redis import Redis as RedisClient
from sqlalchemy import create_engine

from visionseg.access import keys
from visionseg.access.scopes import Scope
from visionseg.config import Http, Limits, Models, Services, Settings, Storage
from visionseg.embedded.postgres import Postgres
from visionseg.embedded.redis import Redis
from visionseg.predictions.installation import Installation, assemble
from visionseg.records.schema import migrate

PEPPER = "test pepper"
_numbers = itertools.count()


@dataclass(frozen=True)
class Servers:
    """What runs for the whole test process."""

    postgres: Postgres
    redis: Redis


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        postgres = Postgres(folder / "postgres")
        stack.callback(postgres.stop)
        redis = Redis(folder / "redis")
        stack.callback(redis.stop)
        template = create_engine(postgres.url)
        migrate(template)
        template.dispose()
        yield Servers(postgres, redis)


def _admin(servers: Servers) -> psycopg.Connection[tuple[object, ...]]:
    plain = servers.postgres.url.replace("postgresql+psycopg://", "postgresql://")
    base, _, query = plain.partition("?")
    return psycopg.connect(f"{base.rpartition('/')[0]}/postgres?{query}", autocommit=True)


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """A database of its own, copied from a migrated one."""
    name = f"t{next(_numbers)}"
    with _admin(servers) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE visionseg").format(sql.Identifier(name)))
    yield servers.postgres.url.replace("@/visionseg?", f"@/{name}?")
    with _admin(servers) as admin:
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def settings(servers: Servers, database_url: str, tmp_path: Path) -> Settings:
    """Settings of an installation without SAM3 weights that lets the embedded model answer."""
    with RedisClient.from_url(servers.redis.url) as client:
        client.flushall()
    return Settings(
        services=Services(
            database_url=database_url,
            redis_url=servers.redis.url,
            broker_url=servers.redis.broker_url,
        ),
        storage=Storage(home=tmp_path / "home"),
        http=Http(key_pepper=PEPPER),
        limits=Limits(),
        models=Models(embedded_fallback=True),
    )


@pytest.fixture
def installation(settings: Settings) -> Iterator[Installation]:
    made = assemble(settings, "visionseg tests")
    yield made
    made.close()


@pytest.fixture
def make_key(installation: Installation) -> Callable[..., str]:
    """Makes a key and returns its secret."""

    def make(scopes: tuple[Scope, ...] = (Scope.SEGMENT,), organisation: str = "default") -> str:
        made = keys.create(installation.database, PEPPER, "test", scopes, organisation)
        return made.secret

    return make
