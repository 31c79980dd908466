"""Renders: other files from the same masks, byte for byte, by the CPU alone."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.crews import until
from tests.fakes.segmenters import BrightSegmenter, SeesNothing
from tests.lifecycle.conftest import Client, MakeClient
from visionseg.access.keys import Caller
from visionseg.contract.errors import ErrorCode, Refusal
from visionseg.contract.ids import OrganisationId, PredictionId
from visionseg.contract.inputs import VideoChanges, VideoRender
from visionseg.contract.status import Status
from visionseg.predictions.again import send_again
from visionseg.predictions.cancel import cancel
from visionseg.predictions.delete import delete
from visionseg.predictions.installation import Installation
from visionseg.predictions.orphans import delete_orphans
from visionseg.predictions.render import render
from visionseg.predictions.sweep import delete_expired_files
from visionseg.queue.lanes import CPU_LANES
from visionseg.records import files
from visionseg.records.files import Role
from workers.bench import Bench
from workers.segmenters.base import Segmenter

pytestmark = pytest.mark.usefixtures("small_chunks")
MakeBench = Callable[..., Bench]


@pytest.fixture
def cpu(make_bench: MakeBench) -> Bench:
    """A worker without a model, in the lanes that need none."""
    return make_bench(BrightSegmenter(), lanes=CPU_LANES)


@pytest.fixture
def source(client: Client, bench: Bench, clip_uri: str) -> PredictionId:
    """A finished video of four chunks, asked as MP4, whose input is echoed by its address."""
    head, _, data = clip_uri.partition(",")
    padded = base64.b64decode(data) + b"\x00\x00\x10\x00free" + bytes(4088)
    made = client.video(video=f"{head},{base64.b64encode(padded).decode()}")
    bench.take_a_turn()
    return made


def _files(client: Client, made: PredictionId) -> dict[str, str]:
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    return {artifact.name: artifact.sha256 for artifact in record.artifacts}


def _kinds(installation: Installation, made: PredictionId) -> list[str]:
    query = text("SELECT kind FROM units WHERE prediction_id = :id ORDER BY seq")
    with installation.database.connect() as connection:
        return list(connection.execute(query, {"id": made}).scalars())


def _stored(installation: Installation) -> list[Path]:
    root = installation.settings.storage.files
    return [path for path in root.rglob("*") if path.is_file()]


def _sweep(installation: Installation) -> None:
    delete_expired_files(installation)
    delete_orphans(installation, older_than_s=0)


FORMATS: list[tuple[dict[str, Any], list[str]]] = [
    ({"output_format": "coco_rle"}, ["assemble"]),
    ({"output_format": "masks"}, [*["render"] * 4, "assemble"]),
    ({"output_format": "frames", "mask_opacity": 1.0}, [*["render"] * 4, "assemble"]),
    ({"mask_color": "red", "mask_opacity": 0.8}, [*["render"] * 4, "assemble"]),
    ({"fps": 5.0, "mask_color": "blue"}, [*["render"] * 4, "assemble"]),
]


@pytest.mark.parametrize(("changed", "kinds"), FORMATS, ids=lambda value: str(value)[:40])
def test_a_render_gives_what_its_form_would_have_given_at_first(
    installation: Installation,
    client: Client,
    bench: Bench,
    cpu: Bench,
    source: PredictionId,
    clip_uri: str,
    changed: dict[str, Any],
    kinds: list[str],
) -> None:
    at_first = client.video(video=clip_uri, **changed)
    bench.take_a_turn()
    made = client.render(source, **changed)
    assert client.read(made).status is Status.STARTING
    cpu.take_a_turn()
    assert _files(client, made) == _files(client, at_first)
    assert _kinds(installation, made) == kinds
    rendered, direct = client.read(made), client.read(at_first)
    assert rendered.rendered_from == source
    assert direct.rendered_from is None
    assert rendered.version == direct.version
    assert rendered.metrics["objects"] == direct.metrics["objects"]
    assert rendered.progress.frames_done == rendered.progress.frames_total == 30
    assert {name: rendered.input[name] for name in changed} == changed
    assert rendered.input["prompt"] == "person"


def test_a_render_can_be_rendered_again_when_its_source_is_gone(
    installation: Installation, client: Client, cpu: Bench, source: PredictionId
) -> None:
    expected = _files(client, source)
    masks = client.render(source, output_format="masks")
    cpu.take_a_turn()
    delete(installation, source)
    _sweep(installation)
    again = client.render(masks, output_format="mp4")
    cpu.take_a_turn()
    assert _files(client, again) == expected
    assert client.read(again).rendered_from == masks


def test_a_source_deleted_under_a_render_takes_nothing_from_it(
    installation: Installation, client: Client, cpu: Bench, source: PredictionId
) -> None:
    expected = _files(client, source)
    made = client.render(source)
    claimed = cpu._claim(cpu.lanes)
    assert claimed is not None
    delete(installation, source)
    _sweep(installation)
    cpu._perform(claimed, lambda: None)
    _sweep(installation)
    cpu.take_a_turn()
    assert _files(client, made) == expected
    assert client.read(made).input["video"].endswith(f"{made}_input.mp4")


def test_nothing_is_left_when_source_and_renders_are_deleted(
    installation: Installation, client: Client, cpu: Bench, source: PredictionId
) -> None:
    made = client.render(source, output_format="frames")
    cpu.take_a_turn()
    delete(installation, made)
    delete_expired_files(installation)
    assert client.artifact(source, "video.mp4").exists()
    assert client.render(source, output_format="masks")
    cpu.take_a_turn()
    with installation.database.connect() as connection:
        ids = connection.execute(text("SELECT id FROM predictions")).scalars().all()
    for one in ids:
        delete(installation, PredictionId(one))
    delete_expired_files(installation)
    assert _stored(installation) == []


def test_the_sweep_waits_for_a_render_that_is_being_accepted(
    installation: Installation, client: Client, cpu: Bench, source: PredictionId
) -> None:
    """The source's time runs out between the look at its files and the commit."""
    soon = text("UPDATE files SET expires_at = clock_timestamp() + interval '1 s'")
    with installation.database.begin() as connection:
        connection.execute(soon)
        organisation = connection.execute(text("SELECT id FROM organisations")).scalar_one()
        row = connection.execute(text("SELECT store_key FROM files WHERE role = 'basis'")).one()
    other = client.render(source)
    with installation.database.begin() as connection:
        connection.execute(text("DELETE FROM files WHERE prediction_id = :id"), {"id": other})
    with installation.database.begin() as connection:
        shared = files.share(connection, organisation, other, {row.store_key: Role.BASIS})
        assert row.store_key in shared
        until(lambda: _is_past(installation, row.store_key))
        delete_expired_files(installation)
        assert installation.store.path(row.store_key).exists()
    delete_expired_files(installation)
    assert installation.store.path(row.store_key).exists()


