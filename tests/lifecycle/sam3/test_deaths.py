"""A video on SAM3 whose workers die, are told to stop or change: it comes out as if undisturbed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.crews import until
from tests.lifecycle.sam3.conftest import (
    BATCH,
    FRAMES,
    Died,
    Load,
    Service,
    cut,
    deadly,
    make_ready,
    watch,
    work_on,
)
from visionseg.contract.status import Status
from visionseg.records.units import Claim
from workers.bench import Bench
from workers.media.shards import ShardFrame


def test_a_death_in_each_chunk_of_any_size_changes_no_bit(
    service: Service,
    load: Load,
    film_uri: str,
    undisturbed: list[ShardFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [frame.index for frame in undisturbed] == list(range(FRAMES))
    assert sum(len(frame.instances) for frame in undisturbed) >= 2 * FRAMES
    for size in (7, 30, 64):
        cut(monkeypatch, size)
        firsts = range(0, FRAMES, size)
        deaths = {min(first + size, FRAMES) - 2 for first in firsts}
        seen: Counter[int] = Counter()
        workers = itertools.cycle([deadly(load(), deaths, seen) for _ in range(2)])
        made = service.submit(film_uri)
        assert work_on(service, workers) == len(firsts)
        assert service.frames(made) == undisturbed
        again = sum(seen.values()) - FRAMES
        assert again <= BATCH * len(firsts)  # what was done since the last checkpoint


def test_a_failure_in_the_middle_of_a_chunk_goes_on_from_the_checkpoint(
    service: Service,
    load: Load,
    film_uri: str,
    undisturbed: list[ShardFrame],
) -> None:
    failures, seen = {30, 61}, Counter[int]()

    def fail(index: int) -> None:
        seen[index] += 1
        if index in failures:
            failures.remove(index)
            raise MemoryError

    segmenter = load()
    watch(segmenter, fail)
    made = service.submit(film_uri)
    bench = service.bench(segmenter)
    while (claimed := bench._claim(bench.lanes)) is not None:
        bench._perform(claimed, lambda: None)
        make_ready(service, claimed)
    assert service.frames(made) == undisturbed
    assert failures == set()
    assert sum(seen.values()) - FRAMES <= 2 * BATCH


def test_a_worker_told_to_stop_hands_over_right_where_it_stands(
    service: Service,
    load: Load,
    film_uri: str,
    undisturbed: list[ShardFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frame 33 is in the middle of a batch, and results wait for later frames."""
    leaving: list[bool] = []
    first, seen = load(), Counter[int]()
    bench = service.bench(first, draining=lambda: bool(leaving))
    heard: list[Callable[[], bool]] = []
    run = bench._run

    def running(claimed: Claim, watch: Any, *others: Any) -> Any:
        heard.append(watch.should_stop)
        return run(claimed, watch, *others)

    def leave(index: int) -> None:
        seen[index] += 1
        if index == 33:
            leaving.append(True)
            until(heard[-1])

    watch(first, leave)
    made = service.submit(film_uri)
    with monkeypatch.context() as patch:
        patch.setattr(Bench, "_run", lambda _, *given: running(*given))
        bench.take_a_turn()
    assert service.client.read(made).status is Status.PROCESSING
    assert max(seen) == 33
    second = load()
    watch(second, lambda index: seen.update([index]))
    service.bench(second).take_a_turn()
    assert service.frames(made) == undisturbed
    assert set(seen.values()) == {1}
    assert "try" not in service.client.read(made).logs


def test_where_the_last_checkpoint_cannot_be_read_the_one_before_is_taken(
    service: Service,
    load: Load,
    film_uri: str,
    undisturbed: list[ShardFrame],
) -> None:
    made, seen = service.submit(film_uri), Counter[int]()
    broken: list[Path] = []

    def spoil_and_die(index: int) -> None:
        if index == 30:
            last, *_ = [key for key in service.kept(made) if "state-28" in key]
            broken.append(service.installation.store.path(last))
            broken[0].write_bytes(b"half of a file")
            raise Died

    first, second = load(), load()
    watch(first, spoil_and_die)
    watch(second, lambda index: seen.update([index]))
    work_on(service, itertools.chain(itertools.repeat(first, 2), itertools.repeat(second)))
    assert broken
    assert service.frames(made) == undisturbed
    assert min(seen) == 24


def test_frames_apart_go_on_from_a_checkpoint_too(
    service: Service,
    load: Load,
    film_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut(monkeypatch, 16)
    asked = {"prompt_propagation": False, "max_frames": 32}
    box = {"x_min": 5, "y_min": 5, "x_max": 40, "y_max": 40, "frame_index": 20, "object_id": 3}
    found, looks = [], []
    for deaths in ((), (3, 6)):
        segmenter, calls = load(), itertools.count()
        look = segmenter.network.look

        def looked(
            pixels: torch.Tensor,
            look: Callable[[torch.Tensor], Any] = look,
            calls: Iterator[int] = calls,
            deaths: tuple[int, ...] = deaths,
        ) -> Any:
            number = next(calls)
            looks.append(number)
            if number in deaths:
                raise Died
            return look(pixels)

        monkeypatch.setattr(segmenter.network, "look", looked)
        made = service.submit(film_uri, box_prompts=[box], **asked)
        assert work_on(service, itertools.repeat(segmenter)) == len(deaths)
        found.append(service.frames(made))
    assert found[0] == found[1]
    assert 3 in {one.object_id for one in found[0][20].instances}
    assert len(looks) == 8 + 8 + 2
