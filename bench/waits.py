"""Thousands of open waits on one API process: how soon each hears of the end, and what they cost.

Run with `python -m bench.waits [COUNT]`. A third each are held submissions, long polls and event
streams; their client is a process of its own. The jobs end one after the other, without workers.
"""

from __future__ import annotations

import asyncio
import json
import math
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from sqlalchemy import text

from bench import processes
from bench.queueing import Client, multiply, plant
from visionseg.access import keys
from visionseg.access.scopes import Scope
from visionseg.commands.background import free_port
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import LITE
from visionseg.predictions import finish
from visionseg.predictions.cancel import cancel
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation, assemble
from visionseg.queue.lanes import Lane

COUNT = 5000
ENDS_PER_S = 50
ASKED_PER_S = 50
BUSY_S = 0.8
"""Processor time in two seconds above which an API process is at more than its rounds."""
URL = "https://example.com/street.jpg"
ROUTE = "/v1/vision-segment/predictions"
COMPLETED = re.compile(rb'"completed_at":"([^"]+)"')
OPEN = re.compile(rb'"id":"(vs_[0-9a-f]+)"')
DESCRIPTORS = 16384


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask, and with which key."""

    port: int
    secret: str

    def held(self) -> bytes:
        """A submission that is answered when its prediction is final."""
        body = json.dumps({"model": LITE, "input": {"image": URL, "prompt": "person"}}).encode()
        return self._request("POST", ROUTE, ("Prefer: wait=300",), body)

    def polled(self, one: str) -> bytes:
        """A long poll."""
        return self._request("GET", f"{ROUTE}/{one}?wait=300")

    def followed(self, one: str) -> bytes:
        """A stream of events."""
        return self._request("GET", f"{ROUTE}/{one}/events")

    def _request(
        self, method: str, path: str, more: Sequence[str] = (), body: bytes = b""
    ) -> bytes:
        head = (
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.secret}",
            "Connection: close",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *more,
        )
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def ask(place: Place, request: bytes, after_s: float) -> float:
    """Seconds from the end of the job to the whole answer. Raises `ValueError` for another.

    As patient clients do, it asks again an API that is too busy to begin a wait (503), and goes on
    polling where a wait's longest time went by.
    """
    await asyncio.sleep(after_s)
    while True:
        answer = await _answer(place.port, request)
        heard_at = time.time()
        if found := COMPLETED.findall(answer):
            return heard_at - datetime.fromisoformat(found[-1].decode()).timestamp()
        if answer.startswith(b"HTTP/1.1 503 "):
            await asyncio.sleep(1)
        elif (still_open := OPEN.search(answer)) is not None:
            request = place.polled(still_open[1].decode())
        else:
            raise ValueError(answer[-500:].decode("utf-8", "replace"))


async def _answer(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def ask_all(place: Place, held: int, made: Sequence[str], per_s: float) -> list[float]:
    """The waits of `held` submissions, and of long polls and streams on what was `made`."""
    requests = [place.held() for _ in range(held)]
    requests += [(place.followed, place.polled)[n % 2](one) for n, one in enumerate(made)]
    random.shuffle(requests)
    waits = (ask(place, request, n / per_s) for n, request in enumerate(requests))
    return list(await asyncio.gather(*waits))


def client_process(place: Place, held: int, made: Sequence[str]) -> list[float]:
    """`ask_all`, in the process that runs it."""
    allow_descriptors()
    return asyncio.run(ask_all(place, held, made, ASKED_PER_S))


def allow_descriptors() -> None:
    """As many open connections as the machine lets a process have, up to what is needed here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, most), most))


@contextmanager
def api_process(
    installation: Installation, log: Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`python -m api` on a free port."""
    services, port = installation.settings.services, free_port()
    own = {
        "VISIONSEG_DATABASE_URL": services.database_url,
        "VISIONSEG_REDIS_URL": services.redis_url,
        "VISIONSEG_BROKER_URL": services.broker_url,
        "VISIONSEG_HOME": str(installation.settings.storage.home),
        "VISIONSEG_PORT": str(port),
    }
    command = (sys.executable, "-m", "api")
    with log.open("wb") as file:
        process = subprocess.Popen(command, env={**os.environ, **own}, stdout=file, stderr=file)
    try:
        while not _answers(port):
            time.sleep(0.1)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(port: int) -> bool:
    try:
        asyncio.run(_knock(port))
    except OSError:
        return False
    return True


async def _knock(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


@dataclass(frozen=True, slots=True)
class Cost:
    """What an API process holds: memory in MiB, threads, connections to the database; and the
    processor time that it took so far, in seconds.
    """

    memory_mib: float
    threads: int
    connections: int
    cpu_s: float


def cost(installation: Installation, pid: int) -> Cost:
    """What the process holds now."""
    return Cost(
        memory_mib=processes.memory_mib(pid),
        threads=processes.threads(pid),
        connections=connections(installation, "visionseg api"),
        cpu_s=processes.cpu_s(pid),
    )


def connections(installation: Installation, application: str) -> int:
    """How many connections to our database an application holds."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = :name AND datname = current_database()"
    )
    with installation.database.connect() as connection:
        return int(connection.execute(text(query), {"name": application}).scalar_one())