def _is_past(installation: Installation, store_key: str) -> bool:
    query = text("SELECT bool_or(expires_at < clock_timestamp()) FROM files WHERE store_key = :key")
    with installation.database.connect() as connection:
        return bool(connection.execute(query, {"key": store_key}).scalar_one())


def _refused(client: Client, source: PredictionId, **changed: Any) -> ErrorCode:
    with pytest.raises(Refusal) as refused:
        client.render(source, **changed)
    return refused.value.code


def test_what_has_no_finished_masks_is_refused(
    installation: Installation, client: Client, bench: Bench, clip_uri: str
) -> None:
    begun = client.video(video=clip_uri)
    assert _refused(client, begun) is ErrorCode.NOT_RENDERABLE
    for _ in range(2):
        claimed = bench._claim(bench.lanes)
        assert claimed is not None
        bench._perform(claimed, lambda: None)
    assert _refused(client, begun) is ErrorCode.NOT_RENDERABLE
    bench.take_a_turn()
    waiting = client.video(video=clip_uri)
    cancel(installation, waiting)
    assert _refused(client, waiting) is ErrorCode.NOT_RENDERABLE
    tried = client.video({"dry_run": True}, video=clip_uri)
    bench.take_a_turn()
    assert _refused(client, tried) is ErrorCode.NOT_RENDERABLE


def test_what_belongs_to_another_organisation_is_not_found(
    installation: Installation, caller: Caller, source: PredictionId
) -> None:
    stranger = dataclasses.replace(caller, organisation_id=OrganisationId("org_other"))
    with pytest.raises(Refusal) as refused:
        render(installation, stranger, source, VideoRender(input=VideoChanges()), "http://test")
    assert refused.value.code is ErrorCode.NOT_FOUND


