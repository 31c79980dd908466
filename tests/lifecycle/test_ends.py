"""What stays and what goes when a prediction ends: parts, retention, deletion, orphans, retries."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
from collections.abc import Callable, Sequence

import av
import pytest
from sqlalchemy import text

from tests.fakes.segmenters import BrightSegmenter, BrightSession
from tests.lifecycle.conftest import Client, MakeClient
from visionseg.access import keys
from visionseg.access.keys import Bounds, Caller
from visionseg.artifacts.store import Stored
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import Status
from visionseg.predictions.again import dead_letters, send_again
from visionseg.predictions.cancel import cancel
from visionseg.predictions.delete import delete
from visionseg.predictions.installation import Installation
from visionseg.predictions.orphans import delete_orphans
from visionseg.predictions.sweep import delete_expired_files
from workers.bench import Bench
from workers.segmenters.base import (
    FrameResult,
    Rgb,
    Session,
    SessionOptions,
    ShouldStop,
    VideoPrompts,
)


class BreaksLate(BrightSegmenter):
    """Follows sixteen frames and then refuses."""

    def open_session(
        self, prompts: VideoPrompts, options: SessionOptions, state: bytes | None = None
    ) -> Session:
        seen = json.loads(state)["seen"] if state is not None else 0
        return BreakingSession("", 0, seen)


class BreakingSession(BrightSession):
    """The session of `BreaksLate`."""

    def step(self, frames: Sequence[Rgb], should_stop: ShouldStop) -> list[FrameResult]:
        if self.seen >= 16:
            raise Refusal(ErrorCode.NOT_A_VIDEO, "It breaks off.")
        return super().step(frames, should_stop)


def test_the_finished_chunks_of_a_failed_video_stay_with_their_times(
    client: Client, make_bench: Callable[..., Bench], clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri)
    bench = make_bench(BreaksLate())
    bench.lanes = list(reversed(bench.lanes))  # so that pieces are rendered before the next chunk
    bench.take_a_turn()
    record = client.read(made)
    assert (record.status, record.error) == (Status.FAILED, "It breaks off.")
    assert sorted(one.name for one in record.artifacts) == [
        "part_000000-000007_0.000s-0.700s.mp4",
        "part_000000-000007_0.000s-0.700s.rle.jsonl.gz",
        "part_000008-000015_0.800s-1.500s.mp4",
        "part_000008-000015_0.800s-1.500s.rle.jsonl.gz",
    ]
    assert record.output is None
    piece = client.artifact(made, "part_000008-000015_0.800s-1.500s.mp4")
    with av.open(str(piece)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8
    shard = client.artifact(made, "part_000008-000015_0.800s-1.500s.rle.jsonl.gz")
    assert gzip.decompress(shard.read_bytes()).count(b"\n") == 9


def test_a_video_that_succeeds_shows_no_parts(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri)
    bench.take_a_turn()
    assert [one.name for one in client.read(made).artifacts] == ["video.mp4", "index.json"]
    delete_expired_files(installation)
    with installation.database.connect() as connection:
        query = text("SELECT count(*) FROM files WHERE role = 'part' AND deleted_at IS NULL")
        assert connection.execute(query).scalar_one() == 0


def _expire(installation: Installation) -> None:
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE files SET expires_at = clock_timestamp()"))


def test_expired_results_go_and_what_an_open_prediction_reads_stays(
    installation: Installation, client: Client, bench: Bench
) -> None:
    first = client.image(prompt="person", save_overlay=True)
    bench.take_a_turn()
    source = client.read(first).input["image"]
    again = client.image(image=f"http://test/api/vision-segment/outputs/{first}_overlay.png")
    assert source.startswith("data:")
    _expire(installation)
    delete_expired_files(installation)
    assert client.artifact(first, "overlay.png").exists()
    assert not client.artifact(first, "mask_000.png").exists()
    bench.take_a_turn()
    assert client.read(again).status is Status.SUCCEEDED
    delete_expired_files(installation)
    assert not client.artifact(first, "overlay.png").exists()


def test_a_key_may_keep_its_results_for_a_time_of_its_own(
    installation: Installation, client: Client, bench: Bench
) -> None:
    pepper = installation.settings.http.key_pepper.get_secret_value()
    made_key = keys.create(installation.database, pepper, "short", bounds=Bounds(keep_s=3600))
    caller = keys.authenticate(installation.database, pepper, f"Bearer {made_key.secret}")
    own = Client(installation, caller)
    made, usual = own.image(), client.image()
    bench.take_a_turn()
    kept_s = []
    for who, one in ((own, made), (client, usual)):
        record = who.read(one)
        expires = record.artifacts[0].expires_at
        assert expires is not None
        assert record.completed_at is not None
        kept_s.append((expires - record.completed_at).total_seconds())
    assert kept_s == [pytest.approx(3600, abs=5), pytest.approx(7 * 86400, abs=5)]


def test_deleting_takes_everything_but_the_record(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image(prompt="person", include_scores=True)
    bench.take_a_turn()
    mask = client.artifact(made, "mask_000.png")
    delete(installation, made)
    delete(installation, made)
    delete_expired_files(installation)
    record = client.read(made)
    assert (record.status, record.input, record.output) == (Status.SUCCEEDED, {}, None)
    assert (record.artifacts, record.logs) == ([], "")
    assert not mask.exists()


def test_deleting_an_open_prediction_cancels_it(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image()
    delete(installation, made)
    bench.take_a_turn()
    assert client.read(made).status is Status.CANCELED


def _age(installation: Installation, stored: Stored) -> None:
    os.utime(installation.store.path(stored.key), (0, 0))


def test_only_old_files_that_no_row_names_are_orphans(
    installation: Installation, client: Client, bench: Bench
) -> None:
    made = client.image(prompt="person")
    bench.take_a_turn()
    named = client.artifact(made, "mask_000.png")
    os.utime(named, (0, 0))
    old = installation.store.put_bytes("ab/vs_abc/000001-001/mask_000.png", b"lost")
    young = installation.store.put_bytes("ab/vs_abc/000001-002/mask_000.png", b"at work")
    _age(installation, old)
    assert delete_orphans(installation) == 1
    assert named.exists()
    assert not installation.store.path(old.key).exists()
    assert installation.store.path(young.key).exists()


def test_a_folder_that_is_still_written_to_is_left_to_its_owner(
    installation: Installation,
) -> None:
    with installation.store.scratch() as at_work, installation.store.scratch() as left_behind:
        for folder in (at_work, left_behind):
            (folder / "upload").write_bytes(b"so far")
            os.utime(folder / "upload", (0, 0))
            os.utime(folder, (0, 0))
        os.utime(at_work / "upload")
        delete_orphans(installation)
        assert (at_work / "upload").exists()
        assert not left_behind.exists()


def test_a_failed_prediction_is_sent_again_as_a_new_one(
    installation: Installation, client: Client, make_bench: Callable[..., Bench], clip_uri: str
) -> None:
    made = client.video(video=clip_uri, output_format="coco_rle")
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE predictions SET deadline = clock_timestamp()"))
    assert cancel(installation, made)
    again = send_again(installation, made)
    assert again != made
    with installation.database.begin() as connection:
        connection.execute(text("UPDATE predictions SET deadline = deadline + interval '1 h'"))
    make_bench().take_a_turn()
    assert client.read(again).status is Status.SUCCEEDED
    assert client.read(made).status is Status.CANCELED
    assert client.read(again).warnings == [f"Sent again from {made}."]


@pytest.mark.parametrize("code", [ErrorCode.NOT_FOUND, ErrorCode.INVALID_INPUT, ErrorCode.GONE])
def test_what_cannot_be_sent_again_is_told(
    installation: Installation, client: Client, code: ErrorCode
) -> None:
    made = PredictionId("vs_unknown") if code is ErrorCode.NOT_FOUND else client.image()
    if code is ErrorCode.GONE:
        delete(installation, made)
    with pytest.raises(Refusal) as refusal:
        send_again(installation, made)
    assert refusal.value.code is code


def test_dead_letters_are_those_whose_workers_died_too_often(
    installation: Installation, client: Client
) -> None:
    made, other = client.image(), client.image()
    cancel(installation, other)
    with installation.database.begin() as connection:
        failed = "UPDATE predictions SET status = 'failed', error_code = 'worker_lost'"
        connection.execute(text(f"{failed} WHERE id = :id"), {"id": made})
    assert [row.id for row in dead_letters(installation)] == [made]


def _roles(installation: Installation) -> set[str]:
    delete_expired_files(installation)
    query = text("SELECT role FROM files WHERE deleted_at IS NULL")
    with installation.database.connect() as connection:
        return set(connection.execute(query).scalars())


def test_with_zero_retention_only_the_result_outlives_the_job(
    installation: Installation, make_client: MakeClient, bench: Bench, clip_uri: str
) -> None:
    zero = make_client(keep_s=0)
    made = zero.video(video=clip_uri)
    bench.take_a_turn()
    assert zero.read(made).status is Status.SUCCEEDED
    assert _roles(installation) == {"artifact"}
    assert [file.name for file in zero.read(made).artifacts] == ["video.mp4", "index.json"]


def test_zero_retention_may_be_everybodys(
    installation: Installation, caller: Caller, bench: Bench
) -> None:
    storage = installation.settings.storage.model_copy(update={"outputs_keep_s": 0})
    settings = installation.settings.model_copy(update={"storage": storage})
    zero = dataclasses.replace(installation, settings=settings)
    bench.installation = zero
    made = Client(zero, caller).image()
    bench.take_a_turn()
    assert _roles(installation) == {"artifact"}
    record = Client(zero, caller).read(made)
    expires, ended = record.artifacts[0].expires_at, record.completed_at
    assert expires is not None
    assert ended is not None
    assert (expires - ended).total_seconds() == pytest.approx(3600, abs=60)
