"""Speeds are measured as units end, and records tell how long it will take; neither costs much."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from bench.queueing import multiply
from tests.fakes.segmenters import BrightSegmenter
from tests.lifecycle.conftest import Client, MakeClient
from visionseg.contract.ids import PredictionId, new_worker_id
from visionseg.contract.models import LITE
from visionseg.predictions.claim import claim
from visionseg.predictions.installation import Installation
from visionseg.predictions.sweep import sweep
from visionseg.queue.lanes import CPU_LANES, GPU_LANES, Lane
from visionseg.records import speeds, workers
from visionseg.records.speeds import Speed
from visionseg.records.turns import MOST_COUNTED
from workers import bench as benches
from workers.app import Parent
from workers.bench import Bench
from workers.segmenters.base import Session, SessionOptions, ShouldStop, VideoPrompts

BACKLOG = 20_000


def _measured(installation: Installation) -> dict[str, Speed]:
    with installation.database.connect() as connection:
        return {kind: speed for (_, kind), speed in speeds.all_measured(connection).items()}


def _measure(installation: Installation, seconds: float, frames: int = 10) -> None:
    with installation.database.begin() as connection:
        speeds.measure(connection, LITE, "chunk", seconds, frames)


def _pass_a_second(connection: Connection) -> None:
    connection.execute(text("UPDATE speeds SET measured_at = measured_at - interval '2 s'"))


def _start_worker(installation: Installation, processes: int) -> None:
    Parent(installation, [*GPU_LANES, *CPU_LANES], processes, [LITE]).beat()


def test_units_that_end_are_measured_by_unit_and_by_frame(
    installation: Installation, client: Client, bench: Bench, clip_uri: str
) -> None:
    client.image()
    client.video(video=clip_uri)
    bench.take_a_turn()
    found = _measured(installation)
    assert found.keys() == {"image", "ingest", "chunk", "render", "assemble"}
    frames = {"image": 1, "chunk": 30, "render": 30, "assemble": 30}
    expected = {kind: found[kind].unit_s / count for kind, count in frames.items()}
    assert {kind: found[kind].frame_s for kind in frames} == pytest.approx(expected)
    assert found["ingest"].frame_s is None
    assert all(speed.unit_s > 0 for speed in found.values())


class Interrupted(BrightSegmenter):
    """Someone submits a picture as it begins a video; a picture takes a second."""

    def __init__(self, submit: Callable[[], object]) -> None:
        self._submit = submit

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        self._submit()
        return super().open_session(prompts, options, state)

    def before_each(self, should_stop: ShouldStop) -> None:
        time.sleep(1)


def test_pictures_that_a_video_lets_go_first_are_not_its_own_time(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    clip_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benches, "GIVE_WAY_EVERY_S", -1)
    client.video(video=clip_uri)
    make_bench(Interrupted(client.image)).take_a_turn()
    with installation.database.connect() as connection:
        query = text("SELECT kind, seconds FROM units WHERE kind IN ('chunk', 'image')")
        took: dict[str, float] = {row.kind: row.seconds for row in connection.execute(query)}
    assert took["chunk"] > took["image"] > 1
    assert took["chunk"] - _measured(installation)["chunk"].unit_s > 1


def test_a_speed_is_a_mean_that_takes_one_measurement_a_second(
    installation: Installation,
) -> None:
    _measure(installation, 10.0)
    _measure(installation, 1000.0)
    assert _measured(installation)["chunk"] == Speed(10.0, 1.0)
    with installation.database.begin() as connection:
        _pass_a_second(connection)
    _measure(installation, 20.0)
    assert _measured(installation)["chunk"] == Speed(12.0, 1.2)


def test_units_that_end_together_do_not_wait_for_each_other(installation: Installation) -> None:
    _measure(installation, 10.0)
    with installation.database.begin() as other:
        _pass_a_second(other)
    with installation.database.begin() as slow:
        speeds.measure(slow, LITE, "chunk", 20.0, 10)
        with installation.database.begin() as quick:
            quick.execute(text("SET LOCAL lock_timeout = '100ms'"))
            speeds.measure(quick, LITE, "chunk", 1000.0, 10)
    assert _measured(installation)["chunk"] == Speed(12.0, 1.2)


def test_a_waiting_record_tells_its_place_and_the_seconds_to_its_turn(
    installation: Installation, client: Client
) -> None:
    with installation.database.begin() as connection:
        speeds.measure(connection, LITE, "image", 4.0, 1)
    _start_worker(installation, processes=2)
    made = [client.image() for _ in range(3)]
    urgent = client.image({"priority": 9})
    told = [client.read(one).queue for one in (urgent, *made)]
    assert [queue.position for queue in told] == [0, 1, 2, 3]
    assert [queue.eta_s for queue in told] == [1.0, 3.0, 5.0, 7.0]


def test_what_other_keys_have_waiting_is_counted_by_the_sweeper(
    installation: Installation, client: Client, make_client: MakeClient
) -> None:
    other = make_client()
    for _ in range(4):
        other.image()
    client.image()
    last = client.image()
    sweep(installation)
    assert client.read(last).queue.position == 2


def test_a_worker_that_died_serves_nobody(installation: Installation, client: Client) -> None:
    _start_worker(installation, processes=1)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE workers SET seen_at = seen_at - interval '1 h'"))
        lanes = {"lanes": [Lane.MEDIA], "engines": [LITE]}
        workers.beat(connection, new_worker_id(), host="h", pid=1, version="1", **lanes)
    assert client.read(client.image()).queue.eta_s is None


def test_running_work_tells_what_is_left_of_it(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri, output_format="coco_rle")
    held = bench._claim(bench.lanes)
    assert held is not None
    assert client.read(made).progress.eta_s is None
    bench._perform(held, lambda: None)
    assert client.read(made).progress.eta_s == 3.0  # thirty frames, by the model's card
    held = bench._claim(bench.lanes)
    assert held is not None
    bench._perform(held, lambda: None)
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE predictions SET started_at = now() - interval '80 s'"))
    left_s = client.read(made).progress.eta_s  # eight frames took the eighty seconds
    assert left_s == pytest.approx(220, abs=40)
    bench.take_a_turn()
    assert client.read(made).progress.eta_s is None


def test_a_picture_is_expected_to_take_what_pictures_took(
    installation: Installation, client: Client
) -> None:
    with installation.database.begin() as connection:
        speeds.measure(connection, LITE, "image", 500.0, 1)
    made = client.image()
    assert claim(installation.database, GPU_LANES, [LITE], "host/1/2", 30) is not None
    left_s = client.read(made).progress.eta_s
    assert left_s is not None
    assert 300 < left_s <= 500


@contextmanager
def _statements(installation: Installation) -> Iterator[list[tuple[str, Any]]]:
    """What is asked of the database meanwhile."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    event.listen(installation.database, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(installation.database, "before_cursor_execute", note)