def test_what_is_no_longer_kept_is_gone(
    installation: Installation, client: Client, source: PredictionId
) -> None:
    with installation.database.begin() as connection:
        past = "UPDATE files SET expires_at = clock_timestamp() WHERE role = :role"
        connection.execute(text(past), {"role": "input"})
    assert _refused(client, source, output_format="frames") is ErrorCode.GONE
    masks = client.render(source, output_format="masks")
    assert client.read(masks).status is Status.STARTING
    delete(installation, source)
    assert _refused(client, source, output_format="masks") is ErrorCode.GONE


def test_with_zero_retention_there_is_nothing_to_render_from(
    make_client: MakeClient, bench: Bench, clip_uri: str
) -> None:
    client = make_client(keep_s=0)
    made = client.video(video=clip_uri, output_format="coco_rle")
    bench.take_a_turn()
    assert _refused(client, made, output_format="masks") is ErrorCode.GONE


def test_the_finished_part_of_a_canceled_video_can_be_rendered(
    installation: Installation, client: Client, bench: Bench, cpu: Bench, clip_uri: str
) -> None:
    begun = client.video(video=clip_uri)
    for _ in range(3):
        claimed = bench._claim(bench.lanes)
        assert claimed is not None
        bench._perform(claimed, lambda: None)
    cancel(installation, begun)
    made = client.render(begun, output_format="masks")
    cpu.take_a_turn()
    record = client.read(made)
    assert record.status is Status.SUCCEEDED, record.error
    assert (
        record.warnings[-1] == f"{begun} is canceled; its finished 16 of 30 frames were rendered."
    )
    assert (record.metrics["frames"], record.progress.frames_total) == (16, 16)


def test_a_failed_render_is_sent_again_as_a_render(
    installation: Installation, client: Client, cpu: Bench, source: PredictionId
) -> None:
    expected = _files(client, source)
    canceled = client.render(source, {"webhook": "https://example.com/hook"})
    cancel(installation, canceled)
    delete(installation, source)
    _sweep(installation)
    made = send_again(installation, canceled)
    cpu.take_a_turn()
    assert _files(client, made) == expected
    assert client.read(made).rendered_from == canceled


def test_the_progress_of_a_render_counts_its_frames(
    client: Client, cpu: Bench, source: PredictionId
) -> None:
    made = client.render(source, output_format="masks")
    for done in (8, 16):
        claimed = cpu._claim(cpu.lanes)
        assert claimed is not None
        cpu._perform(claimed, lambda: None)
        progress = client.read(made).progress
        assert (progress.frames_done, progress.stage) == (done, "rendering")


PICTURES: list[dict[str, Any]] = [
    {"return_zip": True, "save_overlay": True, "mask_color": "red"},
    {"mask_only": True, "include_boxes": True},
    {"mask_opacity": 1.0, "include_scores": True},
]


@pytest.mark.parametrize("changed", PICTURES, ids=str)
@pytest.mark.parametrize("segmenter", [BrightSegmenter, SeesNothing])
def test_a_picture_is_rendered_as_it_would_have_been_at_first(
    installation: Installation,
    client: Client,
    make_bench: MakeBench,
    changed: dict[str, Any],
    segmenter: Callable[[], Segmenter],
) -> None:
    bench = make_bench(segmenter())
    source = client.image(return_zip=False)
    at_first = client.image(**{"return_zip": False, **changed})
    bench.take_a_turn()
    made = client.render(source, **changed)
    make_bench(lanes=CPU_LANES).take_a_turn()
    assert _files(client, made) == _files(client, at_first)
    assert _kinds(installation, made) == ["repaint"]
    rendered, direct = client.read(made), client.read(at_first)
    assert (rendered.scores, rendered.boxes) == (direct.scores, direct.boxes)
    assert rendered.metrics["labels"] == direct.metrics["labels"]
    assert rendered.input == {**direct.input, "return_zip": changed.get("return_zip", False)}
    assert rendered.progress.frames_done == 1


def test_a_rendered_picture_is_rendered_again_when_its_source_is_gone(
    installation: Installation, client: Client, bench: Bench, cpu: Bench
) -> None:
    source = client.image(save_overlay=True)
    bench.take_a_turn()
    made = client.render(source, save_overlay=False)
    cpu.take_a_turn()
    delete(installation, source)
    _sweep(installation)
    again = client.render(made, mask_only=True, return_zip=False)
    cpu.take_a_turn()
    assert list(_files(client, again)) == ["mask_000.png", "output.png"]
    delete(installation, made)
    delete(installation, again)
    _sweep(installation)
    assert _stored(installation) == []
