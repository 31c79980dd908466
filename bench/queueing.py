"""What the queue costs: submit to claimed, submissions a second, claims before a long queue.

Run with `python -m bench.queueing` after `visionseg weights fetch`. It starts its own PostgreSQL,
Redis and, for the first figure, a worker with the embedded model.
"""

from __future__ import annotations

import base64
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import psycopg
from celery import Celery
from PIL import Image
from sqlalchemy import Table, TextClause, make_url, text

from visionseg.access import keys
from visionseg.access.keys import Caller, authenticate
from visionseg.access.scopes import Scope
from visionseg.config import Models, Services, Settings, Storage
from visionseg.contract.ids import PredictionId
from visionseg.contract.inputs import ImageSubmission
from visionseg.contract.models import LITE
from visionseg.embedded.postgres import Postgres
from visionseg.embedded.redis import Redis
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation, assemble
from visionseg.predictions.submit import submit
from visionseg.queue.lanes import Lane
from visionseg.records import tables, turns
from visionseg.records.schema import migrate

LATENCIES = 200
ROUNDS = 7
A_ROUND = 60
BACKLOG = 20_000
CLAIMS = 200
URL = "https://example.com/street.jpg"
BARE = "bare: one INSERT, then delay()"

BARE_TABLE = """
CREATE TABLE bare (
    id bigserial PRIMARY KEY,
    input jsonb,
    created_at timestamptz DEFAULT clock_timestamp(),
    started_at timestamptz
)
"""
BARE_START = "UPDATE bare SET started_at = clock_timestamp() WHERE id = %s"
bare = Celery("bare", broker=os.environ.get("BARE_BROKER_URL"), backend=None)
bare.conf.task_ignore_result = True
_bare_connections: list[psycopg.Connection] = []


def start_bare(row: int) -> None:
    """The task of a plain Celery service: notes when a worker began with the row."""
    if not _bare_connections:
        url = os.environ["BARE_DATABASE_URL"]
        _bare_connections.append(psycopg.connect(url, autocommit=True))
    _bare_connections[0].execute(BARE_START, (row,))


bare_task = bare.task(start_bare, name="bare.start")


class Client:
    """Submits as the API does."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._caller = self._make_caller(installation)

    def _make_caller(self, installation: Installation) -> Caller:
        made = keys.create(installation.database, "", "bench", (Scope.SEGMENT,), "default")
        return authenticate(installation.database, "", f"Bearer {made.secret}")

    def image(self, image: str) -> PredictionId:
        """One submission, written and hinted at."""
        given = {"image": image, "prompt": "person"}
        submission = ImageSubmission.model_validate({"model": LITE, "input": given})
        return submit(self._installation, self._caller, submission, given, "http://bench")


@contextmanager
def plant(folder: Path) -> Iterator[Installation]:
    """Servers of its own and an empty, migrated database."""
    with ExitStack() as stack:
        postgres = Postgres(folder / "postgres")
        stack.callback(postgres.stop)
        redis = Redis(folder / "redis")
        stack.callback(redis.stop)
        services = Services(
            database_url=postgres.url, redis_url=redis.url, broker_url=redis.broker_url
        )
        settings = Settings(
            services=services, storage=Storage(home=folder / "home"), models=Models()
        )
        installation = assemble(settings, "visionseg bench")
        stack.callback(installation.close)
        migrate(installation.database)
        yield installation


@contextmanager
def program(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    """A program of the service, ended afterwards."""
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def our_environment(installation: Installation) -> dict[str, str]:
    """What our programs are started with."""
    services = installation.settings.services
    return {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_HOME": str(installation.settings.storage.home),
    }


def worker(
    installation: Installation, lanes: Sequence[Lane], module: str = "workers"
) -> AbstractContextManager[None]:
    """A worker of ours, of one process."""
    command = (sys.executable, "-m", module, "--lanes", ",".join(lanes))
    return program(command, our_environment(installation))


def bare_worker(installation: Installation) -> AbstractContextManager[None]:
    """The worker of a plain Celery service, of one process too."""
    services = installation.settings.services
    url = make_url(services.database_url).set(drivername="postgresql")
    environment = {
        "BARE_BROKER_URL": services.broker_url,
        "BARE_DATABASE_URL": url.render_as_string(hide_password=False),
    }
    command = (
        sys.executable,
        "-m",
        "celery",
        "--app",
        "bench.queueing:bare",
        "worker",
        "--concurrency",
        "1",
    )
    return program(command, environment)


def picture_uri() -> str:
    """A grey picture of 64x48 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 90, 90)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def latencies_s(
    installation: Installation, submit_one: Callable[[], object], query: TextClause
) -> list[float]:
    """Seconds from a row to its claim, one after the other, none waiting.

    `query` gives them for the row `:id` once its work ended.
    """
    found: list[float] = []
    while len(found) <= LATENCIES:
        made = submit_one()
        seconds = None
        while seconds is None:
            time.sleep(0.005)
            with installation.database.connect() as connection:
                seconds = connection.execute(query, {"id": made}).scalar_one_or_none()
        found.append(float(seconds))
    return found[1:]  # the first one waited for the worker to start