def _rows_read(plan: dict[str, Any]) -> float:
    """Rows that a plan's scans took from tables and indexes, those they threw away too."""
    below = sum(_rows_read(part) for part in plan.get("Plans", ()))
    if "Relation Name" not in plan:
        return below
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return float(below + (plan["Actual Rows"] + removed) * plan["Actual Loops"])


def _cost(installation: Installation, client: Client, made: PredictionId) -> list[float]:
    """The rows that each statement of reading a record reads."""
    with _statements(installation) as asked:
        client.read(made)
    found = []
    with installation.database.connect() as connection:
        for statement, parameters in asked:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
            plan = connection.exec_driver_sql(explain, parameters).scalar_one()
            shown = json.loads(plan) if isinstance(plan, str) else plan
            found.append(_rows_read(shown[0]["Plan"]))
    return found


def test_reading_a_record_costs_the_same_however_many_wait(
    installation: Installation, client: Client
) -> None:
    first, last = client.image(), client.image()
    multiply(installation, first, BACKLOG)  # all of them as old as the first
    sweep(installation)
    queue = client.read(last).queue
    assert queue.position == MOST_COUNTED
    for made in (first, last):
        with _statements(installation) as asked:
            client.read(made)
        assert len(asked) == 4  # the forecast is a second's for all
        assert max(_cost(installation, client, made)) <= MOST_COUNTED + 50


def test_a_unit_without_a_webhook_asks_nothing_of_the_deliveries(
    installation: Installation, client: Client, bench: Bench
) -> None:
    client.image()
    with _statements(installation) as asked:
        bench.take_a_turn()
    assert [statement for statement, _ in asked if "deliveries" in statement] == []
    client.image({"webhook": "https://example.com/hook"})
    with _statements(installation) as asked:
        bench.take_a_turn()
    assert [statement for statement, _ in asked if "deliveries" in statement] != []
