"""Files that were damaged before they were checked: made again, and never published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.damage import DAMAGES, Damaging
from tests.fakes.segmenters import Forgetful
from tests.lifecycle.conftest import Client
from tests.stores import named, stored, try_again_now
from visionseg.contract.errors import ErrorCode
from visionseg.contract.ids import PredictionId
from visionseg.contract.status import FINAL, Status
from visionseg.predictions.installation import Installation
from workers.bench import Bench
from workers.media import stitch as stitching
from workers.media.clock import Clock

FORMATS = ("mp4", "frames", "masks", "coco_rle")
RESULTS = frozenset({"video.mp4", "frames.zip", "masks.zip", "video.coco.json"})


def _work_off(bench: Bench, client: Client, made: PredictionId) -> None:
    while client.read(made).status not in FINAL:
        bench.take_a_turn()
        try_again_now(bench.installation)


def _files_are_as_told(client: Client, made: PredictionId) -> None:
    for artifact in client.read(made).artifacts:
        data = client.artifact(made, artifact.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (
            artifact.size_bytes,
            artifact.sha256,
        )


def _results(client: Client, made: PredictionId) -> dict[str, str]:
    return {artifact.name: artifact.sha256 for artifact in client.read(made).artifacts}


@pytest.mark.parametrize(
    ("output_format", "damage", "summed"),
    [
        ("mp4", "bit near the end", False),
        ("mp4", "cut off", True),
        ("frames", "bit in the middle", True),
        ("masks", "empty", False),
        ("masks", "bit in the middle", False),
        ("coco_rle", "bit near the end", True),
    ],
)
def test_a_video_whose_every_file_is_damaged_once_ends_as_if_none_were(
    installation: Installation,
    client: Client,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    output_format: str,
    damage: str,
    summed: bool,
) -> None:
    whole = client.video(video=clip_uri, output_format=output_format)
    bench.take_a_turn()
    made = client.video(video=clip_uri, output_format=output_format)
    store = Damaging(installation.settings.storage.files, DAMAGES[damage], summed=summed)
    bench.installation = replace(installation, store=store)
    _work_off(bench, client, made)
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record
    assert _results(client, made) == _results(client, whole)
    assert {"plan", "checkpoint", "index.json"} < store.damaged
    tries = [line for line in record.logs.splitlines() if "trying again" in line]
    if summed:  # before it, some bits of an mp4 mean nothing, and what is summed then is right
        assert len(tries) == len(store.damaged)
    _files_are_as_told(client, made)
    assert stored(installation) == named(installation)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("summed", [False, True], ids=["before its sum", "after it"])
def test_pictures_whose_every_file_is_damaged_once_end_as_if_none_were(
    installation: Installation, client: Client, bench: Bench, summed: bool, damage: str
) -> None:
    made = client.image(save_overlay=True)
    store = Damaging(installation.settings.storage.files, DAMAGES[damage], summed=summed)
    bench.installation = replace(installation, store=store)
    _work_off(bench, client, made)
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record
    assert store.damaged == {"mask_000.png", "overlay.png", "masks.zip"}
    _files_are_as_told(client, made)


@pytest.mark.parametrize("output_format", FORMATS)
def test_a_result_that_is_damaged_every_time_is_never_published(
    installation: Installation,
    client: Client,
    bench: Bench,
    clip_uri: str,
    output_format: str,
) -> None:
    made = client.video(video=clip_uri, output_format=output_format)
    root, damage = installation.settings.storage.files, DAMAGES["cut off"]
    store = Damaging(root, damage, summed=True, always=RESULTS)
    bench.installation = replace(installation, store=store)
    _work_off(bench, client, made)
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.INTERNAL)
    assert record.output is None
    assert all(artifact.name.startswith("part_") for artifact in record.artifacts)
    assert stored(installation) == named(installation)


def test_a_video_whose_frames_stand_at_wrong_times_is_not_published(
    client: Client,
    bench: Bench,
    clip_uri: str,
    small_chunks: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retime: Callable[..., None] = stitching._retime

    def late(packet: object, clock: Clock, decoded: int, shown: int) -> None:
        retime(packet, clock, decoded, min(shown + 1, clock.pts.size - 1))

    made = client.video(video=clip_uri)
    monkeypatch.setattr(stitching, "_retime", late)
    bench.take_a_turn()
    record = client.read(made)
    assert record.status is Status.PROCESSING
    assert "assemble: try 1 failed (internal), trying again" in record.logs
    assert record.output is None
    monkeypatch.setattr(stitching, "_retime", retime)
    _work_off(bench, client, made)
    assert client.read(made).status is Status.SUCCEEDED


def _flip_a_picture(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 1000] ^= 4
    path.write_bytes(data)


def test_a_piece_that_is_damaged_at_rest_is_not_joined(
    installation: Installation, client: Client, bench: Bench, clip_uri: str, small_chunks: None
) -> None:
    made = client.video(video=clip_uri)
    pieces: list[str] = []

    def damage_the_first() -> bool:
        with installation.database.connect() as connection:
            query = "SELECT store_key FROM files WHERE role = 'part' ORDER BY name"
            found = connection.exec_driver_sql(query).scalars().all()
        if found and not pieces:
            pieces.append(found[0])
            _flip_a_picture(installation.store.path(found[0]))
        return False

    bench.draining = damage_the_first
    _work_off(bench, client, made)
    assert pieces
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.INTERNAL)


def test_frames_that_a_segmenter_swallows_are_not_left_out_in_silence(
    client: Client, make_bench: Callable[..., Bench], clip_uri: str
) -> None:
    made = client.video(video=clip_uri, output_format="coco_rle")
    bench = make_bench(Forgetful())
    _work_off(bench, client, made)
    record = client.read(made)
    assert (record.status, record.error_code) == (Status.FAILED, ErrorCode.INTERNAL)