CLAIMED = text(
    "SELECT extract(epoch FROM started_at - created_at) FROM predictions "
    "WHERE id = :id AND completed_at IS NOT NULL"
)
BARE_STARTED = text("SELECT extract(epoch FROM started_at - created_at) FROM bare WHERE id = :id")


def bare_submit(installation: Installation) -> Callable[[], int]:
    """What a plain Celery service does: one row, one message."""
    bare.conf.broker_url = installation.settings.services.broker_url
    with installation.database.begin() as connection:
        connection.execute(text(BARE_TABLE))
    insert = text("INSERT INTO bare (input) VALUES ('{}') RETURNING id")

    def once() -> int:
        with installation.database.begin() as connection:
            row: int = connection.execute(insert).scalar_one()
        bare_task.delay(row)
        return row

    return once


def per_second(step: Callable[[], object]) -> float:
    """How often a step is done in a second, one after the other."""
    started = time.perf_counter()
    for _ in range(A_ROUND):
        step()
    return A_ROUND / (time.perf_counter() - started)


def multiply(installation: Installation, made: PredictionId, times: int) -> None:
    """Writes a queued prediction so many times more."""
    with installation.database.begin() as connection:
        for table, key in (
            (tables.predictions, "id"),
            (tables.units, "prediction_id"),
            (tables.turns, "prediction_id"),
        ):
            connection.execute(text(_copy(table, key)), {"id": made, "times": times})
    with installation.database.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def _copy(table: Table, key: str) -> str:
    names = [column.name for column in table.columns if column.identity is None]
    values = [f"'vs_' || left(md5({name} || n), 26)" if name == key else name for name in names]
    into, read = ", ".join(names), ", ".join(values)
    source = f"{table.name}, generate_series(1, :times) AS n WHERE {key} = :id"
    return f"INSERT INTO {table.name} ({into}) SELECT {read} FROM {source}"  # noqa: S608 - own names


def claims_s(installation: Installation) -> list[float]:
    """Seconds of each claim."""
    found: list[float] = []
    for number in range(CLAIMS):
        started = time.perf_counter()
        held = claim(installation.database, [Lane.IMAGES], [LITE], f"bench/1/{number}", 30)
        found.append(time.perf_counter() - started)
        if held is None:
            raise RuntimeError("nothing to claim")
    return found


def _row(name: str, seconds: list[float]) -> None:
    p99 = quantiles(seconds, n=100)[98]
    print(f"{name:<46}{1000 * median(seconds):>9.2f} ms{1000 * p99:>9.2f} ms")


def _print_rates(client: Client, submit_bare: Callable[[], int]) -> None:
    uri = picture_uri()
    steps: dict[str, Callable[[], object]] = {
        BARE: submit_bare,
        "submit, picture behind a URL": lambda: client.image(URL),
        "submit, picture in the request": lambda: client.image(uri),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            rates[name].append(per_second(step))
    print(f"{'submissions a second, one client':<46}{'median':>12}{'ratio':>8}")
    for name, found in rates.items():
        ratio = median(one / base for one, base in zip(found, rates[BARE], strict=True))
        print(f"{name:<46}{median(found):>12.0f}{ratio:>8.2f}")


def _print_claims(installation: Installation) -> None:
    with installation.database.connect() as connection:
        turns.count_backlog(connection)
        ready = turns.ready_units(connection)[Lane.IMAGES]
    _row(f"claim, {ready} units ready", claims_s(installation))


def main() -> None:
    """Prints the tables."""
    with tempfile.TemporaryDirectory() as folder, plant(Path(folder)) as installation:
        client, submit_bare, uri = Client(installation), bare_submit(installation), picture_uri()
        with bare_worker(installation):
            plain = latencies_s(installation, submit_bare, BARE_STARTED)
        with worker(installation, [Lane.IMAGES]):
            found = latencies_s(installation, lambda: client.image(uri), CLAIMED)
        _print_rates(client, submit_bare)
        print(f"\n{'':<46}{'p50':>12}{'p99':>12}")
        _row(f"{BARE}: to its start", plain)
        _row("submitted to claimed, idle system", found)
        print(f"{'ratio of the medians':<46}{median(found) / median(plain):>9.2f}")
        _print_claims(installation)
        multiply(installation, client.image(picture_uri()), BACKLOG)
        _print_claims(installation)


if __name__ == "__main__":
    main()
