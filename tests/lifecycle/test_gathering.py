"""Pictures of several jobs in one batch: each keeps its own result, stop, failure and cost."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from tests.crews import until
from tests.fakes.segmenters import BrightSegmenter
from tests.lifecycle.conftest import Client, MakeClient, picture, png_uri
from visionseg.config import Gathering
from visionseg.contract.ids import PredictionId
from visionseg.contract.models import LITE
from visionseg.contract.status import Status
from visionseg.predictions.cancel import cancel
from visionseg.predictions.installation import Installation
from workers import bench as benches
from workers.bench import Bench
from workers.pictures import LOOK_EVERY_S
from workers.segmenters.base import ImagePrompts, Instance, Rgb, ShouldStop, Stopped

Answer = list[list[Instance]]
BAD_PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4"
FALLEN = "scissors"


class Together(BrightSegmenter):
    """Takes eight pictures at once and notes the size of every batch."""

    pictures_at_once = 8

    def __init__(self) -> None:
        self.batches: list[int] = []

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> Answer:
        self.batches.append(len(images))
        return super().segment(images, prompts, should_stop)


class Narrow(Together):
    """Has memory for one picture."""

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> Answer:
        found = super().segment(images, prompts, should_stop)
        if len(images) > 1:
            raise MemoryError
        return found


class Falling(Together):
    """Has a bug that one noun meets."""

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> Answer:
        found = super().segment(images, prompts, should_stop)
        if any(FALLEN in one.concepts for one in prompts):
            raise RuntimeError("a bug")
        return found


class Held(Together):
    """Computes until it is let go, or told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.let_go = threading.Event(), threading.Event()

    def before_each(self, should_stop: ShouldStop) -> None:
        self.began.set()
        while not self.let_go.wait(0.01):
            if should_stop():
                raise Stopped


@pytest.fixture
def take_a_turn() -> Callable[[Bench], threading.Thread]:
    """A worker's turn in a thread of its own."""

    def start(bench: Bench) -> threading.Thread:
        thread = threading.Thread(target=bench.take_a_turn)
        thread.start()
        return thread

    return start


def test_waiting_pictures_go_through_the_model_together(
    client: Client, make_bench: Callable[..., Bench]
) -> None:
    together, alone = Together(), BrightSegmenter()
    made = [client.image(image=png_uri(picture(place)), include_boxes=True) for place in range(11)]
    make_bench(together).take_a_turn()
    again = [client.image(image=png_uri(picture(place)), include_boxes=True) for place in range(11)]
    make_bench(alone).take_a_turn()
    assert together.batches == [8, 3]
    for one, other in zip(made, again, strict=True):
        record, expected = client.read(one), client.read(other)
        assert record.status is Status.SUCCEEDED
        assert record.boxes == expected.boxes
        assert record.output == expected.output
        assert [file.sha256 for file in record.artifacts] == [
            file.sha256 for file in expected.artifacts
        ]


@pytest.mark.parametrize(("most", "batches"), [(1, [1] * 5), (2, [2, 2, 1])])
def test_the_setting_bounds_how_many(
    client: Client, make_bench: Callable[..., Bench], most: int, batches: list[int]
) -> None:
    together = Together()
    bench = make_bench(together)
    gathering = Gathering(pictures_at_once=most)
    settings = bench.installation.settings.model_copy(update={"gathering": gathering})
    bench.installation = dataclasses.replace(bench.installation, settings=settings)
    for _ in range(5):
        client.image()
    bench.take_a_turn()
    assert together.batches == batches


