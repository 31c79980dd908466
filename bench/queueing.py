"""What the queue costs: submit to claimed, submissions a second, claims before a long queue.

Run with `python bench/queueing.py` after `visionseg weights fetch`. It starts its own PostgreSQL,
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

from celery import Celery
from PIL import Image
from sqlalchemy import Table, text

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
from visionseg.queue.app import LOOK, make_app
from visionseg.queue.lanes import Lane
from visionseg.records import tables, turns
from visionseg.records.schema import migrate

LATENCIES = 200
ROUNDS = 7
A_ROUND = 60
BACKLOG = 20_000
CLAIMS = 200
URL = "https://example.com/street.jpg"


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
def worker(installation: Installation) -> Iterator[None]:
    """A worker for pictures, ended afterwards."""
    services = installation.settings.services
    environment = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_HOME": str(installation.settings.storage.home),
    }
    command = (sys.executable, "-m", "workers", "--lanes", Lane.IMAGES)
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def picture_uri() -> str:
    """A grey picture of 64x48 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (90, 90, 90)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def latencies_s(installation: Installation, client: Client) -> list[float]:
    """Seconds from the row of a prediction to its claim, one after the other, none waiting."""
    query = text(
        "SELECT extract(epoch FROM p.started_at - p.created_at), p.completed_at "
        "FROM predictions p WHERE id = :id"
    )
    found: list[float] = []
    uri = picture_uri()
    while len(found) <= LATENCIES:
        made = client.image(uri)
        while True:
            with installation.database.connect() as connection:
                seconds, completed = connection.execute(query, {"id": made}).one()
            if completed is not None:
                break
            time.sleep(0.005)
        found.append(float(seconds))
    return found[1:]  # the first one waited for the worker to start


def bare(installation: Installation, app: Celery) -> Callable[[], None]:
    """What a plain Celery service does: one row, one message."""
    with installation.database.begin() as connection:
        connection.execute(text("CREATE TABLE bare (id bigserial PRIMARY KEY, input jsonb)"))
    insert = text("INSERT INTO bare (input) VALUES ('{}')")

    def once() -> None:
        with installation.database.begin() as connection:
            connection.execute(insert)
        app.send_task(LOOK, queue=Lane.MEDIA.value, retry=False, ignore_result=True)

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


def _print_rates(installation: Installation, client: Client) -> None:
    uri = picture_uri()
    app = make_app(installation.settings.services.broker_url, publisher=True)
    steps: dict[str, Callable[[], object]] = {
        "bare: one INSERT, then delay()": bare(installation, app),
        "submit, picture behind a URL": lambda: client.image(URL),
        "submit, picture in the request": lambda: client.image(uri),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            rates[name].append(per_second(step))
    print(f"{'submissions a second, one client':<46}{'median':>12}")
    for name, found in rates.items():
        print(f"{name:<46}{median(found):>12.0f}")


def _print_claims(installation: Installation) -> None:
    with installation.database.connect() as connection:
        ready = turns.backlog(connection)[Lane.IMAGES]
    _row(f"claim, {ready} units ready", claims_s(installation))


def main() -> None:
    """Prints the tables."""
    with tempfile.TemporaryDirectory() as folder, plant(Path(folder)) as installation:
        client = Client(installation)
        with worker(installation):
            found = latencies_s(installation, client)
        _print_rates(installation, client)
        print(f"\n{'':<46}{'p50':>12}{'p99':>12}")
        _row("submitted to claimed, idle system", found)
        _print_claims(installation)
        multiply(installation, client.image(picture_uri()), BACKLOG)
        _print_claims(installation)


if __name__ == "__main__":
    main()