def wait_until_all_wait(
    installation: Installation, pid: int, count: int, answers: Future[list[float]]
) -> None:
    """Returns once the rows are there and the API has nothing more to do than to look around."""
    while len(open_ones(installation)) < count and not answers.done():
        time.sleep(0.5)
    busy_s = BUSY_S
    while busy_s >= BUSY_S and not answers.done():
        before_s = processes.cpu_s(pid)
        time.sleep(2)
        busy_s = processes.cpu_s(pid) - before_s


def open_ones(installation: Installation) -> list[PredictionId]:
    """Every prediction that is not final."""
    query = text("SELECT id FROM predictions WHERE status IN ('starting', 'processing')")
    with installation.database.connect() as connection:
        return [PredictionId(found) for found in connection.execute(query).scalars()]


def end_all(installation: Installation, ones: Sequence[PredictionId], per_s: float) -> None:
    """Ends the predictions at this rate: one is canceled, one is worked on and fails."""
    began = time.monotonic()
    for number, one in enumerate(ones):
        time.sleep(max(0.0, began + number / per_s - time.monotonic()))
        held = (
            claim(installation.database, [Lane.FETCH], [LITE], "bench/1/1", 30)
            if number % 2
            else None
        )
        if held is not None:
            finish.fail(installation, held, Refusal(ErrorCode.NOT_AN_IMAGE))
        else:
            cancel(installation, one)
    for one in open_ones(installation):
        cancel(installation, one)


@dataclass(frozen=True, slots=True)
class Measured:
    """Latencies in seconds, sorted, and what the API process held before and while all waited."""

    waits_s: Sequence[float]
    before: Cost
    waiting: Cost
    after: Cost

    def part(self, share: float) -> float:
        """The latency that so many of all do not exceed."""
        return self.waits_s[math.ceil(share * len(self.waits_s)) - 1]


def measure(installation: Installation, folder: Path, count: int, per_s: float) -> Measured:
    """Opens `count` waits on an API process of its own and ends what they wait for."""
    allow_descriptors()
    made_key = keys.create(installation.database, "", "waits", (Scope.SEGMENT,), "default")
    multiply(installation, Client(installation).image(URL), count - count // 3 - 1)
    made = open_ones(installation)
    spawn = multiprocessing.get_context("spawn")
    with (
        api_process(installation, folder / "api.log") as (process, port),
        ProcessPoolExecutor(1, mp_context=spawn) as pool,
    ):
        before = cost(installation, process.pid)
        place = Place(port, made_key.secret)
        answers = pool.submit(client_process, place, count // 3, made)
        wait_until_all_wait(installation, process.pid, count, answers)
        waiting = cost(installation, process.pid)
        ones = open_ones(installation)
        random.shuffle(ones)
        end_all(installation, ones, per_s)
        waits_s = sorted(answers.result())
        return Measured(waits_s, before, waiting, cost(installation, process.pid))


@contextmanager
def without_redis(installation: Installation) -> Iterator[Installation]:
    """The same database, and a Redis that refuses every connection."""
    settings = installation.settings
    nowhere = {"redis_url": "redis://127.0.0.1:1/0", "broker_url": "redis://127.0.0.1:1/0"}
    services = settings.services.model_copy(update=nowhere)
    parts = assemble(settings.model_copy(update={"services": services}), "visionseg tests")
    try:
        yield parts
    finally:
        parts.close()


def told(name: str, measured: Measured) -> str:
    """A line of latencies and a line of costs."""
    before, waiting = measured.before, measured.waiting
    per_answer_s = (measured.after.cpu_s - waiting.cpu_s) / len(measured.waits_s)
    return (
        f"{name}: {len(measured.waits_s)} answered, p50 {1000 * median(measured.waits_s):.0f} ms, "
        f"p99 {1000 * measured.part(0.99):.0f} ms, most {1000 * measured.waits_s[-1]:.0f} ms\n"
        f"  memory {before.memory_mib:.0f} to {waiting.memory_mib:.0f} MiB, threads "
        f"{before.threads} to {waiting.threads}, database connections "
        f"{before.connections} to {waiting.connections}, processor time of the API an answer "
        f"{1000 * per_answer_s:.1f} ms"
    )


def main(count: int) -> None:
    """Prints the figures with Redis and without."""
    with tempfile.TemporaryDirectory() as name, plant(Path(name)) as installation:
        folder = Path(name)
        print(told("with Redis", measure(installation, folder, count, ENDS_PER_S)), flush=True)
        with without_redis(installation) as parts:
            print(told("Redis away", measure(parts, folder, count, ENDS_PER_S)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