def test_the_first_waits_for_one_that_comes_soon(
    client: Client, make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is submitted while the worker waits."""
    together = Together()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            client.image()

    client.image()
    clock = SimpleNamespace(monotonic=lambda: 5.0 if len(slept) < 2 else 6.0, sleep=sleep)
    monkeypatch.setattr(benches, "time", clock)
    make_bench(together).take_a_turn()
    assert together.batches == [2]
    assert slept == [pytest.approx(0.005)] * 2


def test_one_that_cannot_be_read_leaves_the_others_alone(
    client: Client, make_bench: Callable[..., Bench]
) -> None:
    together = Together()
    good = [client.image() for _ in range(3)]
    bad = client.image(image=BAD_PNG)
    make_bench(together).take_a_turn()
    assert together.batches == [3]
    assert client.read(bad).error_code == "not_an_image"
    assert {client.read(made).status for made in good} == {Status.SUCCEEDED}


@pytest.mark.parametrize("segmenter", [Narrow, Falling])
def test_where_a_batch_fails_each_is_tried_by_itself(
    client: Client, make_bench: Callable[..., Bench], segmenter: type[Narrow] | type[Falling]
) -> None:
    falling = segmenter()
    good = [client.image() for _ in range(3)]
    bad = client.image(prompt=FALLEN)
    make_bench(falling).take_a_turn()
    assert falling.batches == [4, 1, 1, 1, 1]
    for made in good:
        record = client.read(made)
        assert record.status is Status.SUCCEEDED
        assert "trying again" not in record.logs
    is_bad = segmenter is Falling
    assert ("image: try 1 failed (internal), trying again" in client.read(bad).logs) == is_bad


def test_a_canceled_one_drops_out_and_the_others_go_on(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    take_a_turn: Callable[[Bench], threading.Thread],
) -> None:
    held = Held()
    unwanted, *wanted = [client.image() for _ in range(3)]
    turn = take_a_turn(make_bench(held))
    assert held.began.wait(60)
    assert cancel(installation, unwanted)
    until(lambda: client.read(unwanted).released_at is not None)
    assert not held.let_go.is_set()  # it was let go while the batch went on
    held.let_go.set()
    turn.join()
    assert held.batches == [3]
    assert client.read(unwanted).status is Status.CANCELED
    assert {client.read(made).status for made in wanted} == {Status.SUCCEEDED}


def test_a_batch_that_nobody_wants_is_stopped(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    take_a_turn: Callable[[Bench], threading.Thread],
) -> None:
    held = Held()
    made = [client.image() for _ in range(3)]
    turn = take_a_turn(make_bench(held))
    assert held.began.wait(60)
    for one in made:
        cancel(installation, one)
    turn.join()
    assert not held.let_go.is_set()
    assert all(client.read(one).released_at for one in made)


def test_a_worker_told_to_stop_gives_all_of_a_batch_back(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    take_a_turn: Callable[[Bench], threading.Thread],
) -> None:
    held, stopping = Held(), threading.Event()
    made = [client.image() for _ in range(3)]
    bench = make_bench(held)
    bench.draining = stopping.is_set
    turn = take_a_turn(bench)
    assert held.began.wait(60)
    stopping.set()
    turn.join()
    with installation.database.connect() as connection:
        query = text("SELECT state, attempt - given_back FROM units")
        units = [tuple(row) for row in connection.execute(query)]
    assert units == [("ready", 0)] * 3
    make_bench(Together()).take_a_turn()
    assert {client.read(one).status for one in made} == {Status.SUCCEEDED}


def test_pictures_for_another_model_stay_in_the_queue(
    client: Client, make_bench: Callable[..., Bench], installation: Installation
) -> None:
    together, other = Together(), Together()
    bench = make_bench(together)
    bench.segmenters = {LITE: together, "another": other}
    mine, others = [client.image() for _ in range(2)], [client.image() for _ in range(3)]
    with installation.database.begin() as connection:
        ids = {"ids": list(others)}
        for query in (
            "UPDATE predictions SET engine = 'another' WHERE id = ANY(:ids)",
            "UPDATE turns SET engine = 'another' WHERE prediction_id = ANY(:ids)",
        ):
            connection.execute(text(query), ids)
    bench.take_a_turn()
    assert (together.batches, other.batches) == ([2], [3])
    assert {client.read(made).status for made in (*mine, *others)} == {Status.SUCCEEDED}


def test_keys_are_charged_equal_parts_of_the_time_together(
    installation: Installation, client: Client, make_bench: Callable[..., Bench]
) -> None:
    class Slow(Together):
        def before_each(self, should_stop: ShouldStop) -> None:
            time.sleep(1)

    for _ in range(8):
        client.image()
    began = time.monotonic()
    make_bench(Slow()).take_a_turn()
    took_s = time.monotonic() - began
    with installation.database.connect() as connection:
        charged_s = connection.execute(text("SELECT sum(seconds) FROM shares")).scalar_one()
        frame_s = connection.execute(text("SELECT frame_s FROM speeds")).scalar_one()
    assert 1 <= charged_s < 4 * took_s  # it was 8 times the time, were it not parted
    assert frame_s < took_s / 2


def test_the_shares_of_keys_hold_from_batch_to_batch(
    installation: Installation, make_client: MakeClient, make_bench: Callable[..., Bench]
) -> None:
    busy, late = make_client(), make_client()
    waiting = [busy.image() for _ in range(20)]
    made: list[PredictionId] = []

    class Noting(Together):
        def before_each(self, should_stop: ShouldStop) -> None:
            if len(self.batches) == 1:
                made.extend(late.image() for _ in range(2))

    make_bench(Noting()).take_a_turn()
    with installation.database.connect() as connection:
        order = list(
            connection.execute(text("SELECT id FROM predictions ORDER BY started_at")).scalars()
        )
    assert set(order[8:10]) == set(made)
    assert order[:8] == waiting[:8]
    assert order[10:] == waiting[8:]


def test_the_last_of_a_batch_stays_with_a_computation_that_hears_no_stop(
    installation: Installation,
    client: Client,
    make_bench: Callable[..., Bench],
    take_a_turn: Callable[[Bench], threading.Thread],
) -> None:
    """Its watch is what ends the process of one that never ends."""

    class Deaf(Held):
        def before_each(self, should_stop: ShouldStop) -> None:
            self.began.set()
            self.let_go.wait()

    deaf = Deaf()
    made = [client.image() for _ in range(3)]
    turn = take_a_turn(make_bench(deaf))
    assert deaf.began.wait(60)
    for one in made:
        cancel(installation, one)
    until(lambda: sum(client.read(one).released_at is not None for one in made) == 2)
    time.sleep(10 * LOOK_EVERY_S)
    assert sum(client.read(one).released_at is not None for one in made) == 2
    deaf.let_go.set()
    turn.join()
    assert all(client.read(one).released_at for one in made)
