"""Pictures beside a video on one worker, by the order of what is done and not by the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.fakes.segmenters import BrightSegmenter, BrightSession
from tests.lifecycle.conftest import Client
from visionseg.contract.status import Status
from workers import bench as benches
from workers.bench import Bench
from workers.segmenters.base import (
    FrameResult,
    ImagePrompts,
    Instance,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    VideoPrompts,
)

AT_ONCE = 2
BATCHES = 15
"""Of two frames each."""


class Noting(BrightSegmenter):
    """Notes every picture and every batch of frames in `done`, after asking for more pictures."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self.done: list[str] = []
        self.ask = ask

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        self.done += ["picture"] * len(images)
        return super().segment(images, prompts, should_stop)

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        return NotingSession("", 0, noted=self)


class NotingSession(BrightSession):
    """A session of `Noting`."""

    def __init__(self, label: str, delay: int, noted: Noting) -> None:
        super().__init__(label, delay)
        self._noted = noted

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        self._noted.done.append("batch")
        self._noted.ask()
        return super().step(frames, should_stop)


@pytest.fixture
def noting(client: Client) -> Noting:
    """Pictures come while each batch is computed."""

    def ask() -> None:
        for _ in range(AT_ONCE):
            client.image()

    return Noting(ask)


def test_every_waiting_picture_goes_before_the_next_batch_of_frames(
    client: Client,
    make_bench: Callable[..., Bench],
    noting: Noting,
    clip_uri: str,
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benches, "GIVE_WAY_EVERY_S", -1)
    video = client.video(video=clip_uri, output_format="coco_rle")
    bench = make_bench(noting)
    while client.read(video).status is not Status.SUCCEEDED:
        bench.take_a_turn()
    assert noting.done == ["batch", *["picture"] * AT_ONCE] * BATCHES


def test_a_video_looks_for_pictures_ten_times_a_second_at_most(
    client: Client,
    make_bench: Callable[..., Bench],
    noting: Noting,
    clip_uri: str,
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Looks cost a query each; quick batches share one."""
    monkeypatch.setattr(benches, "GIVE_WAY_EVERY_S", 3600)
    client.video(video=clip_uri, output_format="coco_rle")
    make_bench(noting).take_a_turn()
    assert noting.done[:4] == ["batch"] * 4


class Endless(Noting):
    """Each picture takes a second, each batch of frames too, and brings another picture."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def segment(
        self, images: Sequence[Rgb], prompts: Sequence[ImagePrompts], should_stop: ShouldStop
    ) -> list[list[Instance]]:
        assert len(self.done) < 10 * BATCHES, "the video waits without end"
        self.ask()
        return super().segment(images, prompts, should_stop)


def test_pictures_without_end_take_their_share_of_the_time_beside_a_video(
    client: Client,
    make_bench: Callable[..., Bench],
    clip_uri: str,
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ask() -> None:
        endless.now += 1
        client.image()

    endless = Endless(ask)
    monkeypatch.setattr(benches, "time", endless)
    video = client.video(video=clip_uri, output_format="coco_rle")
    client.image()
    bench = make_bench(endless)
    while client.read(video).status is not Status.SUCCEEDED:
        bench.take_a_turn()
    pictures = endless.done.count("picture")
    assert 3 * BATCHES <= pictures <= 5 * BATCHES
